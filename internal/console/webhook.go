package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// webhookState is an endpoint with how its deliveries stand.
type webhookState struct {
	behalf.Webhook
	store.WebhookHealth
}

// endpointName is an endpoint's address as far as it tells one from another:
// what stands behind a question mark may be a key.
func endpointName(w behalf.Webhook) string {
	u, err := url.Parse(w.URL)
	if err != nil {
		return w.URL
	}
	name := u.Host + strings.TrimSuffix(u.EscapedPath(), "/")
	if r := []rune(name); len(r) > nameShown {
		return string(r[:nameShown]) + "…"
	}
	return name
}

// nameShown is how much of an address is its endpoint's name.
const nameShown = 48

func (v *visit) webhookURL(w behalf.Webhook, more ...string) string {
	return at(append([]string{"assistants", v.assistant.Slug, "webhooks", string(w.ID)}, more...)...)
}

func (v *visit) toWebhook(w behalf.Webhook, more ...string) error {
	return v.to(append([]string{"assistants", v.assistant.Slug, "webhooks", string(w.ID)}, more...)...)
}

func (v *visit) listWebhooks() error {
	if err := v.inAssistant(); err != nil {
		return err
	}
	all, err := v.db.Webhooks(v.ctx(), v.assistant.ID, store.Page{})
	if err != nil {
		return err
	}
	var states []webhookState
	for _, w := range all {
		health, err := v.db.WebhookHealth(v.ctx(), w)
		if err != nil {
			return err
		}
		states = append(states, webhookState{w, health})
	}
	return v.show(http.StatusOK, "Webhooks", v.webhooksPage(states))
}

// webhookForm is what may be set of an endpoint.
type webhookForm struct {
	URL     string
	Some    bool // only the events of Wants
	Wants   []string
	Version string
	faults
}

func webhookFormOf(w behalf.Webhook) webhookForm {
	return webhookForm{URL: w.URL, Some: len(w.Events) > 0, Wants: w.Events, Version: number(w.Version)}
}

// eventKind is the events about one kind of thing.
type eventKind struct {
	Kind, About string
	Types       []behalf.EventType
}

// all asks for every event of the kind, those to come too.
func (k eventKind) all() string { return k.Kind + ".*" }

var kindAbout = map[string]string{"connection": "Connections", "profile": "Authorization profiles", "connector": "Connectors", "webhook": "Other webhooks", "user": "Users"}

// eventWords say when an event is told.
var eventWords = map[behalf.EventType]string{
	behalf.EventConnectionCreated: "A person has authorized for the first time.", behalf.EventConnectionRenewed: "A person has authorized again.",
	behalf.EventConnectionLapsed: "The person must authorize again.", behalf.EventConnectionRecovered: "It had lapsed, and works again.",
	behalf.EventConnectionExpiring: "It will end, whatever we do.", behalf.EventConnectionRevoked: "It was ended.",
	behalf.EventRevocationGivenUp: "It was ended, and the application did not take that.",
	behalf.EventProfileFailing:    "The application refuses our client.", behalf.EventProfileRecovered: "It takes our client again.",
	behalf.EventProfileDeleted: "An administrator deleted it.", behalf.EventProfileRestored: "That was taken back.",
	behalf.EventClientSecretEnding: "30, 7 and 1 days ahead.", behalf.EventClientSecretEnded: "It is over.",
	behalf.EventConnectorConnected: "Its first agent is there.", behalf.EventConnectorDisconnected: "Its last agent is gone.",
	behalf.EventWebhookFailing: "It does not take what it is told.", behalf.EventWebhookRecovered: "It takes it again.",
	behalf.EventWebhookDisabled: "It failed for too long, or wants no more.", behalf.EventUserDeleted: "All of a user was ended.",
}

// eventKinds are all events that can be asked for, by what they are about.
func eventKinds() []eventKind {
	var out []eventKind
	for _, t := range behalf.EventTypes() {
		kind, _, _ := strings.Cut(string(t), ".")
		i := slices.IndexFunc(out, func(k eventKind) bool { return k.Kind == kind })
		if i < 0 {
			out, i = append(out, eventKind{Kind: kind, About: nameOr(kindAbout[kind], kind)}), len(out)
		}
		out[i].Types = append(out[i].Types, t)
	}
	return out
}

