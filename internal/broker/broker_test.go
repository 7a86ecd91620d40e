package broker_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/broker"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/simulator"
	"github.com/behalf-dev/behalf/internal/storetest"
)

func TestATokenThatIsGoodIsServedWithoutACall(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		g := s.mustUse()
		if !g.Credential.AccessToken.Equal(s.first.AccessToken) || g.Generation != 1 {
			t.Errorf("generation %d, another token", g.Generation)
		}
		s.refreshes(0)
	})
}

func TestATokenThatIsDueIsRefreshed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		s.due()
		g := s.mustUse()
		c := s.now()
		if g.Generation != 2 || c.Generation != 2 || g.Credential.AccessToken.Equal(s.first.AccessToken) || !s.works(g.Credential) {
			t.Errorf("generation %d kept %d", g.Generation, c.Generation)
		}
		if c.Rotates != behalf.RotationYes || !c.IntentAt.IsZero() || c.Failures != 0 || !c.Refreshable || c.Due(s.DB.Now()) {
			t.Errorf("kept %+v", c)
		}
		s.mustUse()
		s.refreshes(1)
		s.survives()
	})
}

const crowd = 200

// storm asks for the connection as many times at once, from each of the brokers
// in turn, all having read it before.
func (s *stage) storm(brokers ...*broker.Broker) {
	s.t.Helper()
	seen := s.now()
	start := make(chan struct{})
	got := make([]broker.Good, crowd)
	errs := make([]error, crowd)
	var wg sync.WaitGroup
	for i := range crowd {
		b := brokers[i%len(brokers)]
		wg.Go(func() {
			<-start
			got[i], errs[i] = b.Connection(s.t.Context(), s.scope, seen)
		})
	}
	close(start)
	wg.Wait()
	for i := range crowd {
		if errs[i] != nil || got[i].Generation != seen.Generation+1 || !got[i].Credential.AccessToken.Equal(got[0].Credential.AccessToken) {
			s.t.Fatalf("caller %d: generation %d, %v", i, got[i].Generation, errs[i])
		}
	}
	if !s.works(got[0].Credential) {
		s.t.Error("the token does not work")
	}
}

func Test200CallersOfADueConnectionCauseOneRefresh(t *testing.T) {
	for name, at := range map[string]func(*stage){"due": (*stage).due, "ended": func(s *stage) { s.due(); s.ended() }} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, url string) {
				s := newStage(t, url, setup{})
				s.sim.Set(simulator.Switches{TokenDelayMS: 50})
				at(s)
				s.storm(s.broker)
				s.refreshes(1)
				s.survives()
			})
		})
	}
}

func Test200CallersOnTwoServersCauseOneRefresh(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		s.sim.Set(simulator.Switches{TokenDelayMS: 100})
		other := newBroker(t, storetest.Open(t, url, s.Clock.Now), s.log, nil)
		s.due() // on PostgreSQL a store begins with the database's time
		s.storm(s.broker, other)
		s.refreshes(1)
		s.survives()
	})
}

func TestACallerThatLeavesDoesNotLoseTheRotatedToken(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		s.sim.Set(simulator.Switches{TokenDelayAfterMS: 200})
		s.due()
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			_, err := s.broker.Connection(ctx, s.scope, s.c)
			left <- err
		}()
		eventually(t, "the request", func() bool { return s.sim.Stats().Refreshes == 1 })
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("the caller got %v", err)
		}
		eventually(t, "the saved token", func() bool { return s.now().Generation == 2 })
		s.survives()
	})
}

