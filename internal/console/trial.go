package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/connect"
	"github.com/behalf-dev/behalf/internal/expand"
	"github.com/behalf-dev/behalf/internal/look"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// tester is the page on which a profile is tested.
type tester struct {
	Profile behalf.Profile
	Inputs  []look.Input
	faults
	History []behalf.Transcript
}

// trialView is a test as its page shows it.
type trialView struct {
	Profile behalf.Profile
	Trial   behalf.Transcript
	Link    string // for whoever tests; known only to the answer that made it
}

// away reports whether the browser of who tests is at the provider.
func (t trialView) away() bool {
	n := len(t.Trial.Steps)
	return t.Trial.Status == behalf.TranscriptWaiting && n > 0 && t.Trial.Steps[n-1].Name == behalf.StepCallback && t.Trial.Steps[n-1].Status == behalf.StepRunning
}

func (v *visit) askTest() error {
	p, err := v.tested()
	if err != nil {
		return err
	}
	return v.showTester(http.StatusOK, tester{Profile: p})
}

// tested reads a profile that can be tested.
func (v *visit) tested() (behalf.Profile, error) {
	p, err := v.profile()
	if err == nil && p.Plan == nil {
		err = behalf.Errorf(behalf.CodeConflict, "This profile is only reserved: fill it in and save it, then test it.")
	}
	return p, err
}

func (v *visit) showTester(status int, t tester) error {
	history, err := v.db.Trials(v.ctx(), v.assistant.ID, t.Profile.ID, store.Page{})
	if err != nil {
		return err
	}
	lacks, err := v.lackedVariables(t.Profile)
	if err != nil {
		return err
	}
	t.History, t.Inputs = history, t.mark(v.testInputs(t.Profile, lacks))
	return v.show(status, "Test "+t.Profile.Name, v.testerPage(t))
}

// testInputs are what a test needs to know: tenant, asked fields, and variables
// that are not kept.
func (v *visit) testInputs(p behalf.Profile, lacks []string) []look.Input {
	var out []look.Input
	if t := p.Tenancy; t != nil {
		in := look.Input{Name: "tenant", Label: p.Plan.TenantLabel(), Value: v.line("tenant"), Required: true}
		if in.Value == "" {
			in.Value = t.Default
		}
		for _, a := range t.Allowed {
			in.Options = append(in.Options, look.Option{Value: a, Text: a})
		}
		out = append(out, in)
	}
	for _, f := range p.AdditionalFields {
		if !f.Asked() {
			continue
		}
		in := look.Input{Name: "field." + f.Key, Label: f.Label(), Hint: f.Hint, Value: v.line("field." + f.Key), Required: f.Required}
		if f.Type == behalf.FieldPassword {
			in.Type, in.Value, in.Autocomplete = "password", "", "off"
		} else if in.Value == "" {
			in.Value = f.Value
		}
		out = append(out, in)
	}
	for _, name := range lacks {
		out = append(out, look.Input{Name: variableInput(name), Label: "{{" + name + "}}", Value: v.line(variableInput(name)), Hint: "What the assistant would send. The test forgets it."})
	}
	return out
}

// variableInput is the field for a variable, as errors name it.
func variableInput(placeholder string) string {
	return "variables" + strings.TrimPrefix(placeholder, "context")
}

// lackedVariables are the variables of a profile that are not kept for all
// users, and that an assistant could send: the test plays the assistant.
func (v *visit) lackedVariables(p behalf.Profile) ([]string, error) {
	if !p.Plan.UsesVariables() {
		return nil, nil
	}
	kept, err := v.db.Stored(v.ctx(), v.assistant.ID, "test")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, name := range p.Plan.Variables() {
		_, is := kept[name]
		if !is && strings.HasPrefix(name, "context.") && !strings.HasPrefix(name, "context.session.UserContext.") {
			out = append(out, name)
		}
	}
	return out, nil
}

