package server_test

import (
	"context"
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

func TestDecliningOnOurOwnPageEndsTheSession(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	s.Sim.Set(simulator.Switches{Log: true})
	declined := outcome{http.StatusOK, saysDeclined, "declined", "declined", "The person chose not to connect"}
	of := s.begin(s.Profile)
	s.ends(of, s.browser().post(of.link, values("decline", "yes")), declined)
	s.ends(of, s.browser().get(of.link), declined)
	s.ends(of, s.browser().post(of.link, nil), declined)

	t.Run("also after Continue", func(t *testing.T) {
		s, of := s.in(t), s.begin(s.Profile)
		b := s.browser()
		back := with(s.callbackURL(s.Profile), "code", "x", "state", param(b.presses(of), "state"))
		s.ends(of, b.post(of.link, values("decline", "yes")), declined)
		s.ends(of, b.get(back), declined)
	})
	s.untouched()
}

func TestALinkThatIsNotKnownSaysSo(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	of := s.begin(s.Profile)
	for _, link := range []string{s.URL + "/connect/x", of.link[:len(of.link)-1], of.link + "A", s.URL + "/connect/%00%ff"} {
		s.ends(of, s.browser().get(link), still(http.StatusNotFound, saysUnknown))
		s.ends(of, s.browser().post(link, nil), still(http.StatusNotFound, saysUnknown))
	}
}

func TestALinkIsGoodOnce(t *testing.T) {
	each(t, servertest.Setup{}, func(s *stage) {
		of := s.begin(s.Profile)
		b := s.browser()
		back := b.agrees(b.presses(of))
		first := s.connected(of, b.get(back))
		again := outcome{http.StatusGone, saysUsed, "connected", "", ""}
		s.shows(of, b.get(of.link), again)
		s.shows(of, b.post(of.link, nil), again)
		s.shows(of, b.post(of.link, values("decline", "yes")), again)
		s.connected(of, b.get(back)) // the callback, reloaded: what the page said is still so
		s.shows(of, b.get(with(back, "code", "", "error", "access_denied")), again)
		s.shows(of, s.browser().get(of.link), again)
		s.shows(of, s.browser().get(back), outcome{http.StatusForbidden, saysOther, "connected", "", ""})
		if got := s.connections(of); len(got) != 1 || got[0].Generation != first.Generation || got[0].Status != "active" {
			s.t.Errorf("the connections are %+v", got)
		}
		if n := s.Sim.Stats(); n.Exchanges != 1 || n.CodeReplays != 0 {
			s.t.Errorf("the provider saw %d exchanges, %d replays", n.Exchanges, n.CodeReplays)
		}
	})
}

func TestAFailedSessionIsExplainedAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	s.behaves(simulator.Switches{InvalidClient: true})
	of := s.begin(s.Profile)
	b := s.browser()
	back := b.agrees(b.presses(of))
	want := failed("client_fault", "invalid_client")
	s.ends(of, b.get(back), want)
	s.behaves(simulator.Switches{})
	s.ends(of, b.get(back), want)
	s.ends(of, b.get(of.link), want)
	s.ends(of, b.post(of.link, nil), want)
	if n := s.Sim.Stats().TokenRequests; n != 1 {
		t.Errorf("the token endpoint was asked %d times", n)
	}
}

func TestBackAndContinueAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{Profile: tenancy})
	t.Run("with the same input leads to the same request", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(s.Profile)
		b := s.browser()
		first := b.presses(of, "tenant", "acme")
		if p := b.get(of.link); p.Status != http.StatusOK || attribute(p.input("tenant"), "value") != "acme" {
			t.Errorf("status %d: %s", p.Status, p.text)
		}
		if again := b.presses(of, "tenant", "acme"); again != first {
			t.Error("Continue led to another request")
		}
		if c := s.connected(of, b.get(b.agrees(first))); c.Tenant != "acme" {
			t.Errorf("the tenant is %q", c.Tenant)
		}
	})
	t.Run("with another tenant makes the first request worthless", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(s.Profile)
		b := s.browser()
		old := b.agrees(b.presses(of, "tenant", "acme"))
		current := b.presses(of, "tenant", "globex")
		for _, name := range []string{"state", "code_challenge"} {
			if param(current, name) == param(old, name) {
				t.Errorf("%s is the same", name)
			}
		}
		s.ends(of, b.get(old), still(http.StatusNotFound, saysUnknown))
		if c := s.connected(of, b.get(b.agrees(current))); c.Tenant != "globex" {
			t.Errorf("the tenant is %q", c.Tenant)
		}
	})
}