func TestStopWaitsForWhatIsUnderWayAndBeginsNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		s.sim.Set(simulator.Switches{TokenDelayAfterMS: 200})
		s.due()
		done := make(chan error, 1)
		go func() {
			_, err := s.broker.Connection(t.Context(), s.scope, s.c)
			done <- err
		}()
		eventually(t, "the request", func() bool { return s.sim.Stats().Refreshes == 1 })
		hurried, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := s.broker.Stop(hurried); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop did not wait: %v", err)
		}
		if err := s.broker.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.now().Generation != 2 {
			t.Error("Stop returned before the answer was saved")
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.due()
		if g, err := s.use(); err != nil || g.Generation != 2 {
			t.Errorf("a stopped broker serves what is good: %v", err)
		}
		s.ended()
		if _, err := s.use(); behalf.CodeOf(err) != behalf.CodeUnavailable {
			t.Errorf("a stopped broker refreshes nothing: %v", err)
		}
		s.refreshes(1)
	})
}

func TestARefreshedTokenOutlivesTheDatabasesAbsence(t *testing.T) {
	t.Run("SQLite is locked by another process", func(t *testing.T) {
		url := storetest.SQLite(t)
		s := newStage(t, url, setup{})
		s.sim.Set(simulator.Switches{TokenDelayAfterMS: 100})
		s.due()
		other, err := sql.Open("sqlite", "file:"+strings.TrimPrefix(url, "sqlite:")+"?_txlock=immediate&_pragma=busy_timeout(5000)")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = other.Close() }()
		s.refreshWhile(func() func() {
			tx, err := other.Begin()
			if err != nil {
				t.Error(err)
				return func() {}
			}
			return func() { _ = tx.Rollback() }
		})
	})
	t.Run("PostgreSQL is gone", func(t *testing.T) {
		r, url := newRelay(t, storetest.Postgres(t))
		s := newStage(t, url, setup{})
		s.sim.Set(simulator.Switches{TokenDelayAfterMS: 100})
		s.due()
		s.refreshWhile(func() func() {
			r.set(true)
			return func() { r.set(false) }
		})
		if !strings.Contains(s.log.String(), "not saved yet") {
			t.Error("nobody was told")
		}
	})
}

// TestATokenThatIsDueIsServedWhenTheDatabaseHasJustGone takes the database away
// before anybody has noticed.
func TestATokenThatIsDueIsServedWhenTheDatabaseHasJustGone(t *testing.T) {
	r, url := newRelay(t, storetest.Postgres(t))
	s, ctx := newStage(t, url, setup{}), t.Context()
	a, err := s.scope.HeldAssistant(ctx, string(s.Assistant.ID))
	if err != nil {
		t.Fatal(err)
	}
	use := func() (string, error) {
		ready, err := s.broker.Use(ctx, s.scope, a, broker.Ask{Profile: s.Profile.Slug, User: "u1"})
		if err != nil {
			return "", err
		}
		good, err := ready.Good(ctx)
		return good.Credential.AccessToken.Reveal(), err
	}
	for range 19 { // what is held is dropped after five minutes without the database
		if got, err := use(); err != nil || got != s.first.AccessToken.Reveal() {
			t.Fatalf("%s, %v", got, err)
		}
		s.Clock.Advance(3 * time.Minute)
		if _, err := s.scope.HeldAssistant(ctx, string(s.Assistant.ID)); err != nil { // which asks the database
			t.Fatal(err)
		}
	}
	if !s.now().Due(s.DB.Now()) {
		t.Fatal("the token is not due")
	}
	r.set(true)
	if got, err := use(); err != nil || got != s.first.AccessToken.Reveal() {
		t.Errorf("a token that is due and good: %v", err)
	}
	s.refreshes(0)
	s.ended()
	if _, err := use(); behalf.CodeOf(err) != behalf.CodeUnavailable {
		t.Errorf("a token that has ended: %v", err)
	}
	r.set(false)
}

// refreshWhile takes the database away between the request and its answer.
func (s *stage) refreshWhile(gone func() (back func())) {
	s.t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := s.broker.Connection(s.t.Context(), s.scope, s.c)
		done <- err
	}()
	eventually(s.t, "the request", func() bool { return s.sim.Stats().Refreshes == 1 })
	back := gone()
	select {
	case err := <-done:
		s.t.Errorf("told before it was saved: %v", err)
	case <-time.After(400 * time.Millisecond):
	}
	back()
	if err := <-done; err != nil {
		s.t.Fatal(err)
	}
	if g := s.mustUse(); g.Generation != 2 || !s.works(g.Credential) {
		s.t.Errorf("generation %d", g.Generation)
	}
	s.refreshes(1)
	s.survives()
}

