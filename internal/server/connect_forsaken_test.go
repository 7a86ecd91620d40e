package server_test

import (
	"log/slog"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/broker"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/simulator"
)

// revoking is an openID definition with a revocation address.
func revoking(d *behalf.Definition) {
	openID(d)
	d.OAuth.RevocationURL = d.OAuth.Issuer + "/revoke"
}

// forsaken revokes what is due and checks how many revocations the provider has
// seen since the stage was made, and what became of what a session brought.
func (s *stage) forsaken(of session, revocations int64, want behalf.Revocation) {
	s.t.Helper()
	out := egress.New(egress.Config{AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Now: time.Now})
	defer out.Close()
	if err := broker.New(broker.Config{DB: s.DB, Egress: out, Log: slog.New(slog.DiscardHandler)}).Sweep(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	proof := func() []behalf.RevocationProof {
		n, err := s.System.Session(s.t.Context(), s.Assistant.ID, behalf.SessionID(of.ID))
		if err != nil {
			s.t.Fatal(err)
		}
		all, err := s.System.GrantProofs(s.t.Context(), n)
		if err != nil {
			s.t.Fatal(err)
		}
		return all
	}
	s.eventually("the outcome of a revocation", func() bool { // the server itself may have taken it on
		all := proof()
		return len(all) == 1 && all[0].Outcome == want
	})
	if got := s.Sim.Stats().Revocations; got != revocations {
		s.t.Errorf("the provider saw %d revocations, not %d: %+v", got, revocations, proof())
	}
}

// TestWhatNoConnectionIsMadeOfIsRevokedWhereThatIsSafe goes through everything
// that an authorization can bring in vain.
func TestWhatNoConnectionIsMadeOfIsRevokedWhereThatIsSafe(t *testing.T) {
	each(t, servertest.Setup{Assistant: finishing, Profile: revoking}, func(s *stage) {
		begin := func(p behalf.Profile, change ...func(*api.SessionBody)) session {
			return s.begins("user-of-"+p.Slug, "verifier", append(change, func(b *api.SessionBody) { b.Profile = p.Slug })...)
		}
		failing := s.profile(revoking, func(d *behalf.Definition) { d.CheckURL = d.OAuth.Issuer + "/nothing-is-here" })
		of := begin(failing)
		s.browser().connects(of)
		if got := s.status(of); got.Status != "failed" {
			s.t.Fatalf("%+v", got)
		}
		s.forsaken(of, 1, behalf.RevocationDone)

		unknown := s.profile(func(d *behalf.Definition) {
			d.CheckURL, d.OAuth.RevocationURL = d.OAuth.Issuer+"/nothing-is-here", d.OAuth.Issuer+"/revoke"
		})
		of = begin(unknown)
		s.browser().connects(of)
		s.forsaken(of, 1, behalf.RevocationLeft)

		unfinished := begin(s.Profile)
		s.returns(s.browser(), unfinished)
		s.Clock.Advance(behalf.FinishLifetime + time.Minute)
		if err := s.sweep(); err != nil {
			s.t.Fatal(err)
		}
		s.forsaken(unfinished, 2, behalf.RevocationDone)

		first := begin(s.Profile)
		code := s.returns(s.browser(), first)
		var made api.ConnectSession
		s.finish(s.Key, first, code, "verifier", first.User).Into(s.t, &made)
		live := func() {
			s.t.Helper()
			if a := s.Do(s.Key, http.MethodPost, s.api("/connections/"+made.Connection+"/refresh"), nil); a.Status != http.StatusOK {
				s.t.Errorf("the live connection does not refresh: %d %s", a.Status, a.Body)
			}
		}
		live()
		s.behaves(simulator.Switches{NoLogin: "jay"})
		other := begin(s.Profile, func(b *api.SessionBody) { b.Connection = made.Connection })
		s.browser().connects(other)
		if got := s.status(other); got.Status != "wrong_account" {
			s.t.Fatalf("%+v", got)
		}
		s.forsaken(other, 3, behalf.RevocationDone)
		live()

		s.behaves(simulator.Switches{})
		again := begin(s.Profile)
		s.returns(s.browser(), again)
		s.Clock.Advance(behalf.FinishLifetime + time.Minute)
		if err := s.sweep(); err != nil {
			s.t.Fatal(err)
		}
		s.forsaken(again, 3, behalf.RevocationLeft)
		live()
	})
}
