package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
)

func TestADeletedProfileCanBeRestoredForThirtyDays(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		c := h.connect("jane")
		uses, err := h.System.ProfileUses(ctx, h.Profile)
		if err != nil || uses.Active != 1 || uses.Users != 1 || uses.Links != 0 {
			t.Fatal(uses, err)
		}
		must(t, h.System.DeleteProfile(ctx, h.Profile))
		for _, name := range []string{"acorn", string(h.Profile.ID)} {
			_, err := h.System.Profile(ctx, h.Assistant.ID, name)
			_, held := h.System.HeldProfile(ctx, h.Assistant.ID, name)
			for _, err := range []error{err, held} {
				if behalf.CodeOf(err) != behalf.CodeNotFound || !strings.Contains(err.Error(), "was deleted on") {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		if _, err := h.System.Profile(ctx, h.NewAssistant("Other").ID, "acorn"); strings.Contains(err.Error(), "deleted") {
			t.Errorf("another assistant is told: %v", err)
		}
		h.Clock.Advance(29 * 24 * time.Hour)
		gone, err := h.System.DeletedProfile(ctx, h.Assistant.ID, "acorn")
		if err != nil || gone.Slug != "acorn" || !gone.Deleted() || gone.PurgeAt.Sub(gone.DeletedAt) != behalf.KeepDeleted {
			t.Fatal(gone.Slug, gone.DeletedAt, gone.PurgeAt, err)
		}
		back, err := h.System.RestoreProfile(ctx, gone)
		if err != nil || back.Slug != "acorn" || back.Deleted() || back.Version != h.Profile.Version || back.Plan == nil {
			t.Fatal(back.Slug, back.Version, err)
		}
		if _, err := h.System.HeldProfile(ctx, h.Assistant.ID, "acorn"); err != nil {
			t.Fatal(err)
		}
		if got, _, err := h.System.Secrets(ctx, h.Connection(c.ID)); err != nil || !got.AccessToken.Equal(h.Credential("jane").AccessToken) {
			t.Fatal("its connection was changed:", err)
		}
		if _, err := h.System.RestoreProfile(ctx, gone); behalf.CodeOf(err) != behalf.CodeConflict {
			t.Errorf("restored twice: %v", err)
		}
	})
}

func TestARestoredProfileNeedsItsNameAndItsTime(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		must(t, h.System.DeleteProfile(ctx, h.Profile))
		gone, err := h.System.DeletedProfile(ctx, h.Assistant.ID, "acorn")
		must(t, err)
		again := h.NewProfile(h.Assistant, storetest.Definition("Acorn", provider))
		before := h.dump()
		if _, err := h.System.RestoreProfile(ctx, gone); conflict(err) != "name" || h.dump() != before {
			t.Errorf("over another of its name: %v", err)
		}
		must(t, h.System.DeleteProfile(ctx, again))
		h.Clock.Advance(behalf.KeepDeleted)
		if over, err := h.System.OverdueProfiles(ctx); err != nil || len(over) != 2 {
			t.Fatal(len(over), err)
		}
		if _, err := h.System.RestoreProfile(ctx, gone); behalf.CodeOf(err) != behalf.CodeConflict {
			t.Errorf("after its time: %v", err)
		}
		if _, err := h.System.Profile(ctx, h.Assistant.ID, string(gone.ID)); !strings.Contains(err.Error(), "being revoked") {
			t.Error(err)
		}
	})
}

func TestAnOverdueProfileIsForgottenWhenNothingIsOwed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		c := h.connect("jane")
		h.session("jane")
		must(t, h.System.EndProfile(ctx, h.Profile))
		gone, err := h.System.DeletedProfile(ctx, h.Assistant.ID, "acorn")
		must(t, err)
		if done, err := h.System.ForgetProfile(ctx, gone); done || err != nil {
			t.Fatal("forgotten with a connection:", err)
		}
		owed, ended, err := h.System.RevokeOwing(ctx, c, "test", time.Minute, everything)
		if err != nil || !ended || len(owed) != 1 {
			t.Fatal(len(owed), ended, err)
		}
		if done, err := h.System.ForgetProfile(ctx, gone); done || err != nil {
			t.Fatal("forgotten while the provider is still to be asked:", err)
		}
		if owes, err := h.System.Owes(ctx, c); err != nil || !owes {
			t.Fatal(owes, err)
		}
		must(t, h.System.Settle(ctx, owed[0], behalf.RevocationProof{Outcome: behalf.RevocationDone}))
		h.exec("INSERT INTO credentials (connection, generation, fence, sealed, obtained_at) VALUES ($1, 9, 9, $2, 0)", string(c.ID), []byte("late"))
		if done, err := h.System.ForgetProfile(ctx, gone); !done || err != nil {
			t.Fatal(done, err)
		}
		if left := h.rows("profiles"); len(left) != 0 {
			t.Error(left)
		}
	})
}

func TestWhatIsOwedIsTakenByOneAndOpensOnlyInItsPlace(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		o := h.owed("jane")
		if got, err := h.System.ClaimOwed(ctx, time.Minute); err != nil || len(got) != 0 {
			t.Fatal("taken before its time:", got, err)
		}
		h.Clock.Advance(2 * time.Minute)
		got, err := h.System.ClaimOwed(ctx, time.Minute)
		if err != nil || len(got) != 1 || got[0].Tries != 2 || !got[0].Credential.RefreshToken.Equal(o.Credential.RefreshToken) || got[0].Inputs.Fields["pin"].Reveal() != "pin-jane" {
			t.Fatal(got, err)
		}
		if again, err := h.System.ClaimOwed(ctx, time.Minute); err != nil || len(again) != 0 {
			t.Fatal("taken twice:", again, err)
		}
		if strings.Contains(h.dump(), "refresh-jane") {
			t.Error("a token stands in a table")
		}
		h.exec("UPDATE revocations SET profile = 'prf_other', next_attempt_at = 0")
		if moved, err := h.System.ClaimOwed(ctx, time.Minute); err != nil || len(moved) != 0 {
			t.Error("opened elsewhere:", moved, err)
		}
	})
}

func TestTheEndOfAClientSecretIsToldOnceForEachNotice(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		p := h.Profile
		p.Secrets.Client[0].ExpiresAt = h.DB.Now().Add(40 * 24 * time.Hour)
		p, err := h.System.SaveProfile(ctx, p)
		must(t, err)
		tell := func(after time.Duration, want int) {
			t.Helper()
			h.Clock.Advance(after)
			for range 2 {
				must(t, h.System.TellSecret(ctx, p))
			}
			events, err := h.System.Events(ctx, h.Assistant.ID, store.Page{})
			must(t, err)
			n := 0
			for _, e := range events {
				if strings.HasPrefix(string(e.Type), "profile.client_secret_") {
					n++
				}
			}
			if n != want {
				t.Errorf("%d events, want %d", n, want)
			}
		}
		day := 24 * time.Hour
		tell(0, 0)
		tell(11*day, 1)
		tell(20*day, 1)
		tell(3*day, 2)
		tell(5*day+time.Hour, 3)
		tell(day, 4)
		p.Secrets.Client = append([]behalf.ClientSecret{{Value: h.Credential("new").AccessToken, CreatedAt: h.DB.Now(), ExpiresAt: h.DB.Now().Add(10 * day)}}, p.Secrets.Client...)
		p, err = h.System.SaveProfile(ctx, p)
		must(t, err)
		tell(0, 4) // its 30 days ahead had passed before it was given
		tell(4*day, 5)
	})
}
