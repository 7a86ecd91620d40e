package broker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/broker"
	"github.com/behalf-dev/behalf/internal/simulator"
	"github.com/behalf-dev/behalf/internal/storetest"
)

// class is what a failure of the token endpoint means.
type class int

const (
	transient class = iota // nothing was done: tried again after a while
	limited                // tried again when the provider said
	ambiguous              // it may have been done: the intent stays open
	client                 // our client is refused: the profile fails, no connection
	refused                // the grant is dead: the connection lapses
)

var faults = map[string]struct {
	sw      simulator.Switches
	down    bool // the server is not there
	class   class
	atLeast time.Duration // until the next attempt
	spent   bool          // the provider has committed: the refresh token is spent
}{
	"no server":                           {down: true, class: transient},
	"429":                                 {sw: simulator.Switches{RateLimit: "none"}, class: limited},
	"429 with Retry-After":                {sw: simulator.Switches{RateLimit: "70"}, class: limited, atLeast: 70 * time.Second},
	"429 with an absurd Retry-After":      {sw: simulator.Switches{RateLimit: "absurd"}, class: limited, atLeast: time.Hour},
	"503 with Retry-After":                {sw: simulator.Switches{Unavailable: "70"}, class: limited, atLeast: 70 * time.Second},
	"503 with a date":                     {sw: simulator.Switches{Unavailable: "date"}, class: limited, atLeast: 25 * time.Second},
	"temporarily_unavailable, status 200": {sw: simulator.Switches{Error200: "temporarily_unavailable"}, class: limited},
	"503 without Retry-After":             {sw: simulator.Switches{Unavailable: "none"}, class: ambiguous},
	"no answer":                           {sw: simulator.Switches{TokenHang: true}, class: ambiguous},
	"an answer byte by byte":              {sw: simulator.Switches{TokenDripMS: 30}, class: ambiguous, spent: true},
	"an answer after the deadline":        {sw: simulator.Switches{TokenDelayAfterMS: 600}, class: ambiguous, spent: true},
	"a reset":                             {sw: simulator.Switches{TokenReset: true}, class: ambiguous},
	"committed, then closed":              {sw: simulator.Switches{CommitThenClose: true}, class: ambiguous, spent: true},
	"committed, then 500":                 {sw: simulator.Switches{CommitThen500: true}, class: ambiguous, spent: true},
	"500 with HTML":                       {sw: simulator.Switches{RefreshError: "html_500"}, class: ambiguous},
	"200 with HTML":                       {sw: simulator.Switches{GarbageHTML: true}, class: ambiguous, spent: true},
	"200 with nothing":                    {sw: simulator.Switches{EmptyBody: true}, class: ambiguous, spent: true},
	"half an answer":                      {sw: simulator.Switches{TruncatedJSON: true}, class: ambiguous, spent: true},
	"10 MiB":                              {sw: simulator.Switches{BigBody: true}, class: ambiguous, spent: true},
	"a gzip bomb":                         {sw: simulator.Switches{GzipBomb: true}, class: ambiguous, spent: true},
	"nested too deeply":                   {sw: simulator.Switches{DeepJSON: true}, class: ambiguous, spent: true},
	"two access tokens":                   {sw: simulator.Switches{DuplicateKeys: true}, class: ambiguous, spent: true},
	"an empty 400":                        {sw: simulator.Switches{RefreshError: "empty_400"}, class: ambiguous},
	"invalid_request":                     {sw: simulator.Switches{RefreshError: "invalid_request"}, class: ambiguous},
	"invalid_client":                      {sw: simulator.Switches{InvalidClient: true}, class: client},
	"unauthorized_client":                 {sw: simulator.Switches{RefreshError: "unauthorized_client"}, class: client},
	"a redirect":                          {sw: simulator.Switches{RedirectTokenEndpoint: "/token/moved"}, class: client},
	"invalid_grant":                       {sw: simulator.Switches{RefreshError: "invalid_grant"}, class: refused},
	"invalid_grant with status 200":       {sw: simulator.Switches{Error200: "invalid_grant"}, class: refused},
}

func TestWhatAFailureDoesToAConnection(t *testing.T) {
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, url string) {
				s := newStage(t, url, setup{broker: func(c *broker.Config) { c.Deadline, c.Lease = 300*time.Millisecond, 5*time.Second }})
				s.sim.Set(f.sw)
				if f.down {
					s.server.Close()
				}
				s.due()
				before := s.DB.Now()
				g, err := s.use()
				c := s.now()
				if f.class == refused {
					s.isLapsed(c, err)
					return
				}
				if err != nil || g.Generation != 1 || !g.Credential.AccessToken.Equal(s.first.AccessToken) {
					t.Errorf("a token that has not ended is served: generation %d, %v", g.Generation, err)
				}
				failures := int64(1)
				if f.class == client { // it is not the connection's
					failures = 0
				}
				if c.Status != behalf.ConnectionActive || c.Generation != 1 || c.Failures != failures {
					t.Errorf("%s, generation %d, %d failures", c.Status, c.Generation, c.Failures)
				}
				if open := !c.IntentAt.IsZero(); open != (f.class == ambiguous) {
					t.Errorf("intent open: %v", open)
				}
				if wait := c.NextAttemptAt.Sub(before); f.class == client {
					if !c.NextAttemptAt.IsZero() {
						t.Errorf("a connection waits for its profile: %v", wait)
					}
				} else if wait < max(f.atLeast, 800*time.Millisecond) || wait > f.atLeast+6*time.Second {
					t.Errorf("next attempt after %v", wait)
				}
				s.isFailing(f.class == client)
				if f.down {
					return
				}
				s.staysQuiet()
				s.recovers(f.class, f.spent)
			})
		})
	}
}