func TestTwoTabsDoNotSpoilEachOther(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	b := s.browser()
	t.Run("of one session", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(s.Profile)
		left, right := b.agrees(b.presses(of)), b.agrees(b.presses(of))
		s.connected(of, b.get(left))
		s.connected(of, b.get(right))
		if n := s.Sim.Stats(); n.Exchanges != 1 || len(s.connections(of)) != 1 {
			s.t.Errorf("%d exchanges, %d connections", n.Exchanges, len(s.connections(of)))
		}
	})
	t.Run("of two sessions", func(t *testing.T) {
		s := s.in(t)
		one, two := s.begin(s.Profile), s.begin(s.Profile)
		left, right := b.agrees(b.presses(one)), b.agrees(b.presses(two))
		s.connected(two, b.get(right))
		s.connected(one, b.get(left))
	})
}

func TestManyCallbacksAtOnceMakeOneExchange(t *testing.T) {
	each(t, servertest.Setup{}, func(s *stage) {
		s.behaves(simulator.Switches{TokenDelayMS: 150})
		of := s.begin(s.Profile)
		b := s.browser()
		back := b.agrees(b.presses(of))
		pages := make([]page, 8)
		var wg sync.WaitGroup
		for i := range pages {
			wg.Go(func() { pages[i] = b.get(back) })
		}
		wg.Wait()
		won := 0
		for _, p := range pages {
			switch p.Status {
			case http.StatusOK:
				won++
				s.connected(of, p)
			case http.StatusConflict:
				s.shows(of, p, outcome{http.StatusConflict, saysBusy, "connected", "", ""})
			default:
				s.t.Errorf("status %d: %s", p.Status, p.text)
			}
		}
		if n := s.Sim.Stats(); won == 0 || n.Exchanges != 1 || len(s.connections(of)) != 1 {
			s.t.Errorf("%d won, %d exchanges, %d connections", won, n.Exchanges, len(s.connections(of)))
		}
	})
}

func TestManyContinuesAtOnceLeadToOneRequest(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	of := s.begin(s.Profile)
	b := s.browser()
	pages := make([]page, 8)
	var wg sync.WaitGroup
	for i := range pages {
		wg.Go(func() { pages[i] = b.post(of.link, nil) })
	}
	wg.Wait()
	won := 0
	for _, p := range pages {
		switch p.Status {
		case http.StatusOK:
			won++
		case http.StatusConflict, http.StatusForbidden: // Continue was pressed elsewhere, as far as this one knows
		default:
			t.Errorf("status %d: %s", p.Status, p.text)
		}
	}
	if won != 1 {
		t.Errorf("%d of them won", won)
	}
	s.connected(of, b.connects(of))
}

// On a slow line people click twice, and the answer to the first click is lost
// with its cookie. The page gave the browser its own before.
func TestTheAnswerToAFirstClickMayGetLost(t *testing.T) {
	each(t, servertest.Setup{}, func(s *stage) {
		of := s.begin(s.Profile)
		b := s.browser()
		b.get(of.link)
		pages := make([]page, 4)
		var wg sync.WaitGroup
		for i := range pages {
			wg.Go(func() { pages[i] = b.post(of.link, nil) })
		}
		wg.Wait()
		for _, p := range pages {
			if p.Status != http.StatusOK || p.onward() != pages[0].onward() || len(p.Header.Values("Set-Cookie")) != 0 {
				s.t.Errorf("status %d: %s", p.Status, p.text)
			}
		}
		s.connected(of, b.get(b.agrees(pages[0].onward())))
	})
}