// eventInputs are the choices of a kind.
func (f webhookForm) eventInputs(k eventKind) []look.Input {
	in := []look.Input{{Name: "event." + k.all(), Label: k.all(), Type: "checkbox", Hint: "All of these, and those to come.", Value: tick(slices.Contains(f.Wants, k.all()))}}
	for _, t := range k.Types {
		in = append(in, look.Input{Name: "event." + string(t), Label: string(t), Type: "checkbox", Hint: eventWords[t], Value: tick(slices.Contains(f.Wants, string(t)))})
	}
	return in
}

// inputs are the fields above the choice of events.
func (f webhookForm) inputs() []look.Input {
	events := look.Input{Name: "events", Label: "Events", Required: true, Options: []look.Option{{Value: "all", Text: "All, and those to come"}, {Value: "some", Text: "Only those that I choose"}}}
	if f.Some {
		events.Value = "some"
	}
	return f.mark([]look.Input{
		{Name: "url", Label: "URL", Value: f.URL, Required: true, Code: true, Focus: f.Title == "" && f.URL == "", Autocomplete: "off", Hint: "Where your backend takes a POST, such as https://bot.example.com/behalf-events."},
		events})
}

// typedWebhook reads the form that was sent.
func (v *visit) typedWebhook() (webhookForm, error) {
	f := webhookForm{URL: v.line("url"), Some: v.form("events") == "some", Version: v.form("version")}
	for _, k := range eventKinds() {
		for _, in := range f.eventInputs(k) {
			if v.form(in.Name) != "" {
				f.Wants = append(f.Wants, in.Label)
			}
		}
	}
	if f.Some && len(f.Wants) == 0 {
		return f, behalf.Invalid("events", "Choose at least one event, or all.")
	}
	return f, nil
}

// onto returns the endpoint as the form would have it.
func (f webhookForm) onto(w behalf.Webhook) behalf.Webhook {
	w.URL, w.Events = f.URL, nil
	if f.Some {
		w.Events = f.Wants
	}
	return w
}

func (v *visit) askWebhook() error {
	if err := v.inAssistant(); err != nil {
		return err
	}
	return v.show(http.StatusOK, "New webhook", v.newWebhookPage(webhookForm{}))
}

func (v *visit) createWebhook() error {
	if err := v.inAssistant(); err != nil {
		return err
	}
	f, err := v.typedWebhook()
	w := f.onto(behalf.Webhook{Assistant: v.assistant.ID})
	if err = behalf.Together(w.Validate(), err); err == nil {
		made, shown, wrong := v.db.CreateWebhook(v.ctx(), w)
		if wrong == nil {
			return v.showWebhookSecret(made, shown)
		}
		err = wrong
	}
	wrong, ok := faultsOf(err, "No webhook is made yet")
	if !ok {
		return err
	}
	f.faults = wrong
	return v.show(statusOf(err), "New webhook", v.newWebhookPage(f))
}

func (v *visit) showWebhookSecret(w behalf.Webhook, shown secret.Text) error {
	return v.show(http.StatusOK, "The webhook’s secret", v.webhookSecretPage(w, shown))
}

// webhook reads the endpoint of the path.
func (v *visit) webhook() (behalf.Webhook, error) {
	if err := v.inAssistant(); err != nil {
		return behalf.Webhook{}, err
	}
	return v.db.Webhook(v.ctx(), v.assistant.ID, behalf.WebhookID(v.r.PathValue("webhook")))
}

// deliveryList is a page of what was delivered to an endpoint.
type deliveryList struct {
	Status behalf.DeliveryStatus // empty: all
	Rows   []behalf.Delivery
	Newer  bool
	Older  string
}

var deliveryStates = map[behalf.DeliveryStatus]struct {
	tone look.Tone
	text string
}{
	behalf.DeliveryWaiting:   {look.Accent, "Waiting"},
	behalf.DeliveryDelivered: {look.Good, "Delivered"},
	behalf.DeliveryFailed:    {look.Bad, "Given up"},
}

// tabs narrow the list.
func (v *visit) deliveryTabs(w behalf.Webhook, l deliveryList) []look.Tab {
	tabs := []look.Tab{{Text: "All", URL: v.webhookURL(w), Current: l.Status == ""}}
	for _, s := range []behalf.DeliveryStatus{behalf.DeliveryWaiting, behalf.DeliveryFailed, behalf.DeliveryDelivered} {
		tabs = append(tabs, look.Tab{Text: deliveryStates[s].text, URL: v.webhookURL(w) + "?status=" + string(s), Current: l.Status == s})
	}
	return tabs
}