func (s *stage) isLapsed(c behalf.Connection, err error) {
	s.t.Helper()
	if behalf.CodeOf(err) != behalf.CodeAuthorizationRequired || c.Status != behalf.ConnectionLapsed || c.Reason == "" {
		s.t.Errorf("%s %q, %v", c.Status, c.Reason, err)
	}
	if n := s.events(behalf.EventConnectionLapsed); n != 1 {
		s.t.Errorf("%d events", n)
	}
	s.use()
	s.refreshes(1)
}

func (s *stage) isFailing(want bool) {
	s.t.Helper()
	p, err := s.System.Profile(s.t.Context(), s.Assistant.ID, string(s.Profile.ID))
	if err != nil || (p.Status == behalf.ProfileFailing) != want {
		s.t.Errorf("profile %s, %v", p.Status, err)
	}
	events := 0
	if want {
		events = 1
	}
	if n := s.events(behalf.EventProfileFailing); n != events {
		s.t.Errorf("%d events of a failing profile", n)
	}
}

// staysQuiet: before its time comes nobody asks the provider again.
func (s *stage) staysQuiet() {
	s.t.Helper()
	before := s.sim.Stats().TokenRequests
	for range 3 {
		s.mustUse()
	}
	if n := s.sim.Stats().TokenRequests - before; n != 0 {
		s.t.Errorf("%d requests before the next attempt", n)
	}
}

// recovers: the fault is over.
func (s *stage) recovers(class class, spent bool) {
	s.t.Helper()
	s.sim.Update(func(sw *simulator.Switches) { *sw = simulator.Switches{} })
	before := s.sim.Stats().Refreshes
	if class == client { // the profile is asked for again once in a while
		s.Clock.Advance(2 * time.Second)
	} else {
		s.Clock.Advance(s.now().NextAttemptAt.Sub(s.DB.Now()) + time.Millisecond)
	}
	if class == ambiguous {
		s.mustUse()
		s.refreshes(before) // the access token is used to its end first
		s.ended()
	}
	g, err := s.use()
	s.refreshes(before + 1)
	if spent {
		if c := s.now(); behalf.CodeOf(err) != behalf.CodeAuthorizationRequired || c.Status != behalf.ConnectionLapsed || !strings.Contains(c.Reason, "unknown") {
			s.t.Errorf("%s %q, %v", c.Status, c.Reason, err)
		}
		return
	}
	if c := s.now(); err != nil || g.Generation != 2 || c.Failures != 0 || !c.IntentAt.IsZero() || !s.works(g.Credential) {
		s.t.Errorf("generation %d, %d failures, %v", g.Generation, c.Failures, err)
	}
	if n := s.events(behalf.EventProfileRecovered); (n == 1) != (class == client) || n > 1 {
		s.t.Errorf("%d events of a recovered profile", n)
	}
	s.survives()
}

func TestAFailureOfAnEndedTokenIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		sw   simulator.Switches
		code behalf.Code
		wait bool
	}{
		"a hanging provider":   {simulator.Switches{TokenHang: true}, behalf.CodeUnavailable, true},
		"a busy provider":      {simulator.Switches{RateLimit: "60"}, behalf.CodeLimited, true},
		"an expired secret":    {simulator.Switches{InvalidClient: true}, behalf.CodeProvider, false},
		"a dead refresh token": {simulator.Switches{RefreshError: "invalid_grant"}, behalf.CodeAuthorizationRequired, false},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, url string) {
				s := newStage(t, url, setup{broker: func(c *broker.Config) { c.Deadline, c.Lease = 200*time.Millisecond, 5*time.Second }})
				s.sim.Set(test.sw)
				s.due()
				s.ended()
				_, err := s.use()
				e, ok := err.(*behalf.Error)
				if !ok || e.Code != test.code || (e.RetryAfter > 0) != test.wait {
					t.Fatalf("%v", err)
				}
				if strings.Contains(e.Message, "acorn_") || strings.Contains(e.Error(), hostOf(t, s.server.URL)) {
					t.Errorf("the error shows what it must not: %v", err)
				}
			})
		})
	}
}

// TestInvalidClientTouchesNoConnection: with many connections and many servers
// the profile fails once and recovers once.
func TestInvalidClientTouchesNoConnection(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		var all []behalf.Connection
		for _, user := range []string{"a", "b", "c"} {
			all = append(all, s.House.Connect(s.Profile, user, grant(t, s.server.URL, "notes:read", s.DB.Now()), behalf.Account{}, behalf.Inputs{}))
		}
		other := newBroker(t, storetest.Open(t, url, s.Clock.Now), s.log, nil)
		s.sim.Set(simulator.Switches{InvalidClient: true})
		s.due()
		for i, c := range all {
			b := []*broker.Broker{s.broker, other}[i%2]
			if g, err := b.Connection(t.Context(), s.scope, c); err != nil || g.Generation != 1 {
				t.Errorf("generation %d, %v", g.Generation, err)
			}
		}
		s.isFailing(true)
		s.sim.Set(simulator.Switches{})
		s.Clock.Advance(20 * time.Second)
		for _, c := range all {
			if g, err := s.broker.Connection(t.Context(), s.scope, s.Connection(c.ID)); err != nil || g.Generation != 2 {
				t.Errorf("generation %d, %v", g.Generation, err)
			}
		}
		if n := s.events(behalf.EventProfileRecovered); n != 1 {
			t.Errorf("recovered %d times", n)
		}
		if n := s.events(behalf.EventConnectionLapsed); n != 0 {
			t.Errorf("%d connections lapsed", n)
		}
	})
}