func TestWhileACallbackIsWorkedOn(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	s.behaves(simulator.Switches{TokenDelayAfterMS: 1500})
	of := s.begin(s.Profile)
	b := s.browser()
	back := b.agrees(b.presses(of))
	leave := s.leaves(b, back)
	s.eventually("the exchange", func() bool { return s.Sim.Stats().Exchanges == 1 })
	busy := still(http.StatusConflict, saysBusy)
	s.ends(of, b.get(of.link), busy)
	s.ends(of, b.post(of.link, nil), busy)
	s.ends(of, b.get(back), busy)
	leave()

	// A code is exchanged once: what a server was interrupted in has failed, and
	// an answer that comes later still is not kept.
	s.Clock.Advance(61 * time.Second)
	interrupted := failed("interrupted", "The server was interrupted")
	s.ends(of, b.get(back), interrupted)
	s.eventually("the late answer", func() bool { return strings.Contains(s.Log.String(), "connect page") })
	s.ends(of, b.get(of.link), interrupted)
	if n := s.Sim.Stats().Exchanges; n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

// A person who closes the tab while the provider is asked has said yes all the
// same: the code is spent, and what it brought is kept.
func TestABrowserThatLeavesDoesNotStopTheExchange(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	s.behaves(simulator.Switches{TokenDelayMS: 200})
	of := s.begin(s.Profile)
	b := s.browser()
	leave := s.leaves(b, b.agrees(b.presses(of)))
	s.eventually("the exchange", func() bool { return s.Sim.Stats().Exchanges == 1 })
	leave()
	s.eventually("the connection", func() bool { return s.status(of).Status == "connected" })
	if got := s.connections(of); len(got) != 1 || got[0].Status != "active" {
		t.Errorf("the connections are %+v", got)
	}
}

func TestAnotherBrowser(t *testing.T) {
	each(t, servertest.Setup{}, func(s *stage) {
		other := still(http.StatusForbidden, saysOther)
		of := s.begin(s.Profile)
		b := s.browser()
		back := b.agrees(b.presses(of))
		s.ends(of, s.browser().get(of.link), other)
		s.ends(of, s.browser().post(of.link, nil), other)
		s.ends(of, s.browser().post(of.link, values("decline", "yes")), other)
		s.ends(of, s.browser().get(back), other)
		s.ends(of, s.browser().get(with(back, "code", "", "error", "access_denied")), other)

		elsewhere := s.browser()
		elsewhere.presses(s.begin(s.Profile)) // with a cookie, of another session
		s.ends(of, elsewhere.get(back), other)
		if n := s.Sim.Stats().TokenRequests; n != 0 {
			s.t.Errorf("the token endpoint was asked %d times", n)
		}
		s.connected(of, b.get(back)) // where it began it goes on
	})
}

// Whoever sends a person an address of ours with his own code must not make the
// person's browser take part in his account, nor the other way round.
func TestLoginCSRF(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	s.behaves(simulator.Switches{NoLogin: "jay"})
	attacker, mine := s.browser(), s.begin(s.Profile)
	back := attacker.agrees(attacker.presses(mine))
	s.behaves(simulator.Switches{})

	victim, theirs := s.browser(), s.begin(s.Profile)
	authorization := victim.presses(theirs)
	s.ends(mine, victim.get(back), still(http.StatusForbidden, saysOther))
	s.ends(theirs, victim.get(with(back, "state", "")), still(http.StatusNotFound, saysUnknown))

	t.Run("with the code of the attacker and the state of the victim is stopped by PKCE", func(t *testing.T) {
		s := s.in(t)
		p := victim.get(with(back, "state", param(authorization, "state")))
		s.ends(theirs, p, failed("refused", "invalid_grant"))
		s.ends(mine, attacker.get(back), failed("refused", "invalid_grant")) // whose code was spent by that
	})
}

func TestACodeOfAnotherSessionIsStoppedByTheNonceToo(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{Profile: func(d *behalf.Definition) { openID(d); d.OAuth.PKCE = "off" }})
	s.behaves(simulator.Switches{PKCEOptional: true})
	one, two := s.begin(s.Profile), s.begin(s.Profile)
	b := s.browser()
	stolen := param(b.agrees(b.presses(one)), "code")
	own := b.agrees(b.presses(two))
	s.ends(two, b.get(with(own, "code", stolen)), failed("protocol", "nonce is not this request's"))
}

