package behalf

import (
	"strings"
	"time"

	"github.com/behalf-dev/behalf/internal/expand"
	"github.com/behalf-dev/behalf/internal/oauth"
)

// This file hands the shapes of a plan to the OAuth engine. The rules are:
//
//   - What can be filled is filled now, and a mistake named now; the rest when
//     its request is made, with the same checks.
//   - A host is checked whenever it is filled.

// differ puts into c how the provider differs from the RFCs.
func (p *Plan) differ(c *oauth.Config, f *filler) {
	o := p.OAuth
	c.PKCEMethod, c.GrantType, c.ScopeParam = o.PKCEMethod, o.GrantType, o.Authorize.ScopeParam
	a := o.Authorize
	c.Authorize = oauth.AuthorizeShape{Rename: a.Rename, Omit: a.Omit, Raw: a.Raw, ResponseType: a.ResponseType, RedirectURI: a.RedirectURI, Fragment: a.Fragment}
	if f.values.Again {
		c.AuthorizationParams = replaced(c.AuthorizationParams, f.params("oauth.authorize.reconnect_params", p.reconnectParams))
	}
	c.CallbackShape = p.CallbackShape()

	c.TokenShape = p.shapeOf(f, p.token)
	c.RefreshShape, c.RefreshGrantType, c.RefreshBody = p.shapeOf(f, p.refresh), o.Refresh.GrantType, oauth.TokenBody(o.Refresh.Body)
	c.RefreshByAccess = Renewal(o.Refresh.Grant) == RenewByAccessToken
	c.RevokeShape, c.RevokeBody, c.RevokeParams = p.shapeOf(f, p.revoke), oauth.TokenBody(o.Revoke.Body), f.params("oauth.revoke.params", p.revokeParams)
	c.IntrospectionURL = f.endpoint(c, "oauth.introspection_url", p.introspectionURL)

	for _, s := range p.before {
		if s.runsOn("connect") {
			c.BeforeToken = append(c.BeforeToken, p.stepOf(f, s))
		}
		if s.runsOn("refresh") {
			c.BeforeRefresh = append(c.BeforeRefresh, p.stepOf(f, s))
		}
	}
	for _, s := range p.after {
		if s.runsOn("connect") {
			c.AfterToken = append(c.AfterToken, p.stepOf(f, s))
		}
		if s.runsOn("refresh") {
			c.AfterRefresh = append(c.AfterRefresh, p.stepOf(f, s))
		}
	}
	for _, s := range p.post {
		c.PostConnect = append(c.PostConnect, p.stepOf(f, s))
	}
	for i, s := range o.Slots {
		c.Slots = append(c.Slots, oauth.Slot{Name: s.Name, Reply: replyOf(s.Reply), Derive: f.params(indexed("oauth.slots", i)+".derive", p.derive[i])})
	}
}

// CallbackShape returns how the provider's answer is read.
func (p *Plan) CallbackShape() oauth.CallbackShape {
	k := p.OAuth.Callback
	return oauth.CallbackShape{CodeParam: k.CodeParam, StateParam: k.StateParam, ErrorParams: k.ErrorParams, Decode: k.Decode, EmptyDeclined: k.EmptyDeclined, Capture: p.captures.oauth(k.Capture)}
}

// runsOn reports whether the step is made when connecting, or with a refresh.
func (s Step) runsOn(when string) bool {
	return contains(s.On, when) || len(s.On) == 0 && when == "connect"
}

// replaced returns params with those of more in the place of their namesakes.
func replaced(params, more []oauth.Param) []oauth.Param {
	var out []oauth.Param
	for _, p := range params {
		if !named(more, p.Name) {
			out = append(out, p)
		}
	}
	return append(out, more...)
}

func named(params []oauth.Param, name string) bool {
	for _, p := range params {
		if p.Name == name {
			return true
		}
	}
	return false
}

func (p *Plan) shapeOf(f *filler, s planShape) oauth.Shape {
	out := oauth.Shape{Method: s.Method, Auth: clientAuths[s.Auth], Rename: s.Rename, Omit: s.Omit, Headers: f.params(s.at+".headers", s.headers),
		Reply: replyOf(s.Reply), Capture: p.captures.oauth(s.Capture)}
	for _, r := range s.Success {
		out.Success = append(out.Success, r.OAuth())
	}
	for _, r := range s.Errors {
		out.Errors = append(out.Errors, oauth.ErrorRule{Rule: r.OAuth(), Kind: kinds[r.Class]})
	}
	return out
}

var kinds = map[ErrorClass]oauth.Kind{ClassLapsed: oauth.Refused, ClassClient: oauth.ClientFault, ClassLimited: oauth.Limited, ClassTransient: oauth.Transient, ClassAmbiguous: oauth.Ambiguous}

// OAuth returns the rule as the engine has it.
func (r Rule) OAuth() oauth.Rule {
	return oauth.Rule{Status: r.Status, Header: r.Header, JSON: r.JSON, Equals: r.Equals, Contains: r.Contains}
}