func TestARefreshWithoutANewRefreshTokenKeepsTheOld(t *testing.T) {
	for name, sw := range map[string]simulator.Switches{
		"none in the reply":         {NoRefreshTokenOnRefresh: true},
		"an empty one in the reply": {EmptyRefreshToken: true},
		"the same one in the reply": {NoRotation: true},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, url string) {
				s := newStage(t, url, setup{})
				s.sim.Set(sw)
				s.due()
				g := s.mustUse()
				if !g.Credential.RefreshToken.Equal(s.first.RefreshToken) || !g.Refreshable {
					t.Error("the refresh token is another one, or gone")
				}
				if c := s.now(); c.Rotates != behalf.RotationNo {
					t.Errorf("learned %q", c.Rotates)
				}
				s.survives()
			})
		})
	}
}

func TestAProviderThatDoesNotRotateIsAskedAgainAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		s.sim.Set(simulator.Switches{NoRotation: true})
		s.due()
		s.mustUse()
		s.sim.Set(simulator.Switches{NoRotation: true, CommitThenClose: true, Times: 2})
		s.due()
		if g := s.mustUse(); g.Generation != 3 {
			t.Errorf("generation %d", g.Generation)
		}
		s.refreshes(4)
	})
}

func TestWithinTheReplayWindowARefreshIsRepeatedAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{profile: func(d *behalf.Definition) { d.OAuth.Refresh.ReplayWindow = 60 }})
		s.sim.Set(simulator.Switches{GraceSeconds: 60, CommitThenClose: true, Times: 1})
		s.due()
		g := s.mustUse()
		if g.Generation != 2 || !s.works(g.Credential) {
			t.Errorf("generation %d", g.Generation)
		}
		s.refreshes(2)
		if n := s.sim.Stats().GraceReplays; n != 1 {
			t.Errorf("%d replays", n)
		}
	})
}

func TestATakeoverWaitsUntilTheAccessTokensEndThenAsksOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		s.due()
		if _, err := s.System.Lease(t.Context(), s.now(), time.Second); err != nil { // whose owner dies
			t.Fatal(err)
		}
		s.Clock.Advance(2 * time.Second)
		for range 5 {
			if g := s.mustUse(); g.Generation != 1 {
				t.Fatalf("generation %d", g.Generation)
			}
			s.Clock.Advance(time.Second)
		}
		s.refreshes(0)
		if c := s.now(); c.IntentAt.IsZero() || !c.NextAttemptAt.Equal(c.ExpiresAt) || c.Status != behalf.ConnectionActive {
			t.Errorf("waiting: %+v", c)
		}
		s.ended()
		if g := s.mustUse(); g.Generation != 2 || !s.works(g.Credential) {
			t.Errorf("generation %d", g.Generation)
		}
		s.refreshes(1)
		s.survives()
	})
}

