package server_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/simulator"
)

const home = "https://bot.example/back"

// finishing makes an assistant one whose backend finishes its connections.
func finishing(a *behalf.Assistant) {
	returning(a)
	a.Finish = true
}

// begins begins a session as the assistant's backend does for a user who is
// signed in there, with a verifier that it keeps for them.
func (s *stage) begins(user, verifier string, change ...func(*api.SessionBody)) session {
	s.t.Helper()
	s.Secret(verifier)
	return s.begin(s.Profile, append(change, func(b *api.SessionBody) {
		b.User, b.ReturnURL, b.FinishChallenge = user, home, challenge(verifier)
	})...)
}

// returns is the whole way of a browser back to the assistant, and the code
// that it brings.
func (s *stage) returns(b *browser, of session) string {
	s.t.Helper()
	p := b.connects(of)
	to := p.Header.Get("Location")
	if p.Status != http.StatusSeeOther || !strings.HasPrefix(to, home+"?") || param(to, "session") != of.ID || param(to, "status") != "pending" || len(param(to, "finish_code")) < 43 {
		s.t.Fatalf("status %d to %q: %s", p.Status, to, p.text)
	}
	s.Secret(param(to, "finish_code"))
	return param(to, "finish_code")
}

func (s *stage) finish(key string, of session, code, verifier, user string) servertest.Answer {
	s.t.Helper()
	return s.Do(key, http.MethodPost, s.api("/connect-sessions/"+of.ID+"/finish"), api.FinishBody{Code: code, Verifier: verifier, User: user})
}

// unusable checks that what was authorized is not, and cannot be used for the
// user in any way.
func (s *stage) unusable(of session, status string) {
	s.t.Helper()
	if got := s.status(of); got.Status != status || got.Connection != "" || len(s.connections(of)) != 0 {
		s.t.Errorf("the session is %+v, the connections are %+v", got, s.connections(of))
	}
	headers := []string{"Behalf-User", of.User}
	s.Do(s.Key, http.MethodPost, s.api("/token"), api.TokenBody{Profile: s.Profile.Slug, User: of.User}).Problem(s.t, http.StatusConflict, behalf.CodeAuthorizationRequired)
	s.Do(s.Key, http.MethodGet, s.api("/proxy/"+s.Profile.Slug+"/me"), nil, headers...).Problem(s.t, http.StatusConflict, behalf.CodeAuthorizationRequired)
}

func TestFinish(t *testing.T) {
	each(t, servertest.Setup{Assistant: finishing}, func(s *stage) {
		of := s.begins("jane", "verifier-of-jane")
		b := s.browser()
		code := s.returns(b, of)
		s.unusable(of, "pending")
		raw := s.Do(s.Key, http.MethodGet, s.api("/connect-sessions/"+of.ID), nil)
		if strings.Contains(raw.Body, code) || strings.Contains(raw.Body, "finish") {
			s.t.Errorf("the API tells the code: %s", raw.Body)
		}
		// The link and a reload say where to go on, and give no second code.
		p := b.get(of.link)
		s.shows(of, p, outcome{http.StatusOK, saysAlmost, "pending", "", ""})
		if strings.Contains(p.Body, code) {
			s.t.Error("the page tells the code")
		}

		var done api.ConnectSession
		s.finish(s.Key, of, code, "verifier-of-jane", "jane").Into(s.t, &done)
		if got := s.connections(of); done.Status != "connected" || len(got) != 1 || got[0].ID != done.Connection || got[0].User != "jane" {
			s.t.Fatalf("finished as %+v, with %+v", done, got)
		}
		var token map[string]any
		s.Do(s.Key, http.MethodPost, s.api("/token"), api.TokenBody{Profile: s.Profile.Slug, User: "jane"}).Into(s.t, &token)
		s.finish(s.Key, of, code, "verifier-of-jane", "jane").Problem(s.t, http.StatusConflict, behalf.CodeConflict)
		if got := s.connections(of); len(got) != 1 || got[0].Generation != 1 {
			s.t.Errorf("after a replay: %+v", got)
		}
		s.shows(of, b.get(of.link), outcome{http.StatusGone, saysUsed, "connected", "", ""})
	})
}

