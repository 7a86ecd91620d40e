package e2e

import (
	"crypto/rand"
	"testing"

	"github.com/behalf-dev/behalf/e2e/browser"
	"github.com/behalf-dev/behalf/e2e/servers"
)

// The attacker, Mallory, begins a session as themselves and gets somebody else,
// Bob, to complete it with Bob's account at the provider.
const (
	mallory = "mallory-1"
	bob     = "bob-2"
)

func TestASessionThatAnotherPersonCompletedIsNeverUsable(t *testing.T) {
	tests := []struct {
		name string
		// verifier is what the assistant's backend sends along when Bob's
		// browser comes back to it: in both the user is who is signed in.
		verifier func(b *backend, malloryS, bobS string) string
		signedIn string
		want     string
	}{
		{"when the backend sends the verifier of the session", func(b *backend, m, _ string) string { return b.verifier(m) }, bob, "forbidden"},
		{"when the backend sends the verifier of the person", func(b *backend, _, own string) string { return b.verifier(own) }, bob, "forbidden"},
		{"when the backend mistakes one person for the other, but not the verifier", func(b *backend, _, own string) string { return b.verifier(own) }, mallory, "forbidden"},
	}
	for _, engine := range engines {
		for _, test := range tests {
			t.Run(engine+"/"+test.name, func(t *testing.T) {
				f := newForged(t, engine)
				own := f.backend.begin(bob) // Bob has one of his own, too
				f.lure()
				f.checkUnusable()

				// Mallory has the backend's ear and their own verifier, but no code.
				for _, code := range []string{"", rand.Text() + rand.Text()} {
					got := f.backend.finish(f.session.ID, code, f.backend.verifier(f.session.ID), mallory)
					f.bot.problem("invalid", got)
					f.checkUnusable()
				}

				// Bob's browser has the code, and brings it in Bob's request.
				got := f.backend.finish(f.session.ID, f.code, test.verifier(f.backend, f.session.ID, own.ID), test.signedIn)
				f.bot.problem(test.want, got)
				f.checkUnusable()
				if ended := f.bot.session(f.session.ID); ended.Status != "failed" || ended.Problem.Code != "other_person" {
					t.Errorf("the session is %+v", ended)
				}

				// Too late for everybody, with everything.
				for _, who := range []string{mallory, bob} {
					f.bot.problem("conflict", f.backend.finish(f.session.ID, f.code, f.backend.verifier(f.session.ID), who))
				}
				f.checkUnusable()
				f.honest()
			})
		}
	}
}

// forged is a session of Mallory's that lies in wait for Bob.
type forged struct {
	*journey
	session session
	bob     *person
	code    string // that Bob's browser got
}

func newForged(t *testing.T, engine string) *forged {
	t.Helper()
	f := &forged{journey: newJourney(t, engine, "zitadel", variant{finish: true})}
	f.session = f.backend.begin(mallory)
	f.bob = f.watch(t, f.person.NewPerson(browser.Options{}))
	return f
}

// lure lets Bob complete the session. His browser comes back to the backend,
// which does nothing with it yet.
func (f *forged) lure() {
	f.t.Helper()
	f.backend.holdBack(true)
	f.bob.Open(f.backend.url + "/sign-in/" + bob)
	f.bob.Open(f.session.URL)
	f.provider.Username = servers.Bob
	f.agree(f.bob, f.backend.url+"/return")
	f.bob.WaitText("Held back")
	f.code = f.backend.holdBack(false)
	if f.code == "" {
		f.t.Fatal("the browser brought no finish_code")
	}
}

// checkUnusable looks for any way to what Bob authorized.
func (f *forged) checkUnusable() {
	f.t.Helper()
	polled := f.bot.session(f.session.ID)
	if polled.Status == "connected" || polled.Connection != "" {
		f.t.Fatalf("polling shows %+v", polled)
	}
	for _, who := range []string{mallory, bob} {
		if list := f.bot.connections(who); len(list) > 0 {
			f.t.Fatalf("%s has the connections %+v", who, list)
		}
		f.bot.refused("authorization_required", "POST", "/token", map[string]any{"profile": f.profile.Slug, "user": who})
		f.bot.problem("authorization_required", f.bot.call(f.profile.Slug, who, "/userinfo"))
	}
}

// honest is how it should be: Bob begins, Bob completes, and it is his.
func (f *forged) honest() {
	f.t.Helper()
	f.bob.Open(f.backend.url + "/connect")
	f.agree(f.bob, f.backend.url+"/return")
	f.bob.WaitText("Finished: connected")
	list := f.bot.connections(bob)
	if len(list) != 1 || list[0].Account.Label != servers.Bob {
		f.t.Errorf("Bob has the connections %+v", list)
	}
	if list := f.bot.connections(mallory); len(list) != 0 {
		f.t.Errorf("Mallory has the connections %+v", list)
	}
	f.bob.Reload() // the code is spent
	f.bob.WaitText("Refused: conflict")
	if got := f.bot.token(f.profile.Slug, bob); got.AccessToken == "" {
		f.t.Error("there is no token for Bob")
	}
}
