package server_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/simulator"
)

// tests begins a test of a profile.
func (s *stage) tests(p behalf.Profile, body api.TrialBody) api.Trial {
	s.t.Helper()
	var made api.Trial
	s.Do(s.Key, http.MethodPost, s.trials(p), body).Into(s.t, &made)
	if made.URL != "" {
		s.Secret(made.URL[strings.LastIndexByte(made.URL, '/')+1:])
	}
	return made
}

func (s *stage) trials(p behalf.Profile) string { return s.api("/profiles/" + p.Slug + "/trials") }

// trial reads a test.
func (s *stage) trial(p behalf.Profile, id string) api.Trial {
	s.t.Helper()
	var got api.Trial
	s.Do(s.Key, http.MethodGet, s.trials(p)+"/"+id, nil).Into(s.t, &got)
	return got
}

// runs takes a test to its end, as the person who tests does.
func (s *stage) runs(p behalf.Profile, body api.TrialBody, form ...string) (api.Trial, page) {
	s.t.Helper()
	made := s.tests(p, body)
	b := s.browser()
	shown := b.connects(session{api.ConnectSession{}, made.URL, p}, form...)
	return s.trial(p, made.ID), shown
}

// names are the steps of a test with how they stand.
func names(t api.Trial) string {
	var out []string
	for _, step := range t.Steps {
		out = append(out, step.Title+" "+string(step.Status))
	}
	return strings.Join(out, ", ")
}

func step(t *testing.T, of []api.RecordedStep, name behalf.StepName) api.RecordedStep {
	t.Helper()
	for _, s := range of {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("there is no step %s: %+v", name, of)
	return api.RecordedStep{}
}

func TestATestThatPassesShowsEveryStepAndKeepsNothing(t *testing.T) {
	s := newStage(t, servertest.Setup{Profile: func(d *behalf.Definition) { openID(d); d.OAuth.RevocationURL = d.OAuth.Issuer + "/revoke" }})
	got, shown := s.runs(s.Profile, api.TrialBody{})
	want := "Redirect to the provider passed, Callback passed, Token request passed, Scopes passed, ID token passed, Userinfo passed, Refresh passed, Revocation passed"
	if got.Status != "passed" || got.Result != "Authorization successful" || names(got) != want {
		t.Errorf("%s, %s: %s", got.Status, got.Result, names(got))
	}
	if shown.Status != http.StatusOK || !strings.Contains(shown.text, "Authorization successful") {
		t.Errorf("%d: %s", shown.Status, shown.text)
	}
	for _, name := range []behalf.StepName{behalf.StepTokenRequest, behalf.StepRefresh, behalf.StepRevocation} {
		x := step(t, got.Steps, name)
		if x.Request == nil || x.Response == nil || x.Response.Status != 200 || x.Request.Headers.Get("Authorization") != "Basic [secret]" {
			t.Errorf("%s: %+v %+v", name, x.Request, x.Response)
		}
		if !strings.Contains(x.Curl, `-u "$CLIENT_ID:$CLIENT_SECRET"`) {
			t.Errorf("%s: %s", name, x.Curl)
		}
	}
	var all api.List[api.Connection]
	s.Do(s.Key, http.MethodGet, s.api("/connections"), nil).Into(t, &all)
	if len(all.Items) != 0 {
		t.Errorf("it has left connections: %+v", all.Items)
	}
	if n := s.Sim.Stats().Revocations; n != 1 {
		t.Errorf("%d revocations", n)
	}
	s.holdsNoSecret("the trial", s.Do(s.Key, http.MethodGet, s.trials(s.Profile)+"/"+got.ID, nil).Body)
}

func TestTheTokenOfATestIsLeftWhereTheAccountIsConnected(t *testing.T) {
	s := newStage(t, servertest.Setup{Profile: func(d *behalf.Definition) { openID(d); d.OAuth.RevocationURL = d.OAuth.Issuer + "/revoke" }})
	of := s.begin(s.Profile)
	s.connected(of, s.browser().connects(of))
	got, _ := s.runs(s.Profile, api.TrialBody{})
	x := step(t, got.Steps, behalf.StepRevocation)
	if got.Status != "passed" || x.Status != behalf.StepLeft || !strings.Contains(x.Detail, "live connection") || s.Sim.Stats().Revocations != 0 {
		t.Errorf("%s: %+v, %d revocations", got.Status, x, s.Sim.Stats().Revocations)
	}
	c := s.connections(of)[0]
	if a := s.Do(s.Key, http.MethodPost, s.api("/connections/"+c.ID+"/refresh"), nil); a.Status != http.StatusOK {
		t.Errorf("the connection does not refresh any more: %d %s", a.Status, a.Body)
	}
}

func TestATestIsWatchedAsItGoes(t *testing.T) {
	s := newStage(t, servertest.Setup{Profile: openID})
	made := s.tests(s.Profile, api.TrialBody{})
	r := s.Request(s.Key, http.MethodGet, s.trials(s.Profile)+"/"+made.ID+"/events", nil)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if kind := res.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatal(kind, res.Status)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(res.Body); in.Scan(); {
			if data, ok := strings.CutPrefix(in.Text(), "data: "); ok {
				lines <- data
			}
		}
	}()
	if first := <-lines; !strings.Contains(first, "waits for the link") {
		t.Error(first)
	}
	b := s.browser()
	target := b.presses(session{api.ConnectSession{}, made.URL, s.Profile})
	if second := <-lines; !strings.Contains(second, "The person is at the provider") || !strings.Contains(second, s.callbackURL(s.Profile)) {
		t.Error(second)
	}
	b.get(b.agrees(target))
	last := ""
	for line := range lines {
		last = line
	}
	if !strings.Contains(last, `"status":"passed","result":"Authorization successful"`) {
		t.Error(last)
	}
}

func TestTheFlightRecorderOfAConnection(t *testing.T) {
	s := newStage(t, servertest.Setup{Profile: openID})
	of := s.begin(s.Profile)
	c := s.connected(of, s.browser().connects(of))
	s.behaves(simulator.Switches{RefreshError: "invalid_grant"})
	s.Do(s.Key, http.MethodPost, s.api("/connections/"+c.ID+"/refresh"), nil)
	var got api.Flight
	eventually(t, func() bool {
		s.Do(s.Key, http.MethodGet, s.api("/connections/"+c.ID+"/transcripts"), nil).Into(t, &got)
		return len(got.Items) == 2
	})
	if len(got.Items) != 2 || got.Items[0].Kind != "refresh" || got.Items[1].Kind != "authorization" || got.Items[1].Status != "passed" {
		t.Fatalf("%+v", got.Items)
	}
	if v := got.Verdict; !v.Broken || v.Who != behalf.ByPerson || v.Code != "refresh_refused" || v.Line == "" || v.Fix == "" {
		t.Errorf("%+v", v)
	}
}

func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for range 50 {
		if done() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}
