package console

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
	"github.com/behalf-dev/behalf/internal/store"
)

// rowsShown is how many rows a page of a long list has.
const rowsShown = 50

// connectionList is one page of an assistant's connections.
type connectionList struct {
	Filter   url.Values // as it was asked for, without what is empty
	Profiles []behalf.Profile
	Names    map[behalf.ProfileID]string
	Rows     []behalf.Connection
	Newer    bool   // this is not the first page
	Older    string // the address of the next; empty: there is none
}

func (v *visit) listConnections() error {
	if err := v.inAssistant(); err != nil {
		return err
	}
	profiles, err := v.db.Profiles(v.ctx(), v.assistant.ID, store.Page{})
	if err != nil {
		return err
	}
	deleted, err := v.db.DeletedProfiles(v.ctx(), v.assistant.ID, store.Page{})
	if err != nil {
		return err
	}
	l := connectionList{Filter: v.asked("profile", "user", "status"), Profiles: profiles, Names: namesOf(profiles), Newer: v.query("after") != ""}
	for _, p := range deleted {
		l.Names[p.ID] = p.Name + ", which is deleted"
	}
	f := store.ConnectionFilter{Profile: behalf.ProfileID(l.Filter.Get("profile")), User: l.Filter.Get("user"), Status: behalf.ConnectionStatus(l.Filter.Get("status"))}
	l.Rows, err = v.db.LatestConnections(v.ctx(), v.assistant.ID, f, store.Page{After: v.query("after"), Limit: rowsShown + 1})
	if err != nil {
		return err
	}
	if len(l.Rows) > rowsShown {
		l.Rows = l.Rows[:rowsShown]
		l.Older = "?" + with(l.Filter, "after", string(l.Rows[rowsShown-1].ID))
	}
	return v.show(http.StatusOK, "Connections", v.connectionsPage(l))
}

// query returns a parameter of the address.
func (v *visit) query(name string) string { return strings.TrimSpace(v.r.URL.Query().Get(name)) }

// asked returns those parameters of the address that narrow a list.
func (v *visit) asked(names ...string) url.Values {
	out := url.Values{}
	for _, name := range names {
		if s := v.query(name); s != "" {
			out.Set(name, s)
		}
	}
	return out
}

// with is a query with one more parameter.
func with(q url.Values, name, value string) string {
	out := url.Values{name: {value}}
	for k := range q {
		out.Set(k, q.Get(k))
	}
	return out.Encode()
}

func namesOf(profiles []behalf.Profile) map[behalf.ProfileID]string {
	out := map[behalf.ProfileID]string{}
	for _, p := range profiles {
		out[p.ID] = p.Name
	}
	return out
}

func (l connectionList) inputs() []look.Input {
	profiles := []look.Option{{Text: "All profiles"}}
	for _, p := range l.Profiles {
		profiles = append(profiles, look.Option{Value: string(p.ID), Text: p.Name})
	}
	if id := l.Filter.Get("profile"); id != "" && l.Names[behalf.ProfileID(id)] == "" {
		profiles = append(profiles, look.Option{Value: id, Text: "A deleted profile"})
	}
	states := []look.Option{{Text: "All states"}}
	for _, s := range []behalf.ConnectionStatus{behalf.ConnectionActive, behalf.ConnectionLapsed, behalf.ConnectionRevoked} {
		states = append(states, look.Option{Value: string(s), Text: stateNames[s]})
	}
	return []look.Input{
		{Name: "profile", Label: "Profile", Value: l.Filter.Get("profile"), Options: profiles},
		{Name: "user", Label: "User", Value: l.Filter.Get("user"), Bare: true},
		{Name: "status", Label: "State", Value: l.Filter.Get("status"), Options: states},
	}
}

var (
	stateNames = map[behalf.ConnectionStatus]string{behalf.ConnectionActive: "Active", behalf.ConnectionLapsed: "Lapsed", behalf.ConnectionRevoked: "Ended"}
	stateTones = map[behalf.ConnectionStatus]look.Tone{behalf.ConnectionActive: look.Good, behalf.ConnectionLapsed: look.Warn}
)