func TestATakeoverOfARefreshThatWasCarriedOut(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		t.Run("lapses, and says that an earlier outcome is unknown", func(t *testing.T) {
			s := newStage(t, url, setup{})
			s.due()
			if _, err := s.System.Lease(t.Context(), s.now(), time.Second); err != nil {
				t.Fatal(err)
			}
			s.refreshBehindOurBack(s.first)
			s.Clock.Advance(2 * time.Second)
			s.mustUse()
			s.ended()
			_, err := s.use()
			c := s.now()
			if behalf.CodeOf(err) != behalf.CodeAuthorizationRequired || c.Status != behalf.ConnectionLapsed || !strings.Contains(c.Reason, "unknown") {
				t.Errorf("%s %q, %v", c.Status, c.Reason, err)
			}
			s.refreshes(2)
		})
	})
	t.Run("is repeated at once within the replay window", func(t *testing.T) {
		storetest.Each(t, func(t *testing.T, url string) {
			s := newStage(t, url, setup{profile: func(d *behalf.Definition) { d.OAuth.Refresh.ReplayWindow = 60 }})
			s.sim.Set(simulator.Switches{GraceSeconds: 60})
			s.due()
			if _, err := s.System.Lease(t.Context(), s.now(), time.Second); err != nil {
				t.Fatal(err)
			}
			s.refreshBehindOurBack(s.first)
			s.Clock.Advance(2 * time.Second)
			if g := s.mustUse(); g.Generation != 2 || !s.works(g.Credential) {
				t.Errorf("generation %d", g.Generation)
			}
		})
	})
}

func TestAnUnclearOutcomeStaysUnclearUntilTheProviderAnswers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{profile: func(d *behalf.Definition) { d.OAuth.Refresh.ReplayWindow = 20 }})
		s.due()
		if _, err := s.System.Lease(t.Context(), s.now(), time.Second); err != nil {
			t.Fatal(err)
		}
		s.Clock.Advance(2 * time.Second)
		s.sim.Set(simulator.Switches{RateLimit: "1", Times: 1}) // within the window it is asked, and learns nothing
		s.mustUse()
		s.refreshes(1)
		if s.now().IntentAt.IsZero() {
			t.Error("what a busy provider says settles no earlier refresh")
		}
		s.Clock.Advance(30 * time.Second)
		s.mustUse()
		s.refreshes(1) // behind the window the access token is used to its end
	})
}

func TestATokenWhoseEndWasNeverToldIsNotLostAfterAnUnclearRefresh(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		endless := s.first
		endless.ExpiresAt = time.Time{}
		s.c = s.House.Connect(s.Profile, "u2", endless, behalf.Account{}, behalf.Inputs{})
		g := s.mustUse()
		s.Clock.Advance(time.Hour)
		s.sim.Set(simulator.Switches{TokenReset: true, Times: 1})
		if _, err := s.broker.Refused(t.Context(), s.scope, g); !errors.Is(err, broker.ErrNotRefreshed) {
			t.Fatal(err)
		}
		s.Clock.Advance(time.Minute)
		if n, err := s.broker.Refused(t.Context(), s.scope, g); err != nil || n.Generation != 2 {
			t.Errorf("the refused token has ended, so the refresh is risked: generation %d, %v", n.Generation, err)
		}
	})
}

func TestClientSecretsAreTriedNewestFirst(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		now := s.DB.Now()
		s.Profile.Secrets.Client = []behalf.ClientSecret{
			{Value: secret.New("expired"), ExpiresAt: now.Add(-time.Hour)},
			{Value: secret.New("not-active-yet")},
			{Value: secret.New(storetest.ClientSecret)},
		}
		if _, err := s.System.SaveProfile(t.Context(), s.Profile); err != nil {
			t.Fatal(err)
		}
		s.due()
		if g := s.mustUse(); g.Generation != 2 || !s.works(g.Credential) {
			t.Errorf("generation %d", g.Generation)
		}
		s.refreshes(2)
		if p, err := s.System.Profile(t.Context(), s.Assistant.ID, string(s.Profile.ID)); err != nil || p.Status != behalf.ProfileConfigured {
			t.Errorf("%s, %v", p.Status, err)
		}
	})
}

func TestARefusedTokenIsRefreshedOncePerGeneration(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		g := s.mustUse()
		if _, err := s.broker.Refused(t.Context(), s.scope, g); !errors.Is(err, broker.ErrNotRefreshed) {
			t.Errorf("a token of no age: %v", err)
		}
		s.refreshes(0)
		s.Clock.Advance(time.Minute)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				n, err := s.broker.Refused(t.Context(), s.scope, g)
				if err != nil || n.Generation != 2 || n.Credential.AccessToken.Equal(g.Credential.AccessToken) {
					t.Errorf("generation %d, %v", n.Generation, err)
				}
			})
		}
		wg.Wait()
		s.refreshes(1)
		again := s.mustUse()
		for range 3 {
			if _, err := s.broker.Refused(t.Context(), s.scope, again); !errors.Is(err, broker.ErrNotRefreshed) {
				t.Errorf("an API that refuses everything: %v", err)
			}
		}
		s.refreshes(1)
		s.survives()
	})
}