func (v *visit) showWebhook() error {
	w, err := v.webhook()
	if err != nil {
		return err
	}
	health, err := v.db.WebhookHealth(v.ctx(), w)
	if err != nil {
		return err
	}
	l := deliveryList{Status: behalf.DeliveryStatus(v.query("status")), Newer: v.query("after") != ""}
	l.Rows, err = v.db.Deliveries(v.ctx(), w, l.Status, store.Page{After: v.query("after"), Limit: rowsShown + 1})
	if err != nil {
		return err
	}
	if len(l.Rows) > rowsShown {
		l.Rows = l.Rows[:rowsShown]
		l.Older = "?" + with(v.asked("status"), "after", string(l.Rows[rowsShown-1].ID))
	}
	return v.show(http.StatusOK, endpointName(w), v.webhookPage(webhookState{w, health}, l))
}

func (v *visit) askChangeWebhook() error {
	w, err := v.webhook()
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "Change the webhook", v.changeWebhookPage(w, webhookFormOf(w)))
}

func (v *visit) changeWebhook() error {
	w, err := v.webhook()
	if err != nil {
		return err
	}
	f, err := v.typedWebhook()
	changed := f.onto(w)
	changed.Version = version(f.Version)
	if err = behalf.Together(changed.Validate(), err); err == nil {
		_, err = v.db.SaveWebhook(v.ctx(), changed)
	}
	if err == nil {
		v.done("The webhook is changed. It counts from the next event on.")
		return v.toWebhook(w)
	}
	wrong, ok := faultsOf(err, "The webhook is not changed yet")
	if !ok {
		return err
	}
	f.faults, f.Version = wrong, number(w.Version) // what was typed is saved by the next try, over what was changed meanwhile
	return v.show(statusOf(err), "Change the webhook", v.changeWebhookPage(w, f))
}

// switchWebhook disables an endpoint, or enables it again.
func (v *visit) switchWebhook() error {
	w, err := v.webhook()
	if err != nil {
		return err
	}
	w.Enabled, w.Version = v.form("enabled") == "yes", version(v.form("version"))
	if _, err := v.db.SaveWebhook(v.ctx(), w); err != nil {
		return err
	}
	if w.Enabled {
		v.done("The webhook is enabled. What it has missed is not sent by itself: Replay does that.")
	} else {
		v.done("The webhook is disabled: nothing is sent to it, and what waited for it is given up.")
	}
	return v.toWebhook(w)
}

// overlaps are for how long the secret before may go on signing.
var overlaps = []struct {
	look.Option
	time.Duration
}{
	{look.Option{Value: "3600", Text: "for 1 hour"}, time.Hour},
	{look.Option{Value: "86400", Text: "for 1 day"}, 24 * time.Hour},
	{look.Option{Value: "604800", Text: "for 7 days"}, behalf.MaxOverlap},
	{look.Option{Value: "0", Text: "not any more: it has leaked"}, 0},
}

func overlapInput() look.Input {
	in := look.Input{Name: "overlap", Label: "The secret before signs too", Value: "86400", Required: true, Hint: "Meanwhile every message has two signatures. Libraries take either, so that your backend can change its secret when it suits it."}
	for _, o := range overlaps {
		in.Options = append(in.Options, o.Option)
	}
	return in
}

func (v *visit) askRotateWebhook() error {
	w, err := v.webhook()
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "A new secret", v.rotateWebhookPage(w))
}

func (v *visit) rotateWebhook() error {
	w, err := v.webhook()
	if err != nil {
		return err
	}
	overlap := 24 * time.Hour
	for _, o := range overlaps {
		if o.Value == v.form("overlap") {
			overlap = o.Duration
		}
	}
	w, shown, err := v.db.RotateWebhook(v.ctx(), w, overlap)
	if err != nil {
		return err
	}
	return v.showWebhookSecret(w, shown)
}

func (v *visit) askDeleteWebhook() error {
	w, err := v.webhook()
	if err != nil {
		return err
	}
	health, err := v.db.WebhookHealth(v.ctx(), w)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "Delete the webhook", v.deleteWebhookPage(webhookState{w, health}))
}

func (v *visit) deleteWebhook() error {
	w, err := v.webhook()
	if err != nil {
		return err
	}
	if err := v.db.DeleteWebhook(v.ctx(), w); err != nil {
		return err
	}
	v.done("The webhook to " + endpointName(w) + " is deleted.")
	return v.to("assistants", v.assistant.Slug, "webhooks")
}

