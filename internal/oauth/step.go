package oauth

import (
	"context"
	"time"

	"github.com/behalf-dev/behalf/internal/secret"
)

// Done is what a step brought.
type Done struct {
	Facts   Facts
	Token   *Token   // where the step's reply is a token reply
	Choices []Choice // what a person must choose; the facts lack them
}

// Step makes a request of the profile's own. facts are what earlier steps
// captured; the token is the grant's as it stands, empty before there is one.
func (c Client) Step(ctx context.Context, s Step, t Token, facts Facts) (Done, error) {
	return c.step(ctx, s, t.facts().with(facts))
}

func (c Client) step(ctx context.Context, s Step, facts Facts) (Done, error) {
	op := Op("step " + s.Name)
	target, err := s.URL(c.known().with(facts).Lookup)
	if err != nil {
		return Done{}, unfilled(op, err)
	}
	asked := c.Now()
	r, err := c.make(ctx, call{op: op, url: target.Text, shape: s.Shape, body: s.Body, extra: s.Params, facts: facts, secrets: target.Parts, anyone: true})
	if err != nil {
		return Done{}, err
	}
	if s.Token {
		t, err := c.readToken(r, s.Shape, c.Scopes, asked)
		if err != nil {
			return Done{}, err
		}
		return Done{Facts: t.Captured, Token: &t}, nil
	}
	if refused := s.judge(r, parseAnswer(r.body)); refused != nil {
		return Done{}, refused
	}
	kept, choices, bad := captured(r, s.Capture)
	if bad != nil {
		return Done{}, bad
	}
	return Done{Facts: kept, Choices: choices}, nil
}

// prepare makes the steps before a token request.
func (c Client) prepare(ctx context.Context, steps []Step, facts Facts) (Facts, error) {
	for _, s := range steps {
		done, err := c.step(ctx, s, facts)
		if err != nil {
			return facts, err
		}
		facts = facts.with(done.Facts)
	}
	return facts, nil
}

// Settle makes the steps that follow a token request before its token can be
// used, and brings the tokens that are derived from it. The token that comes
// back is as good as it is when an error comes with it.
func (c Client) Settle(ctx context.Context, t Token, steps []Step) (Token, error) {
	for _, s := range steps {
		done, err := c.step(ctx, s, t.facts())
		if err != nil {
			return t, err
		}
		t = t.after(done)
	}
	for _, s := range c.Slots {
		if len(s.Derive) == 0 {
			continue
		}
		got, err := c.Derive(ctx, s, t)
		if err != nil {
			return t, err
		}
		if !got.RefreshToken.Empty() { // one refresh token serves them all
			t.RefreshToken, got.RefreshToken = got.RefreshToken, secret.Text{}
		}
		slots := map[string]Token{s.Name: got}
		for name, other := range t.Slots {
			if name != s.Name {
				slots[name] = other
			}
		}
		t.Slots = slots
	}
	return t, nil
}

// after is the token once a step is done: the step's, where it is one, with
// what its reply left out.
func (t Token) after(d Done) Token {
	next := t
	if d.Token != nil {
		next = d.Token.Merge(t)
		if next.IDToken.Empty() {
			next.IDToken = t.IDToken
		}
		if next.Slots == nil {
			next.Slots = t.Slots
		}
		if next.RefreshExpiresAt.IsZero() && next.RefreshToken.Equal(t.RefreshToken) {
			next.RefreshExpiresAt = t.RefreshExpiresAt
		}
	}
	next.Captured = t.Captured.with(d.Facts)
	return next
}

// EndsFirst returns the moment at which the first of the grant's tokens ends;
// zero: none is told.
func (t Token) EndsFirst() time.Time {
	end := t.ExpiresAt
	for _, s := range t.Slots {
		if end.IsZero() || !s.ExpiresAt.IsZero() && s.ExpiresAt.Before(end) {
			end = s.ExpiresAt
		}
	}
	return end
}

// redirectURI is what the server knows our callback by.
func (c Config) redirectURI() string { return or(c.Authorize.RedirectURI, c.RedirectURI) }
