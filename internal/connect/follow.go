package connect

import (
	"context"
	"net/url"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// This file makes what a profile adds to an authorization. The rules are:
//
//   - What a provider tells is checked before it is kept, and only then fills
//     anything.
//   - Nothing is connected before the last step is made.

// byState finds the session that an answer belongs to, by a state of ours in
// whichever parameter the provider puts it. Whether that is the profile's is
// looked at once the profile is known.
func (c *Connect) byState(ctx context.Context, response url.Values) (store.Scope, behalf.ConnectSession, error) {
	for _, state := range oauth.States(response) {
		db, s, err := c.db.SessionByState(ctx, state)
		if behalf.CodeOf(err) != behalf.CodeNotFound {
			return db, s, err
		}
	}
	return store.Scope{}, behalf.ConnectSession{}, behalf.NotFound("connect session")
}

// told checks the answer, and fills the config with what it tells besides.
func (c *Connect) told(f *flight, x run, cfg *oauth.Config, v *behalf.Values, cb oauth.Callback, response url.Values) error {
	f.keep(cb.Code, cb.AccessToken, secret.New(response.Get(x.profile.Plan.OAuth.Callback.CodeParam)))
	if err := cfg.CheckCallback(cb); err != nil {
		return err
	}
	facts, err := cfg.Kept(response)
	if err != nil || len(facts) == 0 {
		return err
	}
	f.secrets(facts)
	*v = v.Told(facts)
	*cfg, err = c.oauthConfig(x.session, x.profile, *v)
	return err
}

// secrets masks what is secret of the facts.
func (f *flight) secrets(facts oauth.Facts) {
	for _, fact := range facts {
		if fact.Secret {
			f.keep(secret.New(fact.Text))
		}
	}
}

// again reports whether the person has authorized under this profile before.
// Where that cannot be told, they are asked as for the first time.
func (c *Connect) again(ctx context.Context, x run) bool {
	if len(x.profile.Plan.OAuth.Authorize.ReconnectParams) == 0 {
		return false
	}
	before, err := c.keeper().ConnectionsOf(ctx, x.session.Assistant, x.session.Profile, x.session.User, x.session.Tenant)
	return err == nil && len(before) > 0
}

// follow makes what follows a token request before the token can be used, and
// asks how long it lives where the reply did not tell.
func (c *Connect) follow(ctx context.Context, f *flight, client oauth.Client, token oauth.Token) (oauth.Token, error) {
	f.secrets(token.Captured)
	if len(client.AfterToken) > 0 || derives(client.Slots) {
		err := f.do(ctx, behalf.StepTokenRequest, "After the token request", func(ctx context.Context) (err error) {
			token, err = client.Settle(ctx, token, client.AfterToken)
			return err
		})
		f.keep(token.AccessToken, token.RefreshToken, token.IDToken)
		f.secrets(token.Captured)
		if err != nil {
			return token, err
		}
		f.got = token
	}
	for _, s := range token.Slots {
		f.keep(s.AccessToken, s.RefreshToken)
	}
	if client.IntrospectionURL == "" && client.Late["oauth.introspection_url"] == nil || token.ExpiresGiven {
		return token, nil
	}
	err := f.do(ctx, behalf.StepValidation, "Introspection", func(ctx context.Context) error {
		told, err := client.Introspect(ctx, token.AccessToken)
		switch {
		case err != nil:
			return err
		case !told.Active:
			return &behalf.Error{Code: behalf.CodeProvider, Field: "oauth.introspection_url", Message: "The provider says that the token which it has just given is not active."}
		case !told.ExpiresAt.IsZero():
			token.ExpiresAt, token.ExpiresGiven = told.ExpiresAt, true
		}
		return nil
	})
	return token, err
}

func derives(slots []oauth.Slot) bool {
	for _, s := range slots {
		if len(s.Derive) > 0 {
			return true
		}
	}
	return false
}

// explore makes the steps that follow the validation, from one on. Where the
// person has to choose, it returns a choiceError with the result so far.
func (c *Connect) explore(ctx context.Context, f *flight, x run, client oauth.Client, v *behalf.Values, result behalf.SessionResult, from int) (behalf.SessionResult, error) {
	for i := from; i < len(client.PostConnect); i++ {
		step := client.PostConnect[i]
		var done oauth.Done
		err := f.do(ctx, behalf.StepValidation, "Step "+step.Name, func(ctx context.Context) (err error) {
			done, err = client.Step(ctx, step, result.Credential.Token(), v.Facts())
			return err
		})
		if err != nil {
			return result, err
		}
		f.secrets(done.Facts)
		*v = v.Told(done.Facts)
		result.Captured = v.Inputs.Captured
		if len(done.Choices) == 0 {
			continue
		}
		if x.session.Trial != "" { // nothing is kept of it: any will do
			*v = v.Told(first(done.Choices))
			continue
		}
		return result, &choiceError{questions(x, done.Choices, i+1)}
	}
	result.Captured = v.Inputs.Captured
	var err error
	result.Origins, err = x.profile.Plan.Origins(*v, c.db.Now)
	return result, err
}

func first(choices []oauth.Choice) oauth.Facts {
	facts := oauth.Facts{}
	for _, choice := range choices {
		facts[choice.Name] = oauth.Fact{Text: choice.Options[0].Value}
	}
	return facts
}

func questions(x run, choices []oauth.Choice, next int) behalf.Choosing {
	asks := behalf.Choosing{Next: next}
	for _, choice := range choices {
		asks.Questions = append(asks.Questions, x.profile.Plan.Question(choice))
	}
	return asks
}
