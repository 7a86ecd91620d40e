package behalf_test

import (
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
)

// TestTheEndThatAProviderTells is about a profile that says nothing of how long
// refresh tokens live.
func TestTheEndThatAProviderTells(t *testing.T) {
	const day = 24 * time.Hour
	granted := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	credential := func(obtained time.Time, access time.Duration, ends time.Time) behalf.Credential {
		return behalf.Credential{AccessToken: secret.New("a"), RefreshToken: secret.New("r"), ObtainedAt: obtained, ExpiresAt: obtained.Add(access), RefreshExpiresAt: ends}
	}
	connected := func(access, refresh time.Duration) behalf.Connection {
		c := behalf.Connection{GrantedAt: granted}
		return c.Connected(credential(granted, access, granted.Add(refresh)), behalf.Account{}, nil)
	}
	// renewed is the connection after a refresh that told when the token in force ends.
	renewed := func(c behalf.Connection, after time.Duration, ends time.Time) behalf.Connection {
		got := credential(granted.Add(after), c.ExpiresAt.Sub(c.ObtainedAt), ends)
		return c.Renewed("", got, got, got)
	}
	year := connected(60*day, 365*day)
	short := connected(90*day, 10*day)
	tests := []struct {
		name          string
		c             behalf.Connection
		ends, warn    time.Duration // after the person authorized; 0: never
		renew, latest time.Duration // at spread 0 and nearly 1
	}{
		{"an end that is not known yet to stand is not announced", year, 0, 0, 60*day - 5*time.Minute - 30*time.Second, 60*day - 10*time.Minute},
		{"one that stands is", renewed(year, 60*day, granted.Add(365*day)), 365 * day, 358 * day, 120*day - 5*time.Minute - 30*time.Second, 120*day - 10*time.Minute},
		{"one that moves is not", renewed(year, 60*day, granted.Add(425*day)), 0, 0, 120*day - 5*time.Minute - 30*time.Second, 120*day - 10*time.Minute},
		{"a token that would end unused is used", short, 0, 0, 5 * day, 7 * day},
		{"and again where that helped", renewed(short, 5*day, granted.Add(15*day)), 0, 0, 10 * day, 12 * day},
		{"and not where it did not", renewed(short, 5*day, granted.Add(10*day)), 10 * day, 7*day + 12*time.Hour, 95*day - 5*time.Minute - 30*time.Second, 95*day - 10*time.Minute},
		{"a provider that tells no longer", renewed(year, 60*day, time.Time{}), 0, 0, 120*day - 5*time.Minute - 30*time.Second, 120*day - 10*time.Minute},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			after := func(at time.Time) time.Duration {
				if at.IsZero() {
					return 0
				}
				return at.Sub(granted).Round(time.Second)
			}
			c := test.c
			if got := after(c.Ends(behalf.Refresh{})); got != test.ends {
				t.Errorf("it ends after %s, want %s", got, test.ends)
			}
			if got := after(c.WarnAt(behalf.Refresh{})); got != test.warn {
				t.Errorf("that is announced after %s, want %s", got, test.warn)
			}
			if first, last := after(c.RenewAt(behalf.Refresh{}, 0)), after(c.RenewAt(behalf.Refresh{}, 1)); first != test.renew || last != test.latest {
				t.Errorf("it is renewed after %s to %s, want %s to %s", first, last, test.renew, test.latest)
			}
			// What the profile says goes before.
			if got := after(c.Ends(behalf.Refresh{MaxAge: behalf.Seconds(30 * day / time.Second)})); got != 30*day {
				t.Errorf("with a profile that says 30 days it ends after %s", got)
			}
		})
	}
}