func replyOf(r Reply) oauth.ReplyPaths {
	return oauth.ReplyPaths{AccessToken: r.AccessToken, RefreshToken: r.RefreshToken, IDToken: r.IDToken, TokenType: r.TokenType, Scope: r.Scope, ScopeSeparator: r.ScopeSeparator,
		ExpiresIn: r.ExpiresIn, ExpiresUnit: r.ExpiresUnit, ExpiresFormat: r.ExpiresFormat, RefreshExpiresIn: r.RefreshExpiresIn, Error: r.Error, ErrorDescription: r.ErrorDescription,
		RetryAfter: r.RetryAfter, RetryFormat: r.RetryFormat, RetryUnit: r.RetryUnit}
}

func (p *Plan) stepOf(f *filler, s planStep) oauth.Step {
	return oauth.Step{Name: s.Name, URL: f.late(s.at+".url", s.url), Body: oauth.TokenBody(s.Body), Params: f.params(s.at+".params", s.params), Token: s.Token, Shape: p.shapeOf(f, s.shape)}
}

// captureSet are a plan's captures by name.
type captureSet map[string]*planCapture

func (all captureSet) oauth(list []Capture) []oauth.Capture {
	var out []oauth.Capture
	for _, k := range list {
		c := oauth.Capture{Name: k.Name, JSON: k.JSON, Header: k.Header, Param: k.Param, Required: k.Required, Secret: k.Secret || all[k.Name].secret()}
		if known := all[k.Name]; known != nil {
			c.Check = known.keep
		}
		if k.Choose != nil {
			c.Choose = &oauth.Choose{Items: k.Choose.Items, Value: k.Choose.Value, Label: k.Choose.Label}
		}
		out = append(out, c)
	}
	return out
}

// captured returns what the provider told: newest first.
func (v Values) captured(name string) (expand.Value, bool) {
	k := v.Plan.captures[name]
	s, ok := "", false
	if v.Credential != nil {
		s, ok = v.Credential.Captured[name]
	}
	if !ok {
		s, ok = v.Inputs.Captured[name]
	}
	return expand.Value{Text: s, Secret: k.secret(), Origin: k != nil && k.Kind == "origin"}, ok && k != nil
}

func (v Values) slot(name, part string) (expand.Value, bool) {
	s, ok := v.Credential.Slots[name]
	switch {
	case ok && part == "accessToken":
		return expand.Value{Text: s.AccessToken.Reveal(), Secret: true}, true
	case ok && part == "tokenType":
		return expand.Value{Text: s.TokenType}, s.TokenType != ""
	}
	return expand.Value{}, false
}

// with returns a lookup that knows what the engine knows when a request is
// made. An additional field keeps its name.
func (v Values) with(l oauth.Lookup) expand.Lookup {
	return func(name string) (expand.Value, bool) {
		if v.Plan.field(name) == nil {
			if f, ok := l(name); ok {
				k := v.Plan.captures[name]
				return expand.Value{Text: f.Text, Secret: f.Secret, Origin: k != nil && k.Kind == "origin"}, true
			}
		}
		return v.Lookup(name)
	}
}

// waits reports whether one of the names gets its value only when a request is
// made, or from what the provider tells.
func (p *Plan) waits(names []string) bool {
	for _, n := range names {
		_, request := requestNames[n]
		if p.field(n) == nil && (request || contains(tokenNames, n) || p.captures[n] != nil || strings.HasPrefix(n, "slots.")) {
			return true
		}
	}
	return false
}

// endpoint fills a URL now, or leaves it for when it is asked.
func (f *filler) endpoint(c *oauth.Config, field string, u *expand.URL) string {
	if u == nil || f.err != nil || !f.plan.waits(u.Names()) && (f.values.Hop.needs(field) || !f.lacks(field, u.Needs())) {
		return f.url(field, u)
	}
	late := f.late(field, u)
	if filled, err := late(func(string) (oauth.Fact, bool) { return oauth.Fact{}, false }); err == nil {
		f.hidden = append(f.hidden, filled.Parts...)
		return filled.Text
	}
	if c.Late == nil {
		c.Late = map[string]oauth.Text{}
	}
	c.Late[field] = late
	return ""
}

func (f *filler) late(field string, u *expand.URL) oauth.Text {
	return func(l oauth.Lookup) (oauth.Fact, error) {
		late := filler{plan: f.plan, values: f.values, now: f.now}
		filled, err := u.Fill(late.values.with(l), late.plan.AllowedHosts, late.funcs())
		if err != nil {
			return oauth.Fact{}, late.explain(field, err)
		}
		return oauth.Fact{Text: filled.String(), Parts: late.hidden}, nil
	}
}

// param fills a parameter now, or leaves it for when its request is made.
func (f *filler) param(field string, t planText) oauth.Param {
	if t.text == nil || !f.plan.waits(t.text.Names()) && (f.values.Hop.needs(field) || !f.lacks(field, t.text.Needs())) {
		return oauth.Param{Name: t.key, Value: f.text(field, t.text)}
	}
	return oauth.Param{Name: t.key, Text: func(l oauth.Lookup) (oauth.Fact, error) {
		late := filler{plan: f.plan, values: f.values, now: f.now}
		s, hidden, err := t.text.Fill(late.values.with(l), late.funcs())
		if err != nil {
			return oauth.Fact{}, late.explain(field, err)
		}
		return oauth.Fact{Text: s, Secret: hidden, Parts: late.hidden}, nil
	}}
}