func TestManyFinishesAtOnceMakeOneConnection(t *testing.T) {
	each(t, servertest.Setup{Assistant: finishing}, func(s *stage) {
		of := s.begins("jane", "verifier")
		code := s.returns(s.browser(), of)
		answers := make([]servertest.Answer, 8)
		var wg sync.WaitGroup
		for i := range answers {
			wg.Go(func() { answers[i] = s.finish(s.Key, of, code, "verifier", "jane") })
		}
		wg.Wait()
		won := 0
		for _, a := range answers {
			if a.Status == http.StatusOK {
				won++
				continue
			}
			a.Problem(s.t, http.StatusConflict, behalf.CodeConflict)
		}
		if got := s.connections(of); won != 1 || len(got) != 1 || got[0].Generation != 1 {
			s.t.Errorf("%d won: %+v", won, got)
		}
	})
}

func TestFinishIsRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{Assistant: finishing})
	t.Run("before the person has come back", func(t *testing.T) {
		s := s.in(t)
		of := s.begins("jane", "verifier")
		s.finish(s.Key, of, "x", "verifier", "jane").Problem(t, http.StatusConflict, behalf.CodeConflict)
		b := s.browser()
		back := b.agrees(b.presses(of))
		s.finish(s.Key, of, "x", "verifier", "jane").Problem(t, http.StatusConflict, behalf.CodeConflict)
		s.unusable(of, "waiting")
		if p := b.get(back); p.Status != http.StatusSeeOther {
			t.Errorf("status %d", p.Status)
		}
	})
	t.Run("with a wrong code, and the fifth ends the session", func(t *testing.T) {
		s := s.in(t)
		of := s.begins("june", "verifier")
		code := s.returns(s.browser(), of)
		for i, wrong := range []string{"", "x", code[1:], code + "x", strings.ToUpper(code)} {
			if p := s.finish(s.Key, of, wrong, "verifier", "june").Problem(t, http.StatusUnprocessableEntity, behalf.CodeInvalid); p.Field != "code" {
				t.Errorf("the field is %q", p.Field)
			}
			want := "pending"
			if i == 4 {
				want = "failed"
			}
			s.unusable(of, want)
		}
		if got := s.status(of).Problem; got == nil || got.Code != "not_finished" {
			t.Errorf("the problem is %+v", got)
		}
		s.finish(s.Key, of, code, "verifier", "june").Problem(t, http.StatusConflict, behalf.CodeConflict)
		s.unusable(of, "failed")
	})
	t.Run("with a wrong code, and then the right one finishes", func(t *testing.T) {
		s := s.in(t)
		of := s.begins("joan", "verifier")
		code := s.returns(s.browser(), of)
		for range 4 {
			s.finish(s.Key, of, "x", "verifier", "joan").Problem(t, http.StatusUnprocessableEntity, behalf.CodeInvalid)
		}
		var done api.ConnectSession
		s.finish(s.Key, of, code, "verifier", "joan").Into(t, &done)
		if done.Status != "connected" {
			t.Errorf("it is %+v", done)
		}
	})
	for name, say := range map[string][2]string{
		"with a verifier of another session": {"verifier-of-somebody", "jill"},
		"without a verifier":                 {"", "jill"},
		"with the challenge as the verifier": {challenge("verifier"), "jill"},
		"for another user":                   {"verifier", "mallory"},
		"for a user in another case":         {"verifier", "Jill"},
		"for nobody":                         {"verifier", ""},
	} {
		t.Run(name+", and what was authorized is forgotten", func(t *testing.T) {
			s := s.in(t)
			of := s.begins("jill", "verifier")
			code := s.returns(s.browser(), of)
			s.finish(s.Key, of, code, say[0], say[1]).Problem(t, http.StatusForbidden, behalf.CodeForbidden)
			s.unusable(of, "failed")
			if got := s.status(of).Problem; got == nil || got.Code != "other_person" {
				t.Errorf("the problem is %+v", got)
			}
			s.finish(s.Key, of, code, "verifier", "jill").Problem(t, http.StatusConflict, behalf.CodeConflict)
			s.forgotten(of)
		})
	}
	t.Run("by another assistant", func(t *testing.T) {
		s := s.in(t)
		of := s.begins("jack", "verifier")
		code := s.returns(s.browser(), of)
		another := s.NewAssistant(behalf.NewAssistant("Another Bot", s.DB.Now()))
		key := s.NewKey(behalf.Key{Name: "another", Assistant: another.ID})
		s.finish(key, of, code, "verifier", "jack").Problem(t, http.StatusNotFound, behalf.CodeNotFound)
		own := "/v1/assistants/" + another.Slug + "/connect-sessions/" + of.ID
		s.Do(key, http.MethodPost, own+"/finish", api.FinishBody{Code: code, Verifier: "verifier", User: "jack"}).Problem(t, http.StatusNotFound, behalf.CodeNotFound)
		s.Do(key, http.MethodGet, own, nil).Problem(t, http.StatusNotFound, behalf.CodeNotFound)
		s.finish("", of, code, "verifier", "jack").Problem(t, http.StatusUnauthorized, behalf.CodeUnauthenticated)
		s.finish(s.NewKey(behalf.Key{Name: "viewer", Role: behalf.RoleViewer}), of, code, "verifier", "jack").Problem(t, http.StatusForbidden, behalf.CodeForbidden)
		s.unusable(of, "pending")
	})
	t.Run("after ten minutes, and what was authorized is forgotten", func(t *testing.T) {
		s := s.in(t)
		of := s.begins("judy", "verifier", func(b *api.SessionBody) { b.ExpiresIn = 60 })
		code := s.returns(s.browser(), of)
		s.Clock.Advance(9 * time.Minute) // longer than the link, and not too long
		s.unusable(of, "pending")
		s.Clock.Advance(61 * time.Second)
		s.unusable(of, "expired")
		s.finish(s.Key, of, code, "verifier", "judy").Problem(t, http.StatusConflict, behalf.CodeConflict)
		s.unusable(of, "expired")
		if got := s.status(of).Problem; got == nil || got.Code != "not_finished" {
			t.Errorf("the problem is %+v", got)
		}
		s.forgotten(of)
	})
	t.Run("after ten minutes, which the browser is told too", func(t *testing.T) {
		s := s.in(t)
		of := s.begins("jade", "verifier")
		b := s.browser()
		s.returns(b, of)
		s.Clock.Advance(11 * time.Minute)
		if p := b.get(of.link); p.Header.Get("Location") != home+"?session="+of.ID+"&status=expired" {
			t.Errorf("status %d to %q", p.Status, p.Header.Get("Location"))
		}
		s.unusable(of, "expired")
		s.forgotten(of)

		// A link that is good for an hour does not keep what it brought that long.
		of = s.begins("june", "verifier", func(b *api.SessionBody) { b.ExpiresIn = 3600 })
		s.returns(s.browser(), of)
		s.Clock.Advance(11 * time.Minute)
		if err := s.sweep(); err != nil {
			s.t.Fatal(err)
		}
		s.unusable(of, "expired")
		s.forgotten(of)
	})
}