func TestAState(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	for name, change := range map[string][]string{
		"that was forged":   {"state", "forged-by-somebody-else-with-43-characters-now"},
		"that is missing":   {"state", ""},
		"that has a NUL":    {"state", "a\x00b"},
		"that is no UTF-8":  {"state", "\xff\xfe"},
		"of 10,000 letters": {"state", strings.Repeat("s", 10_000)},
	} {
		t.Run(name+" belongs to nothing", func(t *testing.T) {
			s := s.in(t)
			of := s.begin(s.Profile)
			b := s.browser()
			back := b.agrees(b.presses(of))
			s.ends(of, b.get(with(back, change...)), still(http.StatusNotFound, saysUnknown))
			s.connected(of, b.get(back))
		})
	}
	for name, sw := range map[string]simulator.Switches{"replaced": {WrongState: true}, "dropped": {NoState: true}} {
		t.Run(name+" by the provider belongs to nothing", func(t *testing.T) {
			s := s.in(t)
			s.behaves(sw)
			of := s.begin(s.Profile)
			s.ends(of, s.browser().connects(of), still(http.StatusNotFound, saysUnknown))
		})
	}
	t.Run("that was used belongs to what has ended", func(t *testing.T) {
		s := s.in(t)
		s.behaves(simulator.Switches{})
		of := s.begin(s.Profile)
		b := s.browser()
		back := b.agrees(b.presses(of))
		s.connected(of, b.get(back))
		fresh := b.agrees(b.presses(s.begin(s.Profile)))
		s.connected(of, b.get(with(fresh, "state", param(back, "state"))))
		if got := s.connections(of); len(got) != 1 || got[0].Generation != 1 {
			t.Errorf("the connections are %+v", got)
		}
	})
}

// Cross-toolkit account takeover: a hostile profile's provider bounces the
// browser to an honest one with the state of the hostile profile's session, so
// that the honest code comes back to a redirect URI of ours. Each profile has
// its own, and the session remembers which it sent.
func TestAnAnswerAtAnotherProfilesCallbackBelongsToNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	hostile := s.profile()
	of := s.begin(hostile)
	b := s.browser()
	state := param(b.presses(of), "state")
	honest := b.agrees(b.presses(s.begin(s.Profile)))
	s.ends(of, b.get(with(honest, "state", state)), still(http.StatusNotFound, saysUnknown))
	s.ends(of, b.get(with(s.URL+"/callback/prf_00000000000000000000000000", "state", state, "code", "x")), still(http.StatusNotFound, saysUnknown))
	s.ends(of, b.get(with(s.URL+"/callback/"+hostile.Slug, "state", state, "code", "x")), still(http.StatusNotFound, saysUnknown))
	if n := s.Sim.Stats().TokenRequests; n != 0 {
		t.Errorf("the token endpoint was asked %d times", n)
	}
	s.connected(of, b.get(b.agrees(b.presses(of))))
}

func TestAFormOfAnotherSiteIsRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	of := s.begin(s.Profile)
	for name, headers := range map[string][]string{
		"another site":              {"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"},
		"another site, old":         {"Origin", "https://evil.example", "Sec-Fetch-Site", ""},
		"another port":              {"Origin", "http://127.0.0.1:1", "Sec-Fetch-Site", "same-site"},
		"nowhere":                   {"Origin", "null", "Sec-Fetch-Site", ""},
		"a frame without an origin": {"Origin", "null", "Sec-Fetch-Site", "cross-site"},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			for _, form := range []string{"", "decline"} {
				if p := s.browser().post(of.link, values(form, "yes"), headers...); p.Status != http.StatusForbidden || len(p.Header.Values("Set-Cookie")) != 0 {
					t.Errorf("status %d, cookies %q", p.Status, p.Header.Values("Set-Cookie"))
				}
			}
			if got := s.status(of).Status; got != "waiting" {
				t.Errorf("the session is %s", got)
			}
		})
	}
	s.connected(of, s.browser().connects(of))
}

func TestOtherMethodsAreRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	of := s.begin(s.Profile)
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions} {
		for _, address := range []string{of.link, s.callbackURL(s.Profile)} {
			if p := s.browser().send(method, address, nil, nil); p.Status != http.StatusMethodNotAllowed {
				t.Errorf("%s: status %d", method, p.Status)
			}
		}
	}
	if got := s.status(of).Status; got != "waiting" {
		t.Errorf("the session is %s", got)
	}
}

// returning lets an assistant send people back to its own pages.
func returning(a *behalf.Assistant) {
	a.ReturnURLs = []string{"https://bot.example/back", "https://bot.example/app/*", "http://localhost:3000/back"}
}

