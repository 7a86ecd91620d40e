package broker

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/oauth"
)

// This file refreshes grants of several tokens, and those that need more than
// one request. The rules are:
//
//   - One lease renews one token: its answer is durable before the next is
//     asked for, as the next generation.
//   - What follows a refresh (an exchange, a login) is no part of it. The answer
//     is kept first, as one that has ended already, so that nobody uses it; then
//     the steps are made with a lease of their own, and by whoever comes next if
//     this process dies.
//   - No request of a refresh goes where the person did not authorize it.

// maxParts bounds how many tokens and steps one refresh renews.
const maxParts = 24

// run refreshes what is due, one token after the other.
func (b *Broker) run(ctx context.Context, seen behalf.Connection, w wants) (kept behalf.Connection, err error) {
	w.asked = b.db.Now()
	for range maxParts {
		o, err := b.generation(ctx, seen, w)
		if err != nil {
			return behalf.Connection{}, err
		}
		kept = o.Connection
		if o.ID == "" {
			if o.Connection, err = b.keeper.Connection(ctx, seen.ID); err != nil {
				return kept, err
			}
		}
		moved := o.Generation != seen.Generation
		o.Buffer = seen.Buffer
		more, err := b.more(ctx, o, w)
		if err != nil || !moved || !more {
			return kept, err
		}
		seen = o.Connection
		if w.forced {
			w.minAge, w.further = 0, true
		}
	}
	return kept, nil
}

// more reports whether a connection that was just renewed has another token or
// step to be made.
func (b *Broker) more(ctx context.Context, o outcome, w wants) (bool, error) {
	now := b.db.Now()
	switch {
	case o.Status != behalf.ConnectionActive || !o.Refreshable || now.Before(o.NextAttemptAt):
		return false, nil
	case !w.forced || o.Expired(now): // one that is only due is good to its end
		return o.Expired(now), nil
	}
	got := o.got
	if got == nil {
		read, _, err := b.keeper.Secrets(ctx, o.Connection)
		if err != nil {
			return false, err
		}
		got = &read
	}
	_, more := got.Next(true, w.asked)
	return more && len(got.Slots) > 0, nil
}

// choose decides which of the grant's tokens is renewed.
func (r *request) choose(w wants) error {
	if r.old.Unfinished {
		return nil
	}
	slot, ok := r.old.Next(w.forced, w.asked)
	if !ok && w.forced { // all of them are newer
		slot, ok = r.old.Next(false, w.asked)
	}
	if !ok {
		return behalf.Errorf(behalf.CodeConflict, "The provider gave nothing to renew this token with.")
	}
	r.slot = slot
	return nil
}

// hopeless says why there is no use in asking the provider, "" where there is.
func (r *request) hopeless(now time.Time) string {
	if r.old.Renewal == behalf.RenewByAccessToken && !r.old.Unfinished && !r.old.ExpiresAt.IsZero() && !now.Before(r.old.ExpiresAt) {
		return "The access token renews itself only while it lives, and it has ended."
	}
	return ""
}

// spendsNothing reports whether the request uses no refresh token.
func (r *request) spendsNothing() bool {
	if r.old.Unfinished {
		return !r.profile.Plan.Spends()
	}
	return r.old.Renewal == behalf.RenewByReissue
}

// send makes the request that is due.
func (r *request) send(ctx context.Context, client oauth.Client) (oauth.Token, error) {
	switch {
	case r.old.Unfinished:
		token, err := client.Settle(ctx, r.old.Token(), client.AfterRefresh)
		if err != nil {
			return token, err
		}
		return introspected(ctx, client, token), nil
	case r.old.Renewal == behalf.RenewByReissue:
		return Issue(ctx, client, r.values)
	}
	return client.Renew(ctx, r.old.Part(r.slot).Token())
}

// introspected asks how long a token lives where its reply did not tell. That
// it is not told then either harms nobody.
func introspected(ctx context.Context, client oauth.Client, t oauth.Token) oauth.Token {
	if !introspects(client.Config) || !t.ExpiresAt.IsZero() {
		return t
	}
	if told, err := client.Introspect(ctx, t.AccessToken); err == nil && told.Active {
		t.ExpiresAt = told.ExpiresAt
	}
	return t
}

func introspects(c oauth.Config) bool {
	return c.IntrospectionURL != "" || c.Late["oauth.introspection_url"] != nil
}

// gained reports whether a request that failed brought a refresh token all the
// same: of several steps the first may have spent the old one.
func (r *request) gained(t oauth.Token) bool {
	return r.old.Unfinished && !t.RefreshToken.Empty() && !t.RefreshToken.Equal(r.old.RefreshToken)
}

// brought returns the connection and its whole credential with what came.
func (r *request) brought(token oauth.Token, unfinished bool, now time.Time) (behalf.Connection, behalf.Credential) {
	plan := r.profile.Plan
	got := plan.Credential(token, now)
	kept := r.old.Renewed(r.slot, got)
	if r.slot == "" {
		kept.Unfinished = unfinished || !r.old.Unfinished && (plan.Follows() || introspects(r.configs[0]) && token.ExpiresAt.IsZero())
	}
	n := r.c.Renewed(r.slot, r.old, got, kept)
	n.RefreshAt = n.LookAt(plan.OAuth.Refresh, rand.Float64())
	return n, kept
}

// confined keeps the requests of a client to where the person authorized.
func (r *request) confined(client *http.Client) *http.Client {
	if len(r.inputs.Origins) == 0 {
		return client
	}
	confined := *client
	confined.Transport = within{r.inputs, client.Transport}
	return &confined
}

type within struct {
	inputs behalf.Inputs
	next   http.RoundTripper
}

func (w within) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := w.inputs.MaySend(req.URL.String()); err != nil {
		return nil, unwritten{err}
	}
	return w.next.RoundTrip(req)
}

// unwritten is an error of a request of which nothing was sent.
type unwritten struct{ error }

func (unwritten) RequestWritten() bool { return false }
func (u unwritten) Unwrap() error      { return u.error }
