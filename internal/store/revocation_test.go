package store_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/storetest"
)

// revocable gives the profile a revocation address.
func (h *house) revocable() {
	h.t.Helper()
	p := h.Profile
	p.OAuth.RevocationURL = provider + "/revoke"
	p, err := h.System.SaveProfile(h.t.Context(), p)
	if err != nil {
		h.t.Fatal(err)
	}
	h.Profile = p
}

// owedTokens are the refresh tokens that a provider is to be asked to revoke.
func (h *house) owedTokens() string {
	h.t.Helper()
	h.Clock.Advance(10 * time.Minute)
	owed, err := h.System.ClaimOwed(h.t.Context(), time.Minute)
	if err != nil {
		h.t.Fatal(err)
	}
	var out []string
	for _, o := range owed {
		out = append(out, o.Credential.RefreshToken.Reveal())
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestWhatIsRevokedIsWhatIsInForceWhenTheConnectionEnds(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		read := h.connect("u")
		frozen := h.lease(read)
		h.Clock.Advance(2 * time.Minute)
		h.mustKeep(h.lease(read), read, "quicker", true) // a refresh was quicker than who disconnects
		h.mustKeep(frozen, read, "stray", false)
		if _, ended, err := h.System.RevokeOwing(ctx, read, "over", time.Minute, everything); err != nil || !ended {
			t.Fatal(ended, err)
		}
		if got := h.owedTokens(); got != "refresh-quicker refresh-stray" {
			t.Errorf("owed is %q", got)
		}
		if left := h.rows("credentials"); len(left) != 0 {
			t.Errorf("%d credentials are kept", len(left))
		}
		if _, ended, err := h.System.RevokeOwing(ctx, read, "again", time.Minute, everything); err != nil || ended {
			t.Error(ended, err)
		}
	})
}

// TestALateAnswerIsOwedInTheTransactionThatErasesIt is a process that dies right
// after it saved what came too late.
func TestALateAnswerIsOwedInTheTransactionThatErasesIt(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		h.revocable()
		c := h.connect("u")
		l := h.lease(c)
		must(t, h.System.Revoke(ctx, h.Connection(c.ID), "over"))
		h.mustKeep(l, c, "late", false)
		h.mustKeep(l, c, "late", false) // and once more, by whoever did not hear of the first
		if got := h.owedTokens(); got != "refresh-late" {
			t.Errorf("owed is %q", got)
		}
		if left := h.rows("credentials"); len(left) != 0 {
			t.Errorf("%d credentials are kept", len(left))
		}
	})
}

func TestWhatBecameOfARevocationIsKept(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		o := h.owed("u")
		c := h.Connection(o.Connection)
		proofs := func(want behalf.Revocation) behalf.RevocationProof {
			t.Helper()
			all, err := h.System.RevocationProofs(ctx, c)
			if err != nil || len(all) != 1 || all[0].Outcome != want {
				t.Fatalf("%+v, %v", all, err)
			}
			return all[0]
		}
		if p := proofs(behalf.RevocationRetrying); p.Attempts != 1 || p.NextAt.IsZero() || p.Host != "" {
			t.Errorf("before an answer: %+v", p)
		}
		next := h.DB.Now().Add(time.Hour).Truncate(time.Microsecond)
		must(t, h.System.Postpone(ctx, o, behalf.RevocationProof{Host: "acorn.example", Answer: "5xx", NextAt: next}))
		if p := proofs(behalf.RevocationRetrying); p.Host != "acorn.example" || p.Answer != "5xx" || !p.NextAt.Equal(next) {
			t.Errorf("after one: %+v", p)
		}
		h.Clock.Advance(time.Hour)
		done := behalf.RevocationProof{Outcome: behalf.RevocationDone, Host: "acorn.example", Answer: "2xx", Attempts: 2}
		must(t, h.System.Settle(ctx, o, done))
		must(t, h.System.Settle(ctx, o, behalf.RevocationProof{Outcome: behalf.RevocationGivenUp})) // by a node that was frozen
		if p := proofs(behalf.RevocationDone); p.Host != "acorn.example" || p.Answer != "2xx" || p.Attempts != 2 || !p.At.Equal(h.DB.Now().Truncate(time.Microsecond)) {
			t.Errorf("when it is done: %+v", p)
		}
		if lines := strings.Join(h.rows("audit"), "\n"); !strings.Contains(lines, "Attempts at acorn.example: 2; the last answer was 2xx.") {
			t.Error("the audit log has no proof")
		}
		plain := h.connect("plain")
		must(t, h.System.Revoke(ctx, plain, "over"))
		if all, err := h.System.RevocationProofs(ctx, plain); err != nil || len(all) != 1 || all[0].Outcome != behalf.RevocationNotOffered || all[0].Detail == "" {
			t.Errorf("where nobody is asked: %+v, %v", all, err)
		}
	})
}

func TestWhatAnUnfinishedSessionHeldIsOwedHoweverItEnds(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		h.revocable()
		for name, end := range map[string]func(h *house, n behalf.ConnectSession) error{
			"its time is over": func(h *house, n behalf.ConnectSession) error {
				return discard(h.System.EndSession(h.t.Context(), n, behalf.SessionExpired, behalf.Outcome{Code: "not_finished"}))
			},
			"its user leaves": func(h *house, n behalf.ConnectSession) error {
				_, _, err := h.System.ForgetUser(h.t.Context(), n.Assistant, n.User)
				return err
			},
		} {
			user := freshUser()
			for _, subject := range []string{"sub-" + user, ""} {
				n, _ := h.NewSession(h.Profile, user, behalf.SessionSecrets{})
				n.Status, n.ReturnedAt = behalf.SessionPending, h.DB.Now()
				must(t, h.System.SaveSession(t.Context(), n, behalf.SessionSecrets{Result: &behalf.SessionResult{Credential: h.Credential("held"), Account: behalf.Account{Subject: subject}}}))
				n.Version++
				must(t, end(h, n))
			}
			if got := h.owedTokens(); got != "refresh-held" {
				t.Errorf("%s: owed is %q", name, got)
			}
			if lines := strings.Join(h.rows("audit"), "\n"); !strings.Contains(lines, "action=session.grant_left") {
				t.Errorf("%s: what is left is not noted", name)
			}
			h.exec("DELETE FROM revocations")
			h.exec("DELETE FROM audit")
		}
	})
}
