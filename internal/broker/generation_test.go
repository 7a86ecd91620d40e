package broker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/simulator"
	"github.com/behalf-dev/behalf/internal/storetest"
)

// TestARestoredGenerationWorksWhereTheOneInForceDoesNot is a connection that was
// given a credential which the provider does not know.
func TestARestoredGenerationWorksWhereTheOneInForceDoesNot(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		wrong := s.Credential("wrong")
		wrong.RefreshToken = secret.New("not-of-this-provider")
		row := behalf.Import{User: "u1", Account: s.c.Account, Credential: wrong}
		if _, err := s.System.Import(t.Context(), s.Profile, []behalf.Import{row}, []behalf.Inputs{{}}, true, false); err != nil {
			t.Fatal(err)
		}
		s.due()
		s.ended()
		if _, err := s.use(); behalf.CodeOf(err) != behalf.CodeAuthorizationRequired {
			t.Fatal(err)
		}
		if c := s.now(); c.Status != behalf.ConnectionLapsed {
			t.Fatalf("%s, generation %d", c.Status, c.Generation)
		}
		n, err := s.broker.Restore(t.Context(), s.System, s.now(), "1")
		if err != nil || n.Status != behalf.ConnectionActive || n.Generation != 3 {
			t.Fatal(n.Status, n.Generation, err)
		}
		if good := s.mustUse(); !s.works(good.Credential) || good.Generation != 4 {
			t.Errorf("generation %d", good.Generation)
		}
		s.survives()
	})
}

func TestARestorationDuringARefreshIsAskedForAgain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		s.due()
		s.mustUse()
		s.sim.Set(simulator.Switches{TokenDelayMS: 500})
		s.due()
		asked := make(chan error, 1)
		go func() {
			_, err := s.broker.Refresh(t.Context(), s.System, s.now())
			asked <- err
		}()
		eventually(t, "the lease", func() bool { return !s.now().IntentAt.IsZero() })
		_, err := s.broker.Restore(t.Context(), s.System, s.now(), "1")
		if e := (*behalf.Error)(nil); !errors.As(err, &e) || e.Code != behalf.CodeRefreshInProgress || e.RetryAfter < time.Second {
			t.Errorf("%v", err)
		}
		if err := <-asked; err != nil {
			t.Fatal(err)
		}
		if c := s.now(); c.Generation != 3 {
			t.Errorf("generation %d", c.Generation)
		}
	})
}