// connectionView is a connection on its page.
type connectionView struct {
	behalf.Connection
	Profile  behalf.Profile // maybe deleted; the zero Profile where it is forgotten
	Verdict  behalf.Verdict
	Recorded []behalf.Transcript
	Others   int // connections of the same user to the same profile, that can be meant
	Kept     []behalf.Generation
	Ended    []behalf.RevocationProof // how its end went at the provider
	faults
}

func (c connectionView) of() string { return nameOr(c.Profile.Name, "a deleted profile") }

// who is how the connection's account is called.
func (c connectionView) who() string { return nameOr(c.Account.Label, c.Account.Subject) }

// whose and whom name the user of the assistant, where a sentence begins and
// within it. One connection may be all users'.
func whose(c behalf.Connection) string { return nameOr(c.User, "All users") }
func whom(c behalf.Connection) string  { return nameOr(c.User, "all users") }

func nameOr(name, other string) string {
	if name != "" {
		return name
	}
	return other
}

// connection reads the connection of the path.
func (v *visit) connection() (behalf.Connection, error) {
	if err := v.inAssistant(); err != nil {
		return behalf.Connection{}, err
	}
	c, err := v.db.Connection(v.ctx(), behalf.ConnectionID(v.r.PathValue("connection")))
	if err == nil && c.Assistant != v.assistant.ID {
		err = behalf.NotFound("connection")
	}
	return c, err
}

func (v *visit) showConnection() error {
	c, err := v.connection()
	if err != nil {
		return err
	}
	return v.tellConnection(http.StatusOK, c, faults{})
}

func (v *visit) tellConnection(status int, c behalf.Connection, f faults) error {
	view, err := v.viewOf(c)
	if err != nil {
		return err
	}
	view.faults = f
	return v.show(status, "Connection of "+whom(c), v.connectionPage(view))
}

// viewOf reads what stands around a connection. What was recorded of it is
// personal, and not for every role.
func (v *visit) viewOf(c behalf.Connection) (connectionView, error) {
	view := connectionView{Connection: c}
	var err error
	if view.Profile, err = store.ProfileOf(v.ctx(), v.db, c); err != nil {
		return view, err
	}
	others, err := v.db.LatestConnections(v.ctx(), c.Assistant, store.ConnectionFilter{Profile: c.Profile, User: c.User}, store.Page{})
	if err != nil {
		return view, err
	}
	for _, o := range others {
		if o.ID != c.ID && o.User == c.User && o.Status != behalf.ConnectionRevoked { // no user in the filter means every
			view.Others++
		}
	}
	if view.Kept, err = v.db.Generations(v.ctx(), c); err != nil {
		return view, err
	}
	if c.Status == behalf.ConnectionRevoked {
		if view.Ended, err = v.db.RevocationProofs(v.ctx(), c); err != nil {
			return view, err
		}
	}
	if v.may(behalf.ReadTranscripts) {
		view.Recorded, err = v.db.ConnectionTranscripts(v.ctx(), c, store.Page{Limit: 20})
	}
	view.Verdict = c.Verdict(view.Profile, view.Recorded, v.db.Now())
	return view, err
}

func (v *visit) refreshConnection() error {
	c, err := v.connection()
	if err != nil {
		return err
	}
	n, err := v.cfg.Broker.Refresh(v.ctx(), v.db, c)
	if err != nil && behalf.CodeOf(err) != "" {
		if n.ID == "" {
			n = c
		}
		f, ok := faultsOf(err, "It was not refreshed")
		if !ok {
			f = faults{Title: "It was not refreshed", order: []behalf.FieldError{{Message: messageOf(err)}}}
		}
		return v.tellConnection(statusOf(err), n, f)
	}
	if err != nil {
		return err
	}
	v.done("It is refreshed: the credential is now of generation " + number(n.Generation) + ".")
	return v.to(v.pathOf(c)...)
}

// mayRestore reports whether the visitor may put an earlier generation in force.
func (v *visit) mayRestore(c behalf.Connection) bool {
	return v.may(behalf.WriteConnections) && v.may(behalf.WriteProfiles) && c.Status != behalf.ConnectionRevoked
}

