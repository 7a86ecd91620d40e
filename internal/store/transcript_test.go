package store_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
)

// written has what was recorded written: Run does so when it ends.
func (h *house) written() {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	cancel()
	if err := h.DB.Run(ctx); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) record(c behalf.Connection, kind behalf.TranscriptKind, status behalf.TranscriptStatus) {
	now := h.DB.Now()
	h.System.Record(behalf.Transcript{ID: behalf.NewTranscriptID(now), Kind: kind, Assistant: c.Assistant, Profile: c.Profile, Connection: c.ID, User: c.User,
		Status: status, Steps: []behalf.TranscriptStep{{Name: behalf.StepRefresh, Detail: "hazel@acorn.example"}}, CreatedAt: now, EndedAt: now})
	h.Clock.Advance(time.Second) // ids of one millisecond sort at random
}

func TestTheFlightRecorderKeepsTheLastOfAConnectionSealed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		c, other := h.connect("u"), h.connect("v")
		h.record(other, behalf.CallTranscript, behalf.TranscriptFailed)
		for range 30 {
			h.record(c, behalf.CallTranscript, behalf.TranscriptFailed)
		}
		for range 6 {
			h.record(c, behalf.RefreshTranscript, behalf.TranscriptPassed)
		}
		h.written()
		got, err := h.System.ConnectionTranscripts(t.Context(), c, store.Page{})
		if err != nil || len(got) != 20 {
			t.Fatal(len(got), err)
		}
		kinds := ""
		for i, tr := range got {
			kinds += string(tr.Kind[:1])
			if i > 0 && tr.ID >= got[i-1].ID {
				t.Error("not newest first")
			}
			if len(tr.Steps) != 1 || tr.Steps[0].Detail != "hazel@acorn.example" {
				t.Errorf("%+v", tr.Steps)
			}
		}
		if want := "rrr" + strings.Repeat("c", 17); kinds != want {
			t.Errorf("%s, want %s", kinds, want)
		}
		if second, err := h.System.ConnectionTranscripts(t.Context(), c, store.Page{After: string(got[4].ID), Limit: 3}); err != nil || len(second) != 3 || second[0].ID != got[5].ID {
			t.Errorf("the page behind: %d, %v", len(second), err)
		}
		if rest, err := h.System.ConnectionTranscripts(t.Context(), other, store.Page{}); err != nil || len(rest) != 1 {
			t.Errorf("another's: %d, %v", len(rest), err)
		}
		for _, row := range h.rows("transcripts") {
			if strings.Contains(row, "hazel@acorn") {
				t.Error("it is not sealed")
			}
		}
		if err := h.System.ForgetTranscripts(t.Context(), h.DB.Now()); err != nil || len(h.rows("transcripts")) != 0 {
			t.Errorf("the sweep leaves %d, %v", len(h.rows("transcripts")), err)
		}
	})
}

func TestOfWhatWentWellFewTranscriptsWait(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		c, wrote := h.connect("u"), 0
		later := func(well bool, status behalf.TranscriptStatus) {
			now := h.DB.Now()
			h.System.RecordLater(c.Assistant, well, func() behalf.Transcript {
				wrote++
				return behalf.Transcript{ID: behalf.NewTranscriptID(now), Kind: behalf.CallTranscript, Assistant: c.Assistant, Profile: c.Profile, Connection: c.ID, User: c.User,
					Status: status, CreatedAt: now, EndedAt: now}
			})
		}
		for range 1000 {
			later(true, behalf.TranscriptPassed)
		}
		h.Clock.Advance(time.Second) // a connection's last ones are kept
		later(false, behalf.TranscriptFailed)
		h.written()
		if wrote != 65 {
			t.Errorf("%d were written", wrote)
		}
		got, err := h.System.ConnectionTranscripts(t.Context(), c, store.Page{})
		if err != nil || !slices.ContainsFunc(got, func(tr behalf.Transcript) bool { return tr.Status == behalf.TranscriptFailed }) {
			t.Errorf("what failed is not kept: %d, %v", len(got), err)
		}
	})
}