func TestTheProfilesMinimumAgeHoldsForEveryForcedRefresh(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{profile: func(d *behalf.Definition) { d.OAuth.Refresh.MinAge = 600 }})
		s.Clock.Advance(5 * time.Minute)
		if _, err := s.broker.Refresh(t.Context(), s.scope, s.now()); behalf.CodeOf(err) != behalf.CodeConflict {
			t.Errorf("Refresh: %v", err)
		}
		if _, err := s.broker.Refused(t.Context(), s.scope, s.mustUse()); !errors.Is(err, broker.ErrNotRefreshed) {
			t.Errorf("Refused: %v", err)
		}
		s.refreshes(0)
		s.Clock.Advance(6 * time.Minute)
		if c, err := s.broker.Refresh(t.Context(), s.scope, s.now()); err != nil || c.Generation != 2 {
			t.Errorf("generation %d, %v", c.Generation, err)
		}
	})
}

func TestWithoutARefreshTokenTheAccessTokenIsUsedToItsEnd(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		only := s.first
		only.RefreshToken = secret.Text{}
		s.c = s.House.Connect(s.Profile, "u2", only, behalf.Account{}, behalf.Inputs{})
		s.due()
		s.mustUse()
		if _, err := s.broker.Refresh(t.Context(), s.scope, s.now()); behalf.CodeOf(err) != behalf.CodeConflict {
			t.Errorf("Refresh: %v", err)
		}
		s.ended()
		if _, err := s.use(); behalf.CodeOf(err) != behalf.CodeAuthorizationRequired {
			t.Errorf("ended: %v", err)
		}
		s.refreshes(0)
	})
}

// TestReconnectDuringARefreshTheProviderRefuses is a person who authorizes anew
// while a refresh with the old token is under way: the new one stays.
func TestReconnectDuringARefreshTheProviderRefuses(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		s.sim.Set(simulator.Switches{TokenDelayMS: 300, RefreshError: "invalid_grant", Times: 1})
		s.due()
		type answer struct {
			g   broker.Good
			err error
		}
		done := make(chan answer, 1)
		go func() {
			g, err := s.broker.Connection(t.Context(), s.scope, s.c)
			done <- answer{g, err}
		}()
		eventually(t, "the request", func() bool { return s.sim.Stats().Refreshes == 1 })
		fresh := s.Credential("new")
		if c := s.House.Connect(s.Profile, "u1", fresh, behalf.Account{}, behalf.Inputs{}); c.ID != s.c.ID {
			t.Fatal("another connection")
		}
		a := <-done
		if a.err != nil || !a.g.Credential.AccessToken.Equal(fresh.AccessToken) || s.now().Status != behalf.ConnectionActive {
			t.Errorf("%s, %v", s.now().Status, a.err)
		}
	})
}

func TestRevokeDuringARefreshStaysRevoked(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		s.sim.Set(simulator.Switches{TokenDelayAfterMS: 200})
		s.due()
		done := make(chan error, 1)
		go func() {
			_, err := s.broker.Connection(t.Context(), s.scope, s.c)
			done <- err
		}()
		eventually(t, "the request", func() bool { return s.sim.Stats().Refreshes == 1 })
		if err := s.System.Revoke(t.Context(), s.now(), "by the person"); err != nil {
			t.Fatal(err)
		}
		if err := <-done; behalf.CodeOf(err) != behalf.CodeAuthorizationRequired {
			t.Errorf("the caller got %v", err)
		}
		if c := s.now(); c.Status != behalf.ConnectionRevoked || c.Generation != 1 {
			t.Errorf("%s, generation %d", c.Status, c.Generation)
		}
	})
}