// forgotten checks that nothing is sealed of an ended session any more.
func (s *stage) forgotten(of session) {
	s.t.Helper()
	kept, err := s.System.Session(s.t.Context(), s.Assistant.ID, behalf.SessionID(of.ID))
	if err != nil {
		s.t.Fatal(err)
	}
	secrets, err := s.System.SessionSecrets(s.t.Context(), kept)
	if err != nil || secrets.Result != nil || len(secrets.Fields) != 0 || !secrets.State.Empty() || !secrets.CodeVerifier.Empty() || !secrets.Nonce.Empty() {
		s.t.Errorf("something is kept: %+v, %v", secrets, err)
	}
}

func TestTheSweepForgetsWhatIsNotFinished(t *testing.T) {
	each(t, servertest.Setup{Assistant: finishing}, func(s *stage) {
		of := s.begins("jane", "verifier", func(b *api.SessionBody) { b.ExpiresIn = 60 })
		s.returns(s.browser(), of)
		s.Clock.Advance(5 * time.Minute) // the link's time is over, that of finish is not
		if err := s.sweep(); err != nil {
			s.t.Fatal(err)
		}
		s.unusable(of, "pending")
		s.Clock.Advance(6 * time.Minute)
		if err := s.sweep(); err != nil {
			s.t.Fatal(err)
		}
		s.unusable(of, "expired")
		s.forgotten(of)
	})
}

