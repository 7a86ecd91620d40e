package behalf

import (
	"slices"
	"time"
)

// ConnectionStatus is named by what the reader can do about it.
type ConnectionStatus string

const (
	ConnectionActive  ConnectionStatus = "active"  // calls go through
	ConnectionLapsed  ConnectionStatus = "lapsed"  // the person must authorize again
	ConnectionRevoked ConnectionStatus = "revoked" // ended by the person or an administrator
)

// Rotation is what is known of a provider's refresh tokens: whether using one
// replaces it.
type Rotation string

const (
	RotationUnknown Rotation = ""
	RotationYes     Rotation = "yes"
	RotationNo      Rotation = "no"
)

// Account is whom the person is at the provider.
type Account struct {
	Subject string // the provider's stable id of the account; empty when it told none
	Label   string // what a person recognises: an address, a name
}

// Connection is one end user's standing authorization under a profile. It holds
// no secret; its Credential is kept beside it, by generation.
type Connection struct {
	ID            ConnectionID
	Assistant     AssistantID
	Profile       ProfileID
	User          string // the assistant's id of the end user; empty: it serves all of them
	Tenant        string
	Account       Account
	Status        ConnectionStatus
	Reason        string // why it lapsed, in words for people
	Default       bool   // the one meant when a user has several to one profile
	ScopesGranted []string
	ScopesMissing []string

	Generation  int64     // of the credential; only grows
	Fence       int64     // of the lease under which that generation was saved
	ExpiresAt   time.Time // of the access token; zero: never told
	ObtainedAt  time.Time
	Refreshable bool // there is a refresh token, or the first request can be made again

	Buffer time.Duration // what the profile says of Margin; of no effect where 0, and not kept

	Rotates       Rotation
	IntentAt      time.Time // set: a refresh of Generation was begun and its outcome is not known
	NextAttemptAt time.Time // no refresh before this
	Failures      int64     // in a row

	RefreshEndsAt time.Time     // of the refresh token, as the provider told or the profile says; zero: not known
	RefreshLife   time.Duration // how long it was to live when the person authorized; 0: not known

	RefreshAt time.Time // when it is renewed by ourselves; zero: never, or not planned yet
	GrantedAt time.Time // when the person authorized it the last time
	WarnedAt  time.Time // when it was told that the authorization will end

	Version    int64
	CreatedAt  time.Time
	UpdatedAt  time.Time
	LastUsedAt time.Time
}

// Margin is how long before its end an access token counts as due: never one
// that is about to expire. A tenth of its life, at least 30 seconds and at most
// 5 minutes, and never more than a fifth of a very short life; or what the
// profile says, and never more than half of its life.
func (c Connection) Margin() time.Duration {
	life := c.ExpiresAt.Sub(c.ObtainedAt)
	if c.Buffer > 0 {
		return min(c.Buffer, max(life/2, 0))
	}
	return min(max(30*time.Second, min(life/10, 5*time.Minute)), max(life/5, 0))
}

// Due reports whether the access token ends within its margin. One whose end
// was never told is not due.
func (c Connection) Due(now time.Time) bool {
	return !c.ExpiresAt.IsZero() && !now.Add(c.Margin()).Before(c.ExpiresAt)
}

// Expired reports whether the access token has ended.
func (c Connection) Expired(now time.Time) bool {
	return !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt)
}

// Usable returns nil when calls may go out with this connection, or the error
// that tells what must happen first.
func (c Connection) Usable() error {
	switch c.Status {
	case ConnectionActive:
		return nil
	case ConnectionLapsed:
		return Errorf(CodeAuthorizationRequired, "The connection has lapsed and the end user must authorize again: %s", c.Reason)
	}
	return Errorf(CodeAuthorizationRequired, "The connection was ended; the end user must authorize again.")
}

// Refreshed returns the connection with a credential that came by refresh.
func (c Connection) Refreshed(old, got Credential) Connection {
	c.Rotates = c.learned(old, got)
	c = c.holding(got)
	c.Generation++
	return c
}

// Renewed is Refreshed for one token of several: slot is the one that was
// renewed, and kept the whole credential as it is now.
func (c Connection) Renewed(slot string, old, got, kept Credential) Connection {
	if slot != "" {
		old = old.Part(slot)
	}
	if old.Unfinished {
		old = Credential{} // what follows a refresh tells nothing of rotation
	}
	c.Rotates = c.learned(old, got)
	c = c.holding(kept)
	c.Generation++
	return c
}

// Connected returns the connection with a credential that came by a fresh
// authorization; it makes a lapsed or revoked one active again.
func (c Connection) Connected(got Credential, account Account, requested []string) Connection {
	if got.Scopes == nil {
		got.Scopes = requested // RFC 6749 §5.1: left out, they are as requested
	}
	c.Account = account
	c = c.holding(got)
	c.ScopesMissing = missing(requested, got.Scopes)
	c.RefreshLife = 0
	if !c.RefreshEndsAt.IsZero() {
		c.RefreshLife = max(0, c.RefreshEndsAt.Sub(c.ObtainedAt))
	}
	c.Generation++
	return c
}

func (c Connection) holding(got Credential) Connection {
	c.Status, c.Reason, c.Failures = ConnectionActive, "", 0
	c.IntentAt, c.NextAttemptAt = time.Time{}, time.Time{}
	c.ExpiresAt, c.ObtainedAt = got.Ends()
	c.Refreshable, c.RefreshEndsAt = got.Refreshable(), got.RefreshExpiresAt
	if got.Scopes != nil {
		c.ScopesGranted = slices.DeleteFunc(slices.Clone(got.Scopes), func(s string) bool { return !clean(s) }) // providers send anything
	}
	return c
}

// learned tells from one refresh whether the provider rotates. A provider that
// was seen to rotate stays so: some answer with the same token now and then.
func (c Connection) learned(old, got Credential) Rotation {
	if c.Rotates == RotationYes || old.RefreshToken.Empty() {
		return c.Rotates
	}
	if got.RefreshToken.Empty() || got.RefreshToken.Equal(old.RefreshToken) {
		return RotationNo
	}
	return RotationYes
}

// Lapse returns the connection as one that the person must authorize again.
func (c Connection) Lapse(reason string) Connection {
	c.Status, c.Reason = ConnectionLapsed, reason
	return c
}

// Revoke returns the connection as one that was ended.
func (c Connection) Revoke(reason string) Connection {
	c.Status, c.Reason = ConnectionRevoked, reason
	return c
}

func missing(requested, granted []string) []string {
	var out []string
	for _, s := range requested {
		if granted != nil && !contains(granted, s) {
			out = append(out, s)
		}
	}
	return out
}