func (v *visit) askRestore() error {
	c, err := v.connection()
	if err != nil {
		return err
	}
	view, err := v.viewOf(c)
	if err != nil {
		return err
	}
	g, err := behalf.FindGeneration(view.Kept, v.r.PathValue("generation"))
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "Restore a generation", v.restorePage(view, g))
}

func (v *visit) restoreGeneration() error {
	c, err := v.connection()
	if err != nil {
		return err
	}
	n, err := v.cfg.Broker.Restore(v.ctx(), v.db, c, v.r.PathValue("generation"))
	if code := behalf.CodeOf(err); code == behalf.CodeConflict || code == behalf.CodeRefreshInProgress {
		return v.tellConnection(statusOf(err), c, faults{Title: "It was not restored", order: []behalf.FieldError{{Message: messageOf(err)}}})
	}
	if err != nil {
		return err
	}
	v.done("It is restored, and in force as generation " + number(n.Generation) + ".")
	return v.to(v.pathOf(c)...)
}

// origins are how a generation came to be kept.
var origins = map[behalf.Origin]string{
	behalf.OriginUnknown: "not noted", behalf.OriginConnect: "an authorization", behalf.OriginRefresh: "a refresh", behalf.OriginImport: "an import",
	behalf.OriginAdopt: "a stray that was put in force", behalf.OriginRestore: "a restoration",
}

func (v *visit) defaultConnection() error {
	c, err := v.connection()
	if err != nil {
		return err
	}
	err = v.db.MakeDefault(v.ctx(), c)
	if f, ok := faultsOf(err, "Nothing is changed"); ok {
		return v.tellConnection(statusOf(err), c, f)
	}
	if err != nil {
		return err
	}
	v.done("This is now the connection that is meant when " + whom(c) + " has several.")
	return v.to(v.pathOf(c)...)
}

// atProvider says how the end of a connection went at the provider.
var atProvider = map[behalf.Revocation]string{
	behalf.RevocationDone:       " The provider has revoked it, too.",
	behalf.RevocationRetrying:   " The provider did not answer as it should: it is asked again to revoke it, for 7 days.",
	behalf.RevocationNotOffered: " The provider offers no way to revoke it from here: the person can do that on the provider's own page.",
}

// revocationNames and revocationTones show how the end of a connection went at
// the provider.
var (
	revocationNames = map[behalf.Revocation]string{behalf.RevocationDone: "Revoked", behalf.RevocationRetrying: "Asked again", behalf.RevocationGivenUp: "Not revoked", behalf.RevocationNotOffered: "Not asked", behalf.RevocationLeft: "Left"}
	revocationTones = map[behalf.Revocation]look.Tone{behalf.RevocationDone: look.Good, behalf.RevocationRetrying: look.Warn, behalf.RevocationGivenUp: look.Bad}
)

// mustEnd reports whether the person must end the authorization at the provider.
func (c connectionView) mustEnd() bool {
	worst, ok := behalf.WorstRevocation(c.Ended)
	return ok && (worst.Outcome == behalf.RevocationGivenUp || worst.Outcome == behalf.RevocationNotOffered)
}

func (v *visit) askDisconnect() error {
	c, err := v.connection()
	if err != nil {
		return err
	}
	view, err := v.viewOf(c)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "Disconnect", v.disconnectPage(view))
}

func (v *visit) disconnect() error {
	c, err := v.connection()
	if err != nil {
		return err
	}
	revocation, err := v.cfg.Broker.Disconnect(v.ctx(), v.db, c, "Ended in the console.")
	if err != nil {
		return err
	}
	v.done("The connection of " + whom(c) + " is ended. Its credential is erased." + atProvider[revocation])
	return v.to(v.pathOf(c)...)
}

func (v *visit) pathOf(c behalf.Connection, more ...string) []string {
	return append([]string{"assistants", v.assistant.Slug, "connections", string(c.ID)}, more...)
}

// links to a connection's pages.
func (v *visit) connectionURL(c behalf.Connection, more ...string) string {
	return at(v.pathOf(c, more...)...)
}
