package behalf

import (
	"testing"
	"time"

	"github.com/behalf-dev/behalf/internal/secret"
)

func TestWhichGenerationIsMeant(t *testing.T) {
	all := []Generation{{Number: 4, Fence: 9, Current: true}, {Number: 4, Fence: 7, Stray: true}, {Number: 3, Fence: 5}, {Number: 3, Fence: 4}, {Number: 2, Fence: 2}}
	for name, want := range map[string]string{"2": "2-2", "2-2": "2-2", "4": "4-9", "4-7": "4-7", "3-4": "3-4"} {
		if g, err := FindGeneration(all, name); err != nil || g.ID() != want {
			t.Errorf("%s is %s, %v", name, g.ID(), err)
		}
	}
	for name, want := range map[string]Code{"3": CodeConflict, "5": CodeNotFound, "2-3": CodeNotFound, "": CodeNotFound, "x": CodeNotFound, "2-": CodeNotFound, "2-x": CodeNotFound} {
		if _, err := FindGeneration(all, name); CodeOf(err) != want {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestARestoredConnectionWorksAgain(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	got := Credential{AccessToken: secret.New("a"), RefreshToken: secret.New("r"), Scopes: []string{"one"}, ObtainedAt: now.Add(-time.Hour), ExpiresAt: now}
	c := Connection{Generation: 4, Status: ConnectionLapsed, Reason: "refused", Failures: 3, NextAttemptAt: now, IntentAt: now, WarnedAt: now, Rotates: RotationYes}.Restored(got)
	if c.Usable() != nil || c.Generation != 5 || c.Reason != "" || c.Failures != 0 || !c.NextAttemptAt.IsZero() || !c.IntentAt.IsZero() || !c.WarnedAt.IsZero() {
		t.Errorf("%+v", c)
	}
	if !c.ExpiresAt.Equal(got.ExpiresAt) || !c.ObtainedAt.Equal(got.ObtainedAt) || !c.Refreshable || c.Rotates != RotationYes || len(c.ScopesGranted) != 1 {
		t.Errorf("%+v", c)
	}
}
