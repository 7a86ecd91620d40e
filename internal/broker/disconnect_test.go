package broker_test

import (
	"strings"
	"testing"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/simulator"
	"github.com/behalf-dev/behalf/internal/storetest"
)

func TestADisconnectEndsTheGrantAtTheProvider(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{profile: func(d *behalf.Definition) { d.OAuth.RevocationURL = revocationOf(d) }})
		if err := s.broker.Disconnect(t.Context(), s.scope, s.now(), "Ended by a test."); err != nil {
			t.Fatal(err)
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
