package broker_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/broker"
	"github.com/behalf-dev/behalf/internal/simulator"
	"github.com/behalf-dev/behalf/internal/storetest"
)

func TestADisconnectEndsTheGrantAtTheProvider(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{profile: func(d *behalf.Definition) { d.OAuth.RevocationURL = revocationOf(d) }})
		told, err := s.broker.Disconnect(t.Context(), s.scope, s.now(), "Ended by a test.")
		if err != nil || told != behalf.RevocationDone {
			t.Fatal(told, err)
		}
		if told, err := s.broker.Disconnect(t.Context(), s.scope, s.now(), "Again."); err != nil || told != behalf.RevocationEarlier {
			t.Fatal(told, err)
		}
		if n := s.sim.Stats().Revocations; n != 1 || s.works(s.first) {
			t.Errorf("%d revocations; the old token works: %v", n, s.works(s.first))
		}
		if _, err := s.use(); behalf.CodeOf(err) != behalf.CodeAuthorizationRequired {
			t.Error(err)
		}
		if n := s.events(behalf.EventConnectionRevoked); n != 1 {
			t.Errorf("%d events", n)
		}
	})
}

func TestWhatARefreshBringsAfterADisconnectIsRevokedToo(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{profile: func(d *behalf.Definition) { d.OAuth.RevocationURL = revocationOf(d) }})
		s.sim.Set(simulator.Switches{TokenDelayMS: 400})
		s.due()
		asked := make(chan error, 1)
		go func() {
			_, err := s.use()
			asked <- err
		}()
		eventually(t, "the refresh at the provider", func() bool { return s.sim.Stats().Refreshes == 1 })
		// The grant lives on at the provider: what the disconnect revokes was the
		// old generation, and a provider may hold that against it or not.
		if err := s.scope.Revoke(t.Context(), s.now(), "Ended by a test."); err != nil {
			t.Fatal(err)
		}
		if err := <-asked; behalf.CodeOf(err) != behalf.CodeAuthorizationRequired {
			t.Error(err)
		}
		eventually(t, "the revocation of the late token", func() bool { return s.sim.Stats().Revocations == 1 })
		if c := s.now(); c.Status != behalf.ConnectionRevoked || c.Generation != s.c.Generation {
			t.Errorf("the connection came back: %s, generation %d", c.Status, c.Generation)
		}
	})
}

func revocationOf(d *behalf.Definition) string {
	return strings.TrimSuffix(d.TokenURL, "/token") + "/revoke"
}

func TestARevocationThatFailedIsAskedForAgain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{profile: func(d *behalf.Definition) { d.OAuth.RevocationURL = "http://127.0.0.1:1/revoke" }})
		told, err := s.broker.Disconnect(t.Context(), s.scope, s.now(), "Ended by a test.")
		if err != nil || told != behalf.RevocationRetrying || s.now().Status != behalf.ConnectionRevoked {
			t.Fatal(told, err)
		}
		if told, err := s.broker.Disconnect(t.Context(), s.scope, s.now(), "Again."); err != nil || told != behalf.RevocationRetrying {
			t.Fatal(told, err)
		}
		p, err := s.House.System.Profile(t.Context(), s.c.Assistant, string(s.c.Profile))
		if err != nil {
			t.Fatal(err)
		}
		p.OAuth.RevocationURL = revocationOf(&p.Definition)
		if _, err := s.House.System.SaveProfile(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if err := s.broker.Sweep(t.Context()); err != nil || s.sim.Stats().Revocations != 0 {
			t.Fatal("asked before its time:", err)
		}
		s.House.Clock.Advance(5 * time.Minute)
		if err := s.broker.Sweep(t.Context()); err != nil || s.sim.Stats().Revocations != 1 {
			t.Fatal(s.sim.Stats().Revocations, err)
		}
		s.House.Clock.Advance(time.Hour)
		if err := s.broker.Sweep(t.Context()); err != nil || s.sim.Stats().Revocations != 1 {
			t.Fatal("asked once more:", err)
		}
	})
}