// Cross-user session fixation: Mallory begins a session as herself and has Jane
// complete it. Whatever they try, nobody can use what Jane authorized.
func TestASessionCompletedByAnotherPersonIsNeverUsable(t *testing.T) {
	each(t, servertest.Setup{Assistant: finishing}, func(s *stage) {
		const ofMallory, ofJane = "verifier-kept-for-mallory", "verifier-kept-for-jane"
		s.t.Run("when she sends the link", func(t *testing.T) {
			s := s.in(t)
			trap := s.begins("mallory", ofMallory, func(b *api.SessionBody) { b.UserName = "Mallory Moth" })
			jane := s.browser()
			if p := jane.get(trap.link); !strings.Contains(p.text, "You are connecting as Mallory Moth") || !strings.Contains(p.text, "somebody else’s account would get your access") {
				t.Errorf("the page does not warn: %s", p.text)
			}
			code := s.returns(jane, trap) // Jane's browser is at the assistant now, where Jane is signed in
			s.unusable(trap, "pending")

			mallory := s.browser()
			s.shows(trap, mallory.get(trap.link), outcome{http.StatusOK, saysAlmost, "pending", "", ""})
			s.finish(s.Key, trap, "", ofMallory, "mallory").Problem(t, http.StatusUnprocessableEntity, behalf.CodeInvalid)
			s.unusable(trap, "pending")

			s.finish(s.Key, trap, code, ofJane, "jane").Problem(t, http.StatusForbidden, behalf.CodeForbidden)
			s.unusable(trap, "failed")
			s.forgotten(trap)
		})
		s.t.Run("when she sends the provider's address", func(t *testing.T) {
			s := s.in(t)
			trap := s.begins("mallory", ofMallory)
			mallory, jane := s.browser(), s.browser()
			back := jane.agrees(mallory.presses(trap))
			s.ends(trap, jane.get(back), still(http.StatusForbidden, saysOther))
			s.unusable(trap, "waiting")
			if n := s.Sim.Stats().Exchanges; n != 1 { // that of the first
				t.Errorf("%d exchanges", n)
			}
		})
		s.t.Run("when she sends her own address of return", func(t *testing.T) {
			s := s.in(t)
			s.behaves(simulator.Switches{NoLogin: "jay"})
			trap := s.begins("mallory", ofMallory)
			code := s.returns(s.browser(), trap)
			// Jane's browser brings Mallory's code: the backend finishes for Jane.
			s.finish(s.Key, trap, code, ofJane, "jane").Problem(t, http.StatusForbidden, behalf.CodeForbidden)
			s.unusable(trap, "failed")
			jane := trap
			jane.User = "jane"
			s.unusable(jane, "failed")
		})
	})
}

func TestWhatFinishNeedsIsAskedForAtOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{Assistant: finishing})
	off := s.NewAssistant(behalf.Assistant{ID: behalf.NewAssistantID(s.DB.Now()), Slug: "off", Name: "Off", AssistantSettings: behalf.AssistantSettings{ReturnURLs: []string{home}}, Version: 1})
	p := s.NewProfile(off, s.Definition("Off"))
	good := challenge("verifier")
	for _, ask := range []struct {
		name  string
		of    behalf.Assistant
		body  api.SessionBody
		field string
	}{
		{"no return URL", s.Assistant, api.SessionBody{FinishChallenge: good}, "return_url"},
		{"no challenge", s.Assistant, api.SessionBody{ReturnURL: home}, "finish_challenge"},
		{"a verifier in its place", s.Assistant, api.SessionBody{ReturnURL: home, FinishChallenge: "verifier"}, "finish_challenge"},
		{"a padded challenge", s.Assistant, api.SessionBody{ReturnURL: home, FinishChallenge: good + "="}, "finish_challenge"},
		{"a challenge in plain base64", s.Assistant, api.SessionBody{ReturnURL: home, FinishChallenge: strings.Repeat("+", 43)}, "finish_challenge"},
		{"a bad challenge where finish is off", off, api.SessionBody{ReturnURL: home, FinishChallenge: "x"}, "finish_challenge"},
		{"a challenge and nowhere to bring the code", off, api.SessionBody{FinishChallenge: good}, "return_url"},
	} {
		t.Run(ask.name, func(t *testing.T) {
			ask.body.Profile, ask.body.User = p.Slug, "jane"
			if ask.of.ID == s.Assistant.ID {
				ask.body.Profile = s.Profile.Slug
			}
			got := s.Do(s.Owner, http.MethodPost, "/v1/assistants/"+ask.of.Slug+"/connect-sessions", ask.body)
			if p := got.Problem(t, http.StatusUnprocessableEntity, behalf.CodeInvalid); p.Field != ask.field {
				t.Errorf("the field is %q", p.Field)
			}
		})
	}
}
