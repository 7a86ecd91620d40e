package console

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
	"github.com/behalf-dev/behalf/internal/store"
)

// activityList is a page of the audit log.
type activityList struct {
	Filter url.Values
	Actors []look.Option
	Names  map[string]string // of actors and of what was acted on
	Links  map[string]string // to what was acted on
	Lines  []behalf.AuditEntry
	Newer  bool
	Older  string
}

// activity shows the audit log of an assistant, or of all.
func (v *visit) activity() error {
	if err := v.inMaybe(); err != nil {
		return err
	}
	l := activityList{Filter: v.asked("actor", "action", "object", "all"), Newer: v.query("after") != ""}
	f := store.AuditFilter{Assistant: v.assistant.ID, Actor: l.Filter.Get("actor"), Action: l.Filter.Get("action"), Object: l.Filter.Get("object"), Quiet: l.Filter.Get("all") == ""}
	var err error
	l.Lines, err = v.db.AuditLines(v.ctx(), f, store.Page{After: v.query("after"), Limit: rowsShown + 1})
	if err != nil {
		return err
	}
	if len(l.Lines) > rowsShown {
		l.Lines = l.Lines[:rowsShown]
		l.Older = "?" + with(l.Filter, "after", l.Lines[rowsShown-1].ID)
	}
	if err := v.nameActivity(&l); err != nil {
		return err
	}
	return v.show(http.StatusOK, "Activity", v.activityPage(l))
}

// nameActivity finds what the ids of the lines are called.
func (v *visit) nameActivity(l *activityList) error {
	l.Names, l.Links = map[string]string{}, map[string]string{}
	members, err := v.db.Members(v.ctx(), store.Page{})
	if err != nil {
		return err
	}
	keys, err := v.db.Keys(v.ctx(), store.Page{})
	if err != nil {
		return err
	}
	l.Actors = []look.Option{{Text: "Everybody"}}
	for _, m := range members {
		l.actor(m.Actor().String(), nameOf(m))
		l.Names[string(m.ID)], l.Links[string(m.ID)] = nameOf(m), at("people", string(m.ID))
	}
	for _, k := range keys {
		l.Names[string(k.ID)] = "the key " + k.Name
		if v.assistant.ID == "" || k.Assistant == "" || k.Assistant == v.assistant.ID {
			l.actor(k.Actor().String(), "Key "+k.Name)
		}
	}
	if a := l.Filter.Get("actor"); a != "" && l.Names[a] == "" {
		l.actor(a, a)
	}
	seen := map[behalf.AssistantID]bool{}
	for _, e := range l.Lines {
		if e.Assistant == "" || seen[e.Assistant] {
			continue
		}
		seen[e.Assistant] = true
		in := *v
		if in.assistant, err = v.db.Assistant(v.ctx(), string(e.Assistant)); err == nil {
			err = in.nameOf(l)
		}
		if err != nil && behalf.CodeOf(err) != behalf.CodeNotFound {
			return err
		}
	}
	return nil
}

// nameOf finds what the ids of the lines about one assistant are called.
func (v *visit) nameOf(l *activityList) error {
	l.Names[string(v.assistant.ID)], l.Links[string(v.assistant.ID)] = v.assistant.Name, at("assistants", v.assistant.Slug)
	profiles, err := v.db.Profiles(v.ctx(), v.assistant.ID, store.Page{})
	if err != nil {
		return err
	}
	for _, p := range profiles {
		l.Names[string(p.ID)], l.Links[string(p.ID)] = p.Name, v.of(p)
	}
	deleted, err := v.db.DeletedProfiles(v.ctx(), v.assistant.ID, store.Page{})
	if err != nil {
		return err
	}
	for _, p := range deleted {
		l.Names[string(p.ID)] = p.Name
	}
	for _, e := range l.Lines {
		if e.Assistant != v.assistant.ID || !strings.HasPrefix(e.Object, "con_") || l.Names[e.Object] != "" {
			continue
		}
		c, err := v.db.Connection(v.ctx(), behalf.ConnectionID(e.Object))
		if behalf.CodeOf(err) == behalf.CodeNotFound {
			continue
		}
		if err != nil {
			return err
		}
		l.Names[e.Object], l.Links[e.Object] = whose(c)+" at "+nameOr(l.Names[string(c.Profile)], "a deleted profile"), v.connectionURL(c)
	}
	hooks, err := v.db.Webhooks(v.ctx(), v.assistant.ID, store.Page{})
	if err != nil {
		return err
	}
	for _, w := range hooks {
		l.Names[string(w.ID)], l.Links[string(w.ID)] = endpointName(w), v.webhookURL(w)
	}
	return nil
}

func (l *activityList) actor(id, name string) {
	l.Names[id] = name
	l.Actors = append(l.Actors, look.Option{Value: id, Text: name})
}