// TestAStrayTakesThePlaceOfARefusedCredential is two answers for one generation,
// of which the one in force turns out to be the dead one.
func TestAStrayTakesThePlaceOfARefusedCredential(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		s.due()
		frozen, err := s.System.Lease(t.Context(), s.now(), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		s.ended()
		before := s.c
		s.mustUse() // generation 2, by takeover
		late := grant(t, s.server.URL, "notes:read", s.DB.Now())
		if moved, err := s.System.Keep(t.Context(), frozen, before.Refreshed(s.first, late), late); moved || err != nil {
			t.Fatalf("the late answer: moved %v, %v", moved, err)
		}
		s.sim.Set(simulator.Switches{RefreshError: "invalid_grant", Times: 1})
		s.due()
		g := s.mustUse()
		if g.Generation != 3 || !g.Credential.AccessToken.Equal(late.AccessToken) || s.now().Status != behalf.ConnectionActive {
			t.Errorf("generation %d, %s", g.Generation, s.now().Status)
		}
		s.survives()
	})
}

func TestARefreshWithAnotherAccountsIDTokenLapses(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{account: behalf.Account{Subject: "u-1"}, scope: "openid notes:read", profile: func(d *behalf.Definition) {
			base := strings.TrimSuffix(d.TokenURL, "/token")
			d.OAuth.Issuer, d.OAuth.JWKSURL = base, base+"/jwks"
			d.Scope[0].Value = "openid notes:read"
		}})
		s.due()
		if g := s.mustUse(); g.Generation != 2 {
			t.Fatalf("the same account: generation %d", g.Generation)
		}
		s.sim.Set(simulator.Switches{IDTokenOtherSub: true})
		s.due()
		g, err := s.use()
		if behalf.CodeOf(err) != behalf.CodeAuthorizationRequired || g.Generation > 2 || s.now().Status != behalf.ConnectionLapsed {
			t.Errorf("another account: generation %d, %s, %v", g.Generation, s.now().Status, err)
		}
	})
}

// TestScopesThatNoDatabaseTakes is a provider whose answer must be kept although
// a part of it cannot be stored as text.
func TestScopesThatNoDatabaseTakes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		s.due()
		s.sim.Set(simulator.Switches{Answer: &simulator.Answer{Body: `{"access_token":"acorn_at_new","expires_in":3600,"scope":"notes:read a\u0000b"}`}})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		g, err := s.broker.Connection(ctx, s.scope, s.c)
		if err != nil || g.Generation != 2 || len(g.ScopesGranted) != 1 || g.ScopesGranted[0] != "notes:read" {
			t.Errorf("generation %d, scopes %q, %v", g.Generation, g.ScopesGranted, err)
		}
	})
}