// sentVariables reads what was typed for variables as what an assistant sends.
func (v *visit) sentVariables(p behalf.Profile) (behalf.Variables, error) {
	lacks, err := v.lackedVariables(p)
	if err != nil {
		return nil, err
	}
	object := tree{}
	for _, name := range lacks {
		if value := v.line(variableInput(name)); value != "" {
			put(object, strings.TrimPrefix(name, "context."), value)
		}
	}
	raw, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	return behalf.ParseVariables(raw)
}

func (v *visit) beginTest() error {
	p, err := v.tested()
	if err != nil {
		return err
	}
	n := connect.NewTrial{Profile: string(p.ID), Tenant: v.line("tenant"), Fields: map[string]secret.Text{}, Quick: v.form("do") == "quick"}
	for _, f := range p.AdditionalFields {
		if name := "field." + f.Key; f.Asked() && v.form(name) != "" {
			n.Fields[f.Key] = secret.New(strings.TrimSpace(v.form(name)))
		}
	}
	var trial behalf.Transcript
	var link string
	if n.Variables, err = v.sentVariables(p); err == nil {
		trial, link, err = v.cfg.Connect.Test(v.ctx(), v.db, v.assistant, n)
	}
	if f, ok := faultsOf(lacksVariable(err), "The test could not begin."); ok {
		return v.showTester(statusOf(err), tester{Profile: p, faults: fieldsOf(f)})
	}
	if err != nil {
		return err
	}
	if link == "" {
		return v.to("assistants", v.assistant.Slug, "profiles", string(p.ID), "test", string(trial.ID))
	}
	return v.show(http.StatusOK, "Test "+p.Name, v.trialPage(trialView{p, trial, link}))
}

// lacksVariable puts the error of a variable without a value beside the field
// that asks for it.
func lacksVariable(err error) error {
	e, missing := (*behalf.Error)(nil), (*expand.MissingError)(nil)
	if errors.As(err, &e) && errors.As(err, &missing) && strings.HasPrefix(missing.Name, "context.") {
		return &behalf.Error{Code: e.Code, Field: variableInput(missing.Name), Message: e.Message, Err: err}
	}
	return err
}

// fieldsOf names additional fields as the form does.
func fieldsOf(f faults) faults {
	names := map[string]string{}
	for i, o := range f.order {
		if o.Field != "tenant" && o.Field != "" && !strings.HasPrefix(o.Field, "variables") {
			f.order[i].Field = "field." + strings.TrimPrefix(o.Field, "fields.")
		}
		names[f.order[i].Field] = o.Message
	}
	f.Fields = names
	return f
}

// trial reads a test of the profile of the path.
func (v *visit) trial() (trialView, error) {
	p, err := v.profile()
	if err != nil {
		return trialView{}, err
	}
	t, err := v.db.Transcript(v.ctx(), v.assistant.ID, behalf.TranscriptID(v.r.PathValue("trial")))
	if err == nil && t.Profile != p.ID {
		err = behalf.NotFound("test")
	}
	return trialView{Profile: p, Trial: t}, err
}

func (v *visit) showTest() error {
	t, err := v.trial()
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "Test "+t.Profile.Name, v.trialPage(t))
}

// followTest streams the steps of a test as they are done, each time all of
// them as they are to be shown.
func (v *visit) followTest() error {
	t, err := v.trial()
	if err != nil {
		return err
	}
	control := http.NewResponseController(v.w)
	_ = control.SetReadDeadline(time.Time{}) // it lasts as long as the person takes
	look.Headers(v.w, look.Policy{})
	v.w.Header().Set("Content-Type", "text/event-stream")
	return v.ended(v.cfg.Connect.Follow(v.ctx(), v.db, v.assistant.ID, t.Trial.ID, func(now behalf.Transcript) error {
		var b bytes.Buffer
		if err := v.trialResult(trialView{Profile: t.Profile, Trial: now}).Render(v.ctx(), &b); err != nil {
			return err
		}
		event := "steps"
		if now.Status != behalf.TranscriptWaiting {
			event = "end"
		}
		if _, err := fmt.Fprintf(v.w, "event: %s\ndata: %s\n\n", event, eventData.Replace(b.String())); err != nil {
			return err
		}
		return control.Flush()
	}))
}

