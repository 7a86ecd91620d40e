package behalf

import (
	"strings"
	"time"
)

// This file says when a connection is looked after without anybody asking for
// it. The rules are:
//
//   - An access token is renewed before any call would find it due, and not all
//     of those that were obtained together at once.
//   - A refresh token that ends when it is not used is used in time.
//   - An authorization that will end whatever is done is announced days ahead.
//   - When a refresh token ends the profile says, or else the provider; whether
//     its end moves with each use is seen from the first use on.

// warnAhead is how long before its end an authorization is announced; at most a
// quarter of its life.
const warnAhead = 7 * 24 * time.Hour

// Ends returns when the authorization ends whatever we do, as far as that is
// known; zero: never, or not known.
func (c Connection) Ends(r Refresh) time.Time {
	switch {
	case !c.Refreshable:
		return c.ExpiresAt
	case r.MaxAge > 0 && !c.GrantedAt.IsZero():
		return c.GrantedAt.Add(r.MaxAge.Duration())
	case r.Idle == 0 && c.endStands():
		return c.RefreshEndsAt
	}
	return time.Time{}
}

// endStands reports whether the end of the refresh token, which the provider
// tells, stays where it is when the token is used: a new one would live as long
// as the first did.
func (c Connection) endStands() bool {
	return !c.RefreshEndsAt.IsZero() && c.RefreshEndsAt.Sub(c.ObtainedAt) < c.RefreshLife*9/10
}

// WarnAt returns when the end is announced; zero: there is none, or it was.
func (c Connection) WarnAt(r Refresh) time.Time {
	end := c.Ends(r)
	if end.IsZero() || !c.WarnedAt.IsZero() {
		return time.Time{}
	}
	from := c.GrantedAt
	if !c.Refreshable {
		from = c.ObtainedAt
	}
	return end.Add(-min(warnAhead, max(end.Sub(from)/4, 0)))
}

// RenewAt returns when the credential is renewed although nobody asks for it;
// zero: it need not be. spread is at least 0 and below 1, and differs between
// connections.
func (c Connection) RenewAt(r Refresh, spread float64) time.Time {
	if !c.Refreshable {
		return time.Time{}
	}
	var at time.Time
	if !c.ExpiresAt.IsZero() {
		c.Buffer = r.Buffer.Duration()
		early := time.Duration(float64(c.Margin()) * (1.1 + 0.9*spread))
		at = c.ExpiresAt.Add(-min(early, c.ExpiresAt.Sub(c.ObtainedAt)*2/3))
	}
	idle := r.Idle.Duration()
	if idle == 0 && r.MaxAge == 0 && !c.RefreshEndsAt.IsZero() && !c.endStands() {
		idle = c.RefreshEndsAt.Sub(c.ObtainedAt)
	}
	if idle > 0 {
		kept := c.ObtainedAt.Add(time.Duration(float64(idle) * (0.5 + 0.2*spread)))
		at = earlier(at, kept)
	}
	return at
}

// LookAt returns when the connection is looked after the next time; zero: never.
func (c Connection) LookAt(r Refresh, spread float64) time.Time {
	if c.Status != ConnectionActive {
		return time.Time{}
	}
	return earlier(c.RenewAt(r, spread), c.WarnAt(r))
}

// earlier returns the earlier of two times, of which a zero one does not count.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// TokenHost returns where refresh requests of the profile go, as its URL is
// written: what shares it shares a provider.
func (p *Plan) TokenHost() string {
	u := p.refreshURL
	if u == nil {
		u = p.tokenURL
	}
	if u == nil {
		return ""
	}
	_, rest, _ := strings.Cut(u.String(), "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}