func TestTheLastTestsOfAProfileAreKept(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		var last behalf.Transcript
		for range 55 {
			last = h.transcript(behalf.QuickTranscript)
			h.Clock.Advance(time.Second)
		}
		got, err := h.System.Trials(t.Context(), h.Assistant.ID, h.Profile.ID, store.Page{})
		if err != nil || len(got) != 50 || got[0].ID != last.ID {
			t.Fatal(len(got), err)
		}
		last.Status, last.EndedAt = behalf.TranscriptPassed, h.DB.Now()
		if err := h.System.SaveTranscript(t.Context(), last); err != nil {
			t.Fatal(err)
		}
		if err := h.System.SaveTranscript(t.Context(), last); err != store.ErrStale {
			t.Errorf("a second save of one version: %v", err)
		}
		if again, err := h.System.Transcript(t.Context(), h.Assistant.ID, last.ID); err != nil || again.Status != behalf.TranscriptPassed || again.Version != 2 {
			t.Errorf("%+v, %v", again, err)
		}
	})
}

func TestARowThatWasMovedToAnotherTranscriptDoesNotOpen(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		a, b := h.transcript(behalf.TrialTranscript), h.transcript(behalf.TrialTranscript)
		h.exec(fmt.Sprintf("UPDATE transcripts SET sealed = (SELECT sealed FROM transcripts WHERE id = '%s') WHERE id = '%s'", a.ID, b.ID))
		if _, err := h.System.Transcript(t.Context(), h.Assistant.ID, b.ID); err == nil {
			t.Error("it opens")
		}
	})
}

func TestWhichAccountsAreInUse(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		uses := func(p behalf.Profile, want map[string]store.AccountUse) {
			t.Helper()
			for subject, want := range want {
				if got, err := h.System.AccountUse(ctx, p, subject); err != nil || got != want {
					t.Errorf("%q under %s: %v, %v", subject, p.Name, got, err)
				}
			}
		}
		c := h.connect("u")
		same := h.NewProfile(h.Assistant, storetest.Definition("Same client", provider))
		d := storetest.Definition("Other client", provider)
		d.ClientID = "other"
		other := h.NewProfile(h.Assistant, d)
		away := h.NewProfile(h.Assistant, storetest.Definition("Elsewhere", "https://elsewhere.example"))
		free := store.AccountNotUsed
		uses(h.Profile, map[string]store.AccountUse{"sub-u": store.AccountUsed, "nobody": free, "": store.AccountUsed})
		uses(same, map[string]store.AccountUse{"sub-u": store.AccountUsed, "nobody": free})
		uses(other, map[string]store.AccountUse{"sub-u": free, "": store.AccountUsed})
		uses(away, map[string]store.AccountUse{"sub-u": free})
		must(t, h.System.Revoke(ctx, c, "over"))
		uses(h.Profile, map[string]store.AccountUse{"sub-u": free})

		n := h.session("v")
		n.Status, n.ReturnedAt = behalf.SessionReturned, h.DB.Now()
		must(t, h.System.SaveSession(ctx, n, behalf.SessionSecrets{}))
		uses(same, map[string]store.AccountUse{"sub-u": store.AccountWaits})
		uses(away, map[string]store.AccountUse{"sub-u": free})
		n.Version++
		n.Status = behalf.SessionPending
		must(t, h.System.SaveSession(ctx, n, behalf.SessionSecrets{Result: &behalf.SessionResult{Credential: h.Credential("v"), Account: behalf.Account{Subject: "sub-v"}}}))
		uses(same, map[string]store.AccountUse{"sub-u": free, "sub-v": store.AccountWaits})

		h.Connect(other, "w", h.Credential("w"), behalf.Account{}, behalf.Inputs{})
		uses(other, map[string]store.AccountUse{"sub-u": store.AccountUsed}) // whose that one is, nobody knows
	})
}
