package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/connect"
	"github.com/behalf-dev/behalf/internal/store"
)

// TrialBody is what a test is asked for with.
type TrialBody struct {
	Tenant    string            `json:"tenant,omitempty" doc:"The organization at the provider, where the profile has tenancy. Left out, the page asks."`
	Fields    map[string]string `json:"fields,omitempty" doc:"Values of additional fields, by key."`
	Variables map[string]any    `json:"variables,omitempty" doc:"The context object, for placeholders {{context.…}}."`
	Quick     bool              `json:"quick,omitempty" doc:"Without a person: whether the addresses answer, and whether client id and secret are right."`
}

// Trial is a test of a profile on the wire.
type Trial struct {
	ID        string         `json:"id"`
	Profile   string         `json:"profile"`
	Quick     bool           `json:"quick"`
	Status    string         `json:"status" enum:"waiting,passed,failed"`
	URL       string         `json:"url,omitempty" doc:"The link for whoever tests; a form may post to it at once. It is shown once."`
	Result    string         `json:"result,omitempty" doc:"Authorization successful, or Auth Test Failed."`
	Steps     []RecordedStep `json:"steps"`
	By        string         `json:"by,omitempty" doc:"Who tested."`
	CreatedAt time.Time      `json:"created_at"`
	EndedAt   *time.Time     `json:"ended_at,omitempty"`
}

// RecordedStep is a step of a transcript on the wire.
type RecordedStep struct {
	behalf.TranscriptStep
	Curl string `json:"curl,omitempty" doc:"The request as a command for a shell, with variables for what was masked."`
}

// Transcript is what was recorded of a connection, on the wire.
type Transcript struct {
	ID         string         `json:"id"`
	Kind       string         `json:"kind" enum:"authorization,refresh,call,trial,quick"`
	Status     string         `json:"status" enum:"waiting,passed,failed"`
	Connection string         `json:"connection,omitempty" doc:"Absent where none was made."`
	Session    string         `json:"session,omitempty"`
	Steps      []RecordedStep `json:"steps"`
	CreatedAt  time.Time      `json:"created_at"`
	EndedAt    *time.Time     `json:"ended_at,omitempty"`
}

// Flight is a connection's flight recorder.
type Flight struct {
	Verdict    behalf.Verdict `json:"verdict" doc:"How the connection is, and who must act."`
	Items      []Transcript   `json:"items" doc:"Newest first."`
	NextCursor string         `json:"next_cursor,omitempty" doc:"Absent on the last page."`
}

// TrialPath names a test.
type TrialPath struct {
	ProfilePath
	Trial string `path:"trial" maxLength:"80"`
}

func (a *API) createTrial(ctx context.Context, db store.Scope, in *struct {
	ProfilePath
	Body TrialBody
}) (*Output[Trial], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	sent, err := variables(in.Body.Variables)
	if err != nil {
		return nil, err
	}
	t, link, err := a.cfg.Connect.Test(ctx, db, x, connect.NewTrial{Profile: in.Profile, Tenant: in.Body.Tenant, Fields: texts(in.Body.Fields), Variables: sent, Quick: in.Body.Quick})
	out := output(viewTrial(t))
	out.Body.URL = link
	return out, err
}

func (a *API) getTrial(ctx context.Context, db store.Scope, in *TrialPath) (*Output[Trial], error) {
	t, err := a.trial(ctx, db, in.Assistant, in.Profile, in.Trial)
	return output(viewTrial(t)), err
}

func (a *API) trial(ctx context.Context, db store.Scope, assistant, profile, trial string) (behalf.Transcript, error) {
	x, err := db.Assistant(ctx, assistant)
	if err != nil {
		return behalf.Transcript{}, err
	}
	p, err := db.Profile(ctx, x.ID, profile)
	if err != nil {
		return behalf.Transcript{}, err
	}
	t, err := db.Transcript(ctx, x.ID, behalf.TranscriptID(trial))
	if err == nil && (t.Profile != p.ID || !isTrial(t)) {
		err = behalf.NotFound("trial")
	}
	return t, err
}

