package behalf

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/behalf-dev/behalf/internal/secret"
)

// Credential is the secret part of a connection. Each refresh makes a new
// generation; the last ones are kept.
type Credential struct {
	AccessToken  secret.Text
	RefreshToken secret.Text
	IDToken      secret.Text
	TokenType    string    // as the provider wrote it
	Scopes       []string  // as granted; nil when the provider did not say
	ExpiresAt    time.Time // zero: never told
	ObtainedAt   time.Time

	RefreshExpiresAt time.Time          // of the refresh token; zero: never told
	Slots            map[string]Slotted // further tokens of the same grant, by the slot's name
	Captured         map[string]string  // what token and refresh replies told besides, and steps around them
	Renewal          Renewal            // how it is renewed
	// Unfinished says that the steps which follow a refresh have not been made:
	// the credential is kept because it is the only good one, and not yet used.
	Unfinished bool
}

// Slotted is the token of a slot.
type Slotted struct {
	AccessToken  secret.Text
	RefreshToken secret.Text // empty: it comes and goes with the grant's
	TokenType    string
	Scopes       []string
	ExpiresAt    time.Time
	ObtainedAt   time.Time
	Derived      bool // it is asked for with the grant's refresh token
}

// Renewal is how a credential is renewed.
type Renewal string

const (
	RenewByRefreshToken Renewal = ""             // where there is one (RFC 6749 §6)
	RenewByAccessToken  Renewal = "access_token" // the access token renews itself while it lives
	RenewByReissue      Renewal = "reissue"      // the first request is made again
	RenewNever          Renewal = "none"
)

// Refreshable reports whether the credential can be renewed without the person.
func (c Credential) Refreshable() bool {
	switch c.Renewal {
	case RenewByAccessToken, RenewByReissue:
		return true
	case RenewNever:
		return false
	}
	for _, s := range c.Slots {
		if !s.RefreshToken.Empty() {
			return true
		}
	}
	return !c.RefreshToken.Empty()
}

// Ends returns when the first of its tokens ends, and when that was obtained;
// zero: never told. A slot that nothing renews does not hasten the others.
func (c Credential) Ends() (at, obtained time.Time) {
	if c.Unfinished {
		return c.ObtainedAt, c.ObtainedAt
	}
	at, obtained = c.ExpiresAt, c.ObtainedAt
	for _, s := range c.Slots {
		if s.renews() && !s.ExpiresAt.IsZero() && (at.IsZero() || s.ExpiresAt.Before(at)) {
			at, obtained = s.ExpiresAt, s.ObtainedAt
		}
	}
	return at, obtained
}

func (s Slotted) renews() bool { return s.Derived || !s.RefreshToken.Empty() }

// Next returns which of its tokens is renewed next: "" for the grant's own, or
// the name of a slot with a refresh token of its own. That is the one that ends
// first; where all are to be renewed, the first that was obtained before a time.
func (c Credential) Next(all bool, before time.Time) (slot string, ok bool) {
	own := c.Renewal != RenewByRefreshToken && c.Renewal != RenewNever || !c.RefreshToken.Empty()
	end := c.ExpiresAt
	if all && own && c.ObtainedAt.Before(before) {
		return "", true
	}
	for _, name := range slices.Sorted(maps.Keys(c.Slots)) {
		s := c.Slots[name]
		switch {
		case s.RefreshToken.Empty():
			if s.Derived && !all && ends(s.ExpiresAt, end) {
				slot, ok, end = "", own, s.ExpiresAt
			}
		case all && s.ObtainedAt.Before(before):
			return name, true
		case !all && (ends(s.ExpiresAt, end) || !own && !ok):
			slot, ok, end = name, true, s.ExpiresAt
		}
	}
	if all || ok {
		return slot, ok
	}
	return "", own
}

func ends(at, before time.Time) bool { return !at.IsZero() && (before.IsZero() || at.Before(before)) }

// Part returns the credential of one of its tokens alone, as a refresh sees it.
func (c Credential) Part(slot string) Credential {
	if slot == "" {
		return c
	}
	s := c.Slots[slot]
	return Credential{AccessToken: s.AccessToken, RefreshToken: s.RefreshToken, TokenType: s.TokenType, Scopes: s.Scopes, ExpiresAt: s.ExpiresAt, ObtainedAt: s.ObtainedAt, Renewal: c.Renewal}
}

// Renewed returns c with what a refresh of one of its tokens brought.
func (c Credential) Renewed(slot string, got Credential) Credential {
	if slot == "" {
		return c.Merged(got)
	}
	got = c.Part(slot).Merged(got)
	s := Slotted{AccessToken: got.AccessToken, RefreshToken: got.RefreshToken, TokenType: got.TokenType, Scopes: got.Scopes, ExpiresAt: got.ExpiresAt, ObtainedAt: got.ObtainedAt}
	c.Slots, c.Captured = merged(c.Slots, map[string]Slotted{slot: s}), merged(c.Captured, got.Captured)
	return c
}

// Merged returns got with what a refresh leaves out filled in from c: most
// providers send no new refresh token, and some no scope (RFC 6749 §6).
func (c Credential) Merged(got Credential) Credential {
	if got.RefreshToken.Empty() {
		got.RefreshToken = c.RefreshToken
	}
	if got.IDToken.Empty() {
		got.IDToken = c.IDToken
	}
	if got.Scopes == nil {
		got.Scopes = c.Scopes
	}
	if got.RefreshExpiresAt.IsZero() && got.RefreshToken.Equal(c.RefreshToken) {
		got.RefreshExpiresAt = c.RefreshExpiresAt
	}
	got.Slots, got.Captured = merged(c.Slots, got.Slots), merged(c.Captured, got.Captured)
	return got
}

// merged returns both maps in one, nil where there is nothing.
func merged[V any](old, got map[string]V) map[string]V {
	if len(old) == 0 {
		return got
	}
	all := maps.Clone(old)
	maps.Copy(all, got)
	return all
}

// Inputs is what an end user and the assistant gave for one connection: it
// fills placeholders for as long as the connection lives, and is sealed.
type Inputs struct {
	Fields   map[string]secret.Text // additional fields by key
	Captured map[string]string      // what the provider returned and the profile keeps
	Origins  []string               // where the connection's secrets may be sent; none: it was not made by a session
}

// MaySend returns nil where the connection was authorized for the origin of a
// URL. A profile whose hosts were changed afterwards does not take the tokens
// of its users with it.
func (in Inputs) MaySend(raw string) error {
	if len(in.Origins) == 0 || raw == "" || contains(in.Origins, originOf(raw)) {
		return nil
	}
	return Errorf(CodeAuthorizationRequired, "The profile names another host now than when the end user authorized; they must authorize again.")
}

// originOf returns the scheme, host and port of a filled URL.
func originOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + strings.ToLower(u.Host)
}