// eventData makes the lines of an event of a text. A carriage return alone ends a
// line there as well, and what a provider has answered may hold one.
var eventData = strings.NewReplacer("\r\n", "\ndata: ", "\r", "\ndata: ", "\n", "\ndata: ")

// ended is how a stream ends: what is wrong cannot be told any more.
func (v *visit) ended(err error) error {
	if err != nil && v.ctx().Err() == nil {
		v.log.Warn("console: a test is not followed to its end", "err", err)
	}
	return nil
}

// recorded is how many transcripts a page of the flight recorder has: each may
// be long.
const recorded = 5

// recorder shows a connection's flight recorder.
func (v *visit) recorder() error {
	c, err := v.connection()
	if err != nil {
		return err
	}
	view, err := v.viewOf(c)
	if err != nil {
		return err
	}
	page, err := v.db.ConnectionTranscripts(v.ctx(), c, store.Page{After: v.query("after"), Limit: recorded + 1})
	if err != nil {
		return err
	}
	older := ""
	if len(page) > recorded {
		page = page[:recorded]
		older = "?" + url.Values{"after": {string(page[recorded-1].ID)}}.Encode()
	}
	return v.show(http.StatusOK, "Flight recorder", v.recorderPage(view, page, older))
}

// lastTest says how the newest test of a profile ended.
func (v *visit) lastTest(p behalf.Profile) (*behalf.Transcript, error) {
	if !v.may(behalf.ReadTranscripts) {
		return nil, nil
	}
	all, err := v.db.Trials(v.ctx(), p.Assistant, p.ID, store.Page{Limit: 1})
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// Words of the page.
var (
	trialResults = map[behalf.TranscriptStatus]string{behalf.TranscriptPassed: "Authorization successful", behalf.TranscriptFailed: "Auth Test Failed", behalf.TranscriptWaiting: "Under way…"}
	trialTones   = map[behalf.TranscriptStatus]look.Tone{behalf.TranscriptPassed: look.Good, behalf.TranscriptFailed: look.Bad}
	stepTones    = map[behalf.StepStatus]look.Tone{behalf.StepPassed: look.Good, behalf.StepFailed: look.Bad}
	stepWords    = map[behalf.StepStatus]string{behalf.StepPassed: "Passed", behalf.StepFailed: "Failed", behalf.StepLeft: "Left out", behalf.StepRunning: "Under way"}
	kindWords    = map[behalf.TranscriptKind]string{behalf.TrialTranscript: "Test", behalf.QuickTranscript: "Quick check", behalf.AuthorizationTranscript: "Authorization", behalf.RefreshTranscript: "Refresh", behalf.CallTranscript: "Call"}
	whoWords     = map[behalf.Responsible]string{behalf.ByPerson: "the person who authorizes", behalf.ByAdministrator: "an administrator", behalf.ByOperator: "the operator of this server", behalf.ByProvider: "the provider"}
)

func took(s behalf.TranscriptStep) string {
	if s.TookMS == 0 {
		return ""
	}
	return number(s.TookMS) + " ms"
}

// headerLines writes a message's headers as they would stand on the wire.
func headerLines(h http.Header) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			b.WriteString(name + ": " + value + "\n")
		}
	}
	return b.String()
}

func sentText(m behalf.SentMessage) string {
	return strings.TrimRight(m.Method+" "+m.URL+"\n"+headerLines(m.Headers)+"\n"+m.Body, "\n")
}

func receivedText(m behalf.GotMessage) string {
	return strings.TrimRight(number(int64(m.Status))+" "+http.StatusText(m.Status)+"\n"+headerLines(m.Headers)+"\n"+m.Body, "\n")
}