// TestTheProofOfARevocationIsKept follows one that fails first.
func TestTheProofOfARevocationIsKept(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		var broken atomic.Bool
		broken.Store(true)
		s := newStage(t, url, setup{profile: func(d *behalf.Definition) { d.OAuth.RevocationURL = revocationOf(d) }})
		p, err := s.System.Profile(t.Context(), s.c.Assistant, string(s.c.Profile))
		if err != nil {
			t.Fatal(err)
		}
		p.OAuth.RevocationURL = s.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if broken.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})) + "/revoke"
		if _, err := s.System.SaveProfile(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		proof := func() behalf.RevocationProof {
			t.Helper()
			all, err := s.System.RevocationProofs(t.Context(), s.now())
			if err != nil || len(all) != 1 {
				t.Fatal(all, err)
			}
			return all[0]
		}
		if told, err := s.broker.Disconnect(t.Context(), s.scope, s.now(), "Ended by a test."); err != nil || told != behalf.RevocationRetrying {
			t.Fatal(told, err)
		}
		host := strings.TrimSuffix(strings.TrimPrefix(p.OAuth.RevocationURL, "http://"), "/revoke")
		if got := proof(); got.Outcome != behalf.RevocationRetrying || got.Host != host || got.Answer != "5xx" || got.Attempts != 1 || got.NextAt.IsZero() {
			t.Errorf("%+v", got)
		}
		broken.Store(false)
		s.Clock.Advance(5 * time.Minute)
		if err := s.broker.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := proof(); got.Outcome != behalf.RevocationDone || got.Host != host || got.Answer != "2xx" || got.Attempts != 2 {
			t.Errorf("%+v", got)
		}
	})
}

func TestADisconnectRevokesWhatARefreshHasBroughtMeanwhile(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{profile: func(d *behalf.Definition) { d.OAuth.RevocationURL = revocationOf(d) }})
		read := s.now()
		s.due()
		newer := s.mustUse()
		if told, err := s.broker.Disconnect(t.Context(), s.scope, read, "Ended by a test."); err != nil || told != behalf.RevocationDone {
			t.Fatal(told, err)
		}
		if s.works(newer.Credential) {
			t.Error("the newer token lives on at the provider")
		}
	})
}

func TestARevocationIsGivenUpAloud(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{profile: func(d *behalf.Definition) { d.OAuth.RevocationURL = "http://127.0.0.1:1/revoke" }})
		if _, err := s.broker.Disconnect(t.Context(), s.scope, s.now(), "Ended by a test."); err != nil {
			t.Fatal(err)
		}
		s.House.Clock.Advance(behalf.GiveUpRevoking + time.Hour)
		if err := s.broker.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := s.events(behalf.EventRevocationGivenUp); n != 1 {
			t.Errorf("%d events", n)
		}
		all, err := s.System.RevocationProofs(t.Context(), s.now())
		if err != nil || len(all) != 1 || all[0].Outcome != behalf.RevocationGivenUp || all[0].Answer != "" || all[0].Attempts != 2 || !strings.Contains(all[0].Detail, "on the provider's own page") {
			t.Errorf("%+v, %v", all, err)
		}
	})
}

func TestADeletedProfilesConnectionIsKeptAliveAndThenRevoked(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{profile: func(d *behalf.Definition) { d.OAuth.RevocationURL = revocationOf(d) }})
		p, err := s.House.System.Profile(t.Context(), s.c.Assistant, string(s.c.Profile))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.House.System.DeleteProfile(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		s.due()
		running, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.broker.Run(running) }()
		eventually(t, "the renewal of what is kept alive", func() bool { return s.now().Generation == s.c.Generation+1 })
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		a, err := s.House.System.HeldAssistant(t.Context(), string(s.c.Assistant))
		if err != nil {
			t.Fatal(err)
		}
		for _, ask := range []broker.Ask{{Profile: "acorn", User: s.c.User}, {Connection: s.c.ID}} {
			if _, err := s.broker.Use(t.Context(), s.scope, a, ask); behalf.CodeOf(err) != behalf.CodeNotFound || !strings.Contains(err.Error(), "was deleted") {
				t.Errorf("it is given out: %v", err)
			}
		}
		if err := s.broker.Sweep(t.Context()); err != nil || s.sim.Stats().Revocations != 0 {
			t.Fatal("revoked before its time:", err)
		}
		s.House.Clock.Advance(behalf.KeepDeleted)
		if err := s.broker.Sweep(t.Context()); err != nil || s.sim.Stats().Revocations != 1 {
			t.Fatal(s.sim.Stats().Revocations, err)
		}
		if _, err := s.House.System.KeptProfile(t.Context(), p.Assistant, p.ID); behalf.CodeOf(err) != behalf.CodeNotFound {
			t.Errorf("it is not forgotten: %v\n%s", err, s.log.String())
		}
	})
}