// nouns are what the log's actions are about.
var nouns = []look.Option{{Text: "Everything"}, {Value: "connection", Text: "Connections"}, {Value: "session", Text: "Connect sessions"}, {Value: "profile", Text: "Profiles"},
	{Value: "assistant", Text: "Assistants"}, {Value: "webhook", Text: "Webhooks"}, {Value: "variable", Text: "Variables"}, {Value: "key", Text: "Keys"}, {Value: "member", Text: "People"},
	{Value: "connector", Text: "Connectors"}, {Value: "keyring", Text: "Encryption"}}

func (l activityList) inputs() []look.Input {
	return []look.Input{
		{Name: "actor", Label: "Who", Value: l.Filter.Get("actor"), Options: l.Actors},
		{Name: "action", Label: "About", Value: l.Filter.Get("action"), Options: nouns},
		{Name: "object", Label: "Id", Value: l.Filter.Get("object"), Bare: true, Code: true},
		{Name: "all", Label: "Calls and refreshes", Value: l.Filter.Get("all"), Options: []look.Option{{Text: "Left out"}, {Value: "yes", Text: "Shown"}}},
	}
}

// who says who did it, in words for people.
func (l activityList) who(actor string) string {
	if name := l.Names[actor]; name != "" {
		return name
	}
	kind, id, _ := strings.Cut(actor, ":")
	switch behalf.ActorKind(kind) {
	case behalf.ActorSystem:
		return "The server (" + id + ")"
	case behalf.ActorEndUser:
		return "The person, in the browser"
	case behalf.ActorAssistant:
		return "The assistant (" + id + ")"
	}
	return id
}

// detail is what a line adds to what its other cells tell.
func (l activityList) detail(e behalf.AuditEntry) string {
	if e.Detail == e.Object || strings.HasSuffix(l.Names[e.Object], e.Detail) {
		return ""
	}
	return e.Detail
}

// deeds are the log's actions in words for people. One that is not here is
// shown as it is.
var deeds = map[string]string{
	"connection.create": "connected", "connection.reconnect": "connected again", "connection.refresh": "refreshed", "connection.lapse": "lapsed", "connection.revoke": "disconnected",
	"connection.default": "made default", "connection.token": "took a token", "connection.call": "made calls", "connection.adopt": "took up a late answer", "connection.restore": "restored an earlier credential", "connection.stray": "answer came too late",
	"profile.reserve": "reserved a profile", "profile.create": "made a profile", "profile.save": "changed a profile", "profile.delete": "deleted a profile", "profile.end": "deleted a profile for good", "profile.restore": "restored a profile",
	"profile.forget": "forgot a deleted profile", "profile.client_secret_ending": "client secret ends soon", "profile.client_secret_ended": "client secret has ended",
	"connection.revoked_at_provider": "revoked at the provider", "connection.revocation_given_up": "not revoked by the provider", "profile.test": "tested a profile",
	"assistant.create": "made the assistant", "assistant.save": "changed the settings", "key.create": "made a key", "key.revoke": "revoked a key",
	"session.create": "began a connect session", "session.connected": "finished connecting", "session.pending": "came back", "session.expired": "did not connect in time",
	"session.failed": "could not connect", "session.grant_revoked": "what was not connected is revoked", "session.grant_left": "what was not connected is left at the provider", "session.grant_given_up": "what was not connected is not revoked by the provider", "session.declined": "said no", "session.tested": "tested",
	"member.create": "let in for the first time", "member.invite": "invited", "member.link": "made a link for", "member.password": "chose a password", "member.remove": "removed",
	"webhook.create": "made a webhook", "webhook.change": "changed a webhook", "webhook.rotate": "gave a webhook a new secret", "webhook.test": "tested a webhook", "webhook.replay": "sent events again",
	"webhook.disable": "disabled a webhook", "webhook.delete": "deleted a webhook",
	"connection.expiring": "ends soon", "profile.failing": "profile is failing", "profile.recovered": "profile works again", "session.wrong_account": "came with another account",
	"variable.set": "set a variable", "variable.delete": "deleted a variable", "user.delete": "deleted all of a person",
	"connector.create": "made a connector", "connector.token": "made a token for a connector", "connector.disable": "disabled a connector", "connector.enable": "enabled a connector", "connector.delete": "deleted a connector",
	"connector.enrol": "enrolled an agent", "connector.revoke_agent": "revoked an agent", "connector.attach": "agent connected", "connector.detach": "agent disconnected",
	"keyring.rotate": "added an encryption key", "keyring.promote": "seals with a new encryption key", "keyring.rotated": "sealed everything again", "keyring.resume": "seals again what an older key sealed",
	"keyring.disable": "disabled an encryption key", "keyring.enable": "enabled an encryption key", "keyring.destroy": "destroyed an encryption key", "keyring.rewrap": "changed the root key", "keyring.kit": "made a recovery kit",
	"member.save": "changed", "member.set_up": "set the console up", "member.sign_in": "signed in", "member.sign_out": "signed out",
}

func deed(action string) string { return nameOr(deeds[action], action) }