func TestFindNamesOneConnection(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		second := s.House.Connect(s.Profile, "u1", s.Credential("second"), behalf.Account{Subject: "other"}, behalf.Inputs{})
		foreign := s.NewAssistant("Foreign")
		theirs := s.House.Connect(s.NewProfile(foreign, storetest.Definition("Acorn", s.server.URL)), "u1", s.Credential("theirs"), behalf.Account{}, behalf.Inputs{})
		for name, test := range map[string]struct {
			ask  broker.Ask
			want behalf.ConnectionID
			code behalf.Code
		}{
			"by profile and user, the default":  {ask: broker.Ask{Profile: s.Profile.Slug, User: "u1"}, want: s.c.ID},
			"by profile id and user":            {ask: broker.Ask{Profile: string(s.Profile.ID), User: "u1"}, want: s.c.ID},
			"by connection":                     {ask: broker.Ask{Connection: second.ID}, want: second.ID},
			"by connection and what fits it":    {ask: broker.Ask{Connection: second.ID, User: "u1", Profile: s.Profile.Slug}, want: second.ID},
			"no user":                           {ask: broker.Ask{Profile: s.Profile.Slug}, code: behalf.CodeInvalid},
			"no profile":                        {ask: broker.Ask{User: "u1"}, code: behalf.CodeInvalid},
			"a user who has not connected":      {ask: broker.Ask{Profile: s.Profile.Slug, User: "u9"}, code: behalf.CodeAuthorizationRequired},
			"a tenant where there are none":     {ask: broker.Ask{Profile: s.Profile.Slug, User: "u1", Tenant: "acme"}, code: behalf.CodeInvalid},
			"an unknown profile":                {ask: broker.Ask{Profile: "nope", User: "u1"}, code: behalf.CodeNotFound},
			"a connection of another user":      {ask: broker.Ask{Connection: second.ID, User: "u2"}, code: behalf.CodeNotFound},
			"a connection of another profile":   {ask: broker.Ask{Connection: second.ID, Profile: "nope"}, code: behalf.CodeNotFound},
			"a connection of another assistant": {ask: broker.Ask{Connection: theirs.ID}, code: behalf.CodeNotFound},
			"a user with odd bytes":             {ask: broker.Ask{Profile: s.Profile.Slug, User: "u\x00\xff"}, code: behalf.CodeAuthorizationRequired},
			"a connection with odd bytes":       {ask: broker.Ask{Connection: "con_\x00\xff"}, code: behalf.CodeNotFound},
			"a profile with odd bytes":          {ask: broker.Ask{Profile: "\x00\xff", User: "u1"}, code: behalf.CodeNotFound},
		} {
			t.Run(name, func(t *testing.T) {
				_, c, err := s.broker.Find(t.Context(), s.scope, s.Assistant, test.ask)
				if behalf.CodeOf(err) != test.code || err == nil && c.ID != test.want {
					t.Errorf("%s, %v", c.ID, err)
				}
			})
		}
		if err := s.System.Revoke(t.Context(), s.now(), "gone"); err != nil { // the default
			t.Fatal(err)
		}
		s.House.Connect(s.Profile, "u1", s.Credential("third"), behalf.Account{Subject: "third"}, behalf.Inputs{})
		_, _, err := s.broker.Find(t.Context(), s.scope, s.Assistant, broker.Ask{Profile: s.Profile.Slug, User: "u1"})
		var e *behalf.Error
		if !errors.As(err, &e) || e.Code != behalf.CodeConflict || len(e.Candidates) != 2 {
			t.Errorf("several and no default: %v", err)
		}
	})
}

func hostOf(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// TestABusyLeaseGivesTheGoodTokenOrSaysThatARefreshIsUnderWay is another node
// whose provider does not answer.
func TestABusyLeaseGivesTheGoodTokenOrSaysThatARefreshIsUnderWay(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{broker: func(c *broker.Config) { c.Patience, c.Moment = time.Second, 50*time.Millisecond }})
		s.due()
		l, err := s.System.Lease(t.Context(), s.now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if good := s.mustUse(); !good.Credential.AccessToken.Equal(s.first.AccessToken) {
			t.Error("another token than the one that is still good")
		}
		s.ended()
		asked := make(chan error, 1)
		go func() {
			_, err := s.use()
			asked <- err
		}()
		for waiting := true; waiting; {
			select {
			case err := <-asked:
				if e := (*behalf.Error)(nil); !errors.As(err, &e) || e.Code != behalf.CodeRefreshInProgress || e.RetryAfter < time.Second {
					t.Errorf("%v", err)
				}
				waiting = false
			case <-time.After(50 * time.Millisecond):
				s.Clock.Advance(time.Second) // the patience is counted by the stage's clock
			}
		}
		s.refreshes(0)
		c := s.now()
		c.IntentAt = time.Time{} // it was never written
		if err := s.System.Release(t.Context(), l, c); err != nil {
			t.Fatal(err)
		}
		s.mustUse()
		s.refreshes(1)
	})
}