func isTrial(t behalf.Transcript) bool {
	return t.Kind == behalf.TrialTranscript || t.Kind == behalf.QuickTranscript
}

func (a *API) listTrials(ctx context.Context, db store.Scope, in *struct {
	ProfilePath
	Page
}) (*ListOutput[Trial], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	p, err := db.Profile(ctx, x.ID, in.Profile)
	if err != nil {
		return nil, err
	}
	items, err := db.Trials(ctx, x.ID, p.ID, in.page())
	return listOf(items, in.Limit, func(t behalf.Transcript) string { return string(t.ID) }, viewTrial), err
}

func (a *API) listTranscripts(ctx context.Context, db store.Scope, in *struct {
	ConnectionPath
	Page
}) (*Output[Flight], error) {
	c, err := a.connection(ctx, db, in.ConnectionPath)
	if err != nil {
		return nil, err
	}
	p, err := store.ProfileOf(ctx, db, c)
	if err != nil {
		return nil, err
	}
	items, err := db.ConnectionTranscripts(ctx, c, in.page())
	if err != nil {
		return nil, err
	}
	newest := items
	if in.Cursor != "" {
		if newest, err = db.ConnectionTranscripts(ctx, c, store.Page{}); err != nil {
			return nil, err
		}
	}
	list := listOf(items, in.Limit, func(t behalf.Transcript) string { return string(t.ID) }, viewTranscript).Body
	return output(Flight{Verdict: c.Verdict(p, newest, db.Now()), Items: list.Items, NextCursor: list.NextCursor}), nil
}

func (a *API) sessionTranscript(ctx context.Context, db store.Scope, in *SessionPath) (*Output[Transcript], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	t, err := db.SessionTranscript(ctx, x.ID, behalf.SessionID(in.Session))
	return output(viewTranscript(t)), err
}

// trialEvents streams a test as it goes: an event "trial" with the whole of it
// at every change, the last of which has a status other than waiting.
func (a *API) trialEvents(w http.ResponseWriter, r *http.Request) {
	actor, err := a.Authenticate(r)
	if err != nil {
		a.WriteProblem(w, r, err)
		return
	}
	db := a.cfg.DB.As(actor)
	t, err := a.trial(r.Context(), db, r.PathValue("assistant"), r.PathValue("profile"), r.PathValue("trial"))
	if err != nil {
		a.WriteProblem(w, r, err)
		return
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // it lasts as long as the person takes
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	_ = a.cfg.Connect.Follow(r.Context(), db, t.Assistant, t.ID, func(t behalf.Transcript) error { // the watcher has gone
		body, err := json.Marshal(viewTrial(t))
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "event: trial\ndata: %s\n\n", body); err != nil {
			return err
		}
		return control.Flush()
	})
}

var results = map[behalf.TranscriptStatus]string{behalf.TranscriptPassed: "Authorization successful", behalf.TranscriptFailed: "Auth Test Failed"}

func viewTrial(t behalf.Transcript) Trial {
	return Trial{ID: string(t.ID), Profile: string(t.Profile), Quick: t.Kind == behalf.QuickTranscript, Status: string(t.Status), Result: results[t.Status],
		Steps: viewSteps(t.Steps), By: t.Actor, CreatedAt: t.CreatedAt, EndedAt: told(t.EndedAt)}
}

func viewTranscript(t behalf.Transcript) Transcript {
	return Transcript{ID: string(t.ID), Kind: string(t.Kind), Status: string(t.Status), Connection: string(t.Connection), Session: string(t.Session),
		Steps: viewSteps(t.Steps), CreatedAt: t.CreatedAt, EndedAt: told(t.EndedAt)}
}

func viewSteps(steps []behalf.TranscriptStep) []RecordedStep {
	out := make([]RecordedStep, 0, len(steps))
	for _, s := range steps {
		out = append(out, RecordedStep{s, s.Curl()})
	}
	return out
}