func TestAReturnURL(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{Assistant: returning})
	for _, no := range []string{
		"https://evil.example/back", "https://bot.example.evil.example/back", "https://bot.example@evil.example/back", "https://evil.example#@bot.example/back",
		"https://evil.example\\@bot.example/back", "https:/\\bot.example/back", "//bot.example/back", "/back", "back", "javascript:alert(1)//bot.example/back", "data:text/html,x",
		"http://bot.example/back", "https://bot.example:444/back", "https://bot.example/other", "https://bot.example/back/", "https://bot.example/back/../other", "https://bot.example/%62ack",
		"https://bot.example/app", "https://bot.example/application", "https://bot.example/app/../back2", "https://bot.example/app/%2e%2e/other", "https://bot.example/app/..%2fother", "https://bot.example/app/..;/other",
		"https://bot.example/back#fragment", "https://user:pw@bot.example/back", "https://bot.example/back\r\nX-Injected: 1", "https://bot.example/back\t", " https://bot.example/back",
		"http://127.0.0.1:3000/back", "http://localhost/back", "https://bot.example./back", "https://BOT.example.evil/back", "https://bot\u3002example/back",
	} {
		t.Run(no+" is refused", func(t *testing.T) {
			got := s.Do(s.Key, http.MethodPost, s.api("/connect-sessions"), api.SessionBody{Profile: s.Profile.Slug, User: "u", ReturnURL: no})
			if p := got.Problem(t, http.StatusUnprocessableEntity, behalf.CodeInvalid); p.Field != "return_url" {
				t.Errorf("the field is %q", p.Field)
			}
		})
	}
	for _, yes := range []string{"https://bot.example/back", "https://bot.example/back?thread=7&x=a%20b", "https://bot.example/app/a/b", "http://localhost:3000/back"} {
		t.Run(yes+" is where the person comes back to, with the outcome", func(t *testing.T) {
			s := s.in(t)
			home := func(b *api.SessionBody) { b.ReturnURL = yes }
			of := s.begin(s.Profile, home)
			p := s.browser().connects(of)
			to := p.Header.Get("Location")
			if p.Status != http.StatusSeeOther || to != with(yes, "session", of.ID, "status", "connected") || s.status(of).Status != "connected" {
				t.Errorf("status %d to %q", p.Status, to)
			}

			of = s.begin(s.Profile, home)
			p = s.browser().post(of.link, values("decline", "yes"))
			if p.Status != http.StatusOK || p.onward() != with(yes, "session", of.ID, "status", "declined") || s.status(of).Status != "declined" {
				t.Errorf("status %d on to %q", p.Status, p.onward())
			}
		})
	}
	t.Run("that tries to say the outcome itself is overruled", func(t *testing.T) {
		s := s.in(t)
		s.behaves(simulator.Switches{Deny: true})
		defer s.behaves(simulator.Switches{})
		of := s.begin(s.Profile, func(b *api.SessionBody) { b.ReturnURL = "https://bot.example/back?status=connected&session=cs_other" })
		p := s.browser().connects(of)
		if to := p.Header.Get("Location"); param(to, "status") != "declined" || param(to, "session") != of.ID {
			t.Errorf("status %d to %q", p.Status, to)
		}
		s.ends(of, p, outcome{http.StatusSeeOther, nil, "declined", "declined", "the person said no"})
	})
	t.Run("is not told to another browser", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(s.Profile, func(b *api.SessionBody) { b.ReturnURL = "https://bot.example/back" })
		b := s.browser()
		back := b.agrees(b.presses(of))
		p := s.browser().get(back)
		s.ends(of, p, still(http.StatusForbidden, saysOther))
		for _, a := range p.elements("a") {
			if attribute(a, "href") != "" {
				t.Errorf("the page leads to %q", attribute(a, "href"))
			}
		}
	})
}

// leaves asks for a page in a tab, which the returned function closes.
func (s *stage) leaves(b *browser, address string) func() {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = answerTo(b.client, r.WithContext(ctx)) // nobody is there to read it
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

func (s *stage) eventually(what string, is func() bool) {
	s.t.Helper()
	for end := time.Now().Add(5 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("did not come: %s", what)
		}
	}
}

func TestAnAddressThatIsNoneIsAPageForPeopleAndAProblemForPrograms(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	for accepts, kind := range map[string]string{
		"text/html,application/xhtml+xml,*/*;q=0.8": "text/html; charset=utf-8",
		"*/*": "application/problem+json", "": "application/problem+json",
	} {
		got := s.Do("", http.MethodGet, "/nothing", nil, "Accept", accepts)
		if got.Status != http.StatusNotFound || got.Header.Get("Content-Type") != kind {
			t.Errorf("%q is answered with %d %s", accepts, got.Status, got.Header.Get("Content-Type"))
		}
		if kind == "text/html; charset=utf-8" && (!strings.Contains(got.Body, "<h1>We don’t know this link</h1>") || got.Header.Get("Content-Security-Policy") == "") {
			t.Errorf("the page is %s", got.Body)
		}
	}
}