// Credential returns what a token reply brought as a credential of the plan.
func (p *Plan) Credential(t oauth.Token, now time.Time) Credential {
	c := Credential{AccessToken: t.AccessToken, RefreshToken: t.RefreshToken, IDToken: t.IDToken, TokenType: t.Type, ExpiresAt: t.ExpiresAt, ObtainedAt: now,
		RefreshExpiresAt: t.RefreshExpiresAt, Renewal: p.Renewal()}
	if r := p.OAuth.Refresh; c.RefreshExpiresAt.IsZero() {
		switch {
		case r.Idle > 0: // each use begins it anew
			c.RefreshExpiresAt = now.Add(r.Idle.Duration())
		case r.MaxAge > 0 && !c.RefreshToken.Empty():
			c.RefreshExpiresAt = now.Add(r.MaxAge.Duration())
		}
	}
	if t.ScopesGiven {
		c.Scopes = t.Scopes
	}
	for name, s := range t.Slots {
		if c.Slots == nil {
			c.Slots = map[string]Slotted{}
		}
		c.Slots[name] = slotted(s, now)
		if p.derives(name) {
			d := c.Slots[name]
			d.Derived = true
			c.Slots[name] = d
		}
	}
	for name, f := range t.Captured {
		if c.Captured == nil {
			c.Captured = map[string]string{}
		}
		c.Captured[name] = f.Text
	}
	return c
}

func slotted(t oauth.Token, now time.Time) Slotted {
	return Slotted{AccessToken: t.AccessToken, RefreshToken: t.RefreshToken, TokenType: t.Type, Scopes: t.Scopes, ExpiresAt: t.ExpiresAt, ObtainedAt: now}
}

func (p *Plan) derives(slot string) bool {
	for _, s := range p.OAuth.Slots {
		if s.Name == slot {
			return len(s.Derive) > 0
		}
	}
	return false
}

// Follows reports whether requests follow a refresh before what it brought can
// be used.
func (p *Plan) Follows() bool {
	for _, s := range p.after {
		if s.runsOn("refresh") {
			return true
		}
	}
	for _, s := range p.OAuth.Slots {
		if len(s.Derive) > 0 {
			return true
		}
	}
	return false
}

// Spends reports whether a request that follows a refresh uses the refresh
// token: it may then not be made twice where refresh tokens rotate.
func (p *Plan) Spends() bool {
	for _, s := range p.OAuth.Slots {
		if len(s.Derive) > 0 {
			return true
		}
	}
	return false
}

// Renewal returns how the plan's credentials are renewed.
func (p *Plan) Renewal() Renewal {
	switch {
	case p.Reissues():
		return RenewByReissue
	case !p.Type.IssuesTokens():
		return RenewNever
	}
	switch r := Renewal(p.OAuth.Refresh.Grant); r {
	case RenewByAccessToken, RenewByReissue, RenewNever:
		return r
	}
	return RenewByRefreshToken
}

// Token returns the credential as the engine takes it.
func (c Credential) Token() oauth.Token {
	t := oauth.Token{AccessToken: c.AccessToken, RefreshToken: c.RefreshToken, IDToken: c.IDToken, Type: c.TokenType, Scopes: c.Scopes, ScopesGiven: c.Scopes != nil,
		ExpiresAt: c.ExpiresAt, RefreshExpiresAt: c.RefreshExpiresAt}
	for name, s := range c.Slots {
		if t.Slots == nil {
			t.Slots = map[string]oauth.Token{}
		}
		t.Slots[name] = oauth.Token{AccessToken: s.AccessToken, RefreshToken: s.RefreshToken, Type: s.TokenType, Scopes: s.Scopes, ExpiresAt: s.ExpiresAt}
	}
	return t
}

// Facts are what the provider has told so far, as the engine takes it.
func (v Values) Facts() oauth.Facts {
	facts := oauth.Facts{}
	for name := range v.Plan.captures {
		if value, ok := v.captured(name); ok {
			facts[name] = oauth.Fact{Text: value.Text, Secret: value.Secret}
		}
	}
	return facts
}

// Told returns v with more of what the provider told; v itself stays.
func (v Values) Told(facts oauth.Facts) Values {
	told := map[string]string{}
	for name, f := range facts {
		told[name] = f.Text
	}
	v.Inputs.Captured = merged(v.Inputs.Captured, told)
	return v
}

// Question returns what a person is asked of a choice.
func (p *Plan) Question(c oauth.Choice) Question {
	q := Question{Name: c.Name}
	if k := p.captures[c.Name]; k != nil && k.Choose != nil {
		q.Title = k.Choose.Title
	}
	for _, o := range c.Options {
		q.Options = append(q.Options, Option{o.Value, o.Label})
	}
	return q
}