// testWebhook sends a test, and shows how it goes.
func (v *visit) testWebhook() error {
	w, err := v.webhook()
	if err != nil {
		return err
	}
	d, err := v.db.TestWebhook(v.ctx(), w)
	if err != nil {
		return err
	}
	return v.toWebhook(w, "deliveries", string(d.ID))
}

func (v *visit) showDelivery() error {
	w, err := v.webhook()
	if err != nil {
		return err
	}
	d, err := v.db.Delivery(v.ctx(), w, behalf.DeliveryID(v.r.PathValue("delivery")))
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, string(d.Type), v.deliveryPage(w, d))
}

// replayForm says what is delivered again.
type replayForm struct {
	Since string // in UTC
	All   bool
	faults
}

// minuteInput is how a browser's field for a date and time writes it.
const minuteInput = "2006-01-02T15:04"

func (f replayForm) inputs() []look.Input {
	which := look.Input{Name: "which", Label: "What", Required: true, Options: []look.Option{{Value: "failed", Text: "Only what was given up"}, {Value: "all", Text: "Everything that it wants"}},
		Hint: "While it was disabled nothing was tried, and so nothing given up: choose everything for that time. What was taken already comes again then, with the same webhook-id."}
	if f.All {
		which.Value = "all"
	}
	return f.mark([]look.Input{{Name: "since", Label: "Happened since (UTC)", Type: "datetime-local", Value: f.Since, Required: true}, which})
}

// askReplay proposes the time since when the endpoint has taken nothing.
func (v *visit) askReplay() error {
	w, err := v.webhook()
	if err != nil {
		return err
	}
	since := v.db.Now().Add(-24 * time.Hour)
	if health, err := v.db.WebhookHealth(v.ctx(), w); err == nil && !health.LastTaken.IsZero() {
		since = health.LastTaken
	}
	f := replayForm{Since: nameOr(v.query("since"), since.UTC().Format(minuteInput)), All: v.query("which") == "all"}
	return v.show(http.StatusOK, "Replay", v.replayPage(w, f))
}

func (v *visit) replayWebhook() error {
	w, err := v.webhook()
	if err != nil {
		return err
	}
	if id := v.form("event"); id != "" {
		return v.replayOne(w, behalf.EventID(id))
	}
	f := replayForm{Since: v.line("since"), All: v.form("which") == "all"}
	since, err := time.Parse(minuteInput, f.Since)
	if err != nil {
		err = behalf.Invalid("since", "Expected a day and a time.")
	}
	if err == nil {
		done, wrong := v.db.ReplayWebhook(v.ctx(), w, store.Replay{Since: since, Until: v.db.Now(), Failed: !f.All})
		if wrong == nil {
			return v.replayed(w, f, done)
		}
		err = wrong
	}
	wrong, ok := faultsOf(err, "Nothing is sent again yet")
	if !ok {
		return err
	}
	f.faults = wrong
	return v.show(statusOf(err), "Replay", v.replayPage(w, f))
}

// replayed says what is on its way, and where the rest begins.
func (v *visit) replayed(w behalf.Webhook, f replayForm, done store.Replayed) error {
	switch {
	case !done.More.IsZero():
		v.done(fmt.Sprintf("%d events are sent again. There are more: replay from here on when these have come.", done.Deliveries))
		rest := url.Values{"since": {done.More.UTC().Format(minuteInput)}}
		if f.All {
			rest.Set("which", "all")
		}
		http.Redirect(v.w, v.r, v.webhookURL(w, "replay")+"?"+rest.Encode(), http.StatusSeeOther)
		return nil
	case done.Deliveries == 0:
		v.done("There was nothing to send again.")
	default:
		v.done(count(int(done.Deliveries), "event") + " will be sent again.")
	}
	return v.toWebhook(w)
}

func (v *visit) replayOne(w behalf.Webhook, id behalf.EventID) error {
	if _, err := v.db.ReplayWebhook(v.ctx(), w, store.Replay{Event: id}); err != nil {
		return err
	}
	v.done("The event " + string(id) + " will be sent again.")
	return v.toWebhook(w)
}

// under says whether a delivery is just being made: its page looks again then.
func under(d behalf.Delivery) bool {
	return d.Status == behalf.DeliveryWaiting && d.Problem == ""
}

// answerOf is the status of an answer.
func answerOf(d behalf.Delivery) string {
	if d.Answer == 0 {
		return ""
	}
	return strconv.Itoa(d.Answer)
}
