package behalf_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
)

// odd is a definition of a provider that differs in everything.
func odd() behalf.Definition {
	d := acorn()
	d.AdditionalFields = []behalf.AdditionalField{{Key: "pin", Type: behalf.FieldPassword}}
	d.API = behalf.API{BaseURL: "{{instance}}/v1", AllowedHosts: []string{"*.acorn.example", "auth.acorn.example", "login.acorn.example", "api.acorn.example"}}
	d.TokenURL = "{{region}}/token"
	d.RefreshURL = "https://auth.acorn.example/refresh"
	d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-Site", Value: "{{site}}"}, {In: behalf.InHeader, Key: "X-User", Value: "{{slots.user.accessToken}}"}}
	o := &d.OAuth
	o.ClientAuth, o.PKCEMethod, o.TokenBody, o.GrantType, o.ScopeSeparator = behalf.ClientAuthPost, "S256-hex", "json", "auth_code", "+"
	d.Scope[0].Value = "notes:read+offline_access"
	o.IntrospectionURL = "https://auth.acorn.example/introspect"
	o.Authorize = behalf.Authorize{ScopeParam: "perms", Rename: map[string]string{"client_id": "client_key", "state": "customField"}, Omit: []string{"response_type"}, Raw: []string{"perms"},
		RedirectURI: "Our-RuName", ReconnectParams: []behalf.Param{{Key: "prompt", Value: "consent"}}}
	o.Callback = behalf.Callback{CodeParam: "auth_code", StateParam: "customField", ErrorParams: []string{"error_reason"}, EmptyDeclined: true,
		Capture: []behalf.Capture{{Name: "region", Param: "accounts-server", Kind: "origin", Required: true}}}
	o.BeforeToken = []behalf.Step{{Name: "discover", URL: "{{region}}/discover", Shape: behalf.Shape{Method: "GET", Capture: []behalf.Capture{{Name: "session", JSON: "/session", Secret: true}}}}}
	o.TokenParams = []behalf.Param{{Key: "session", Value: "{{session}}"}, {Key: "sign", Value: "{{md5 (substr clientSecret 0 20)}}"}, {Key: "state", Value: "{{state}}"}}
	o.Token = behalf.Shape{Omit: []string{"redirect_uri"}, Headers: []behalf.Param{{Key: "X-Sign", Value: "{{hmac clientSecret requestBody requestTimeMs}}"}},
		Success: []behalf.Rule{{JSON: "/ok", Equals: "true"}}, Errors: []behalf.ErrorRule{{Rule: behalf.Rule{JSON: "/error", Contains: "revoked"}, Class: behalf.ClassLapsed}},
		Reply: behalf.Reply{AccessToken: "/data/access_token", ExpiresUnit: "ms"}, Capture: []behalf.Capture{{Name: "instance", JSON: "/instance_url", Kind: "origin"}}}
	o.AfterToken = []behalf.Step{{Name: "extend", URL: "{{instance}}/extend", Token: true, On: []string{"connect", "refresh"}, Params: []behalf.Param{{Key: "old", Value: "{{accessToken}}"}}}}
	o.PostConnect = []behalf.Step{{Name: "sites", URL: "https://api.acorn.example/sites", Shape: behalf.Shape{Method: "GET", Auth: behalf.ClientAuthBearer,
		Capture: []behalf.Capture{{Name: "site", Required: true, Choose: &behalf.Choose{Items: "/", Value: "/id", Label: "/name", Title: "Which site?"}}}}}}
	o.Slots = []behalf.Slot{{Name: "user", Reply: behalf.Reply{AccessToken: "/authed_user/access_token"}}, {Name: "graph", Derive: []behalf.Param{{Key: "resource", Value: "graph"}}}}
	o.Refresh = behalf.Refresh{Grant: "access_token", GrantType: "own_refresh", Body: "query", Buffer: 60}
	o.RevocationURL = "{{instance}}/revoke"
	o.Revoke = behalf.Revoke{Tokens: []string{"access_token", "refresh_token"}, Body: "json", Params: []behalf.Param{{Key: "who", Value: "{{clientId}}"}}, ManageURL: "https://acorn.example/apps", Note: "It stays listed.",
		Shape: behalf.Shape{Method: "DELETE", Auth: behalf.ClientAuthBearer, Rename: map[string]string{"token": "access_token"}}}
	return d
}

func TestAProviderThatDiffersInEverythingCompiles(t *testing.T) {
	plan := compile(t, odd())
	now := func() time.Time { return time.Unix(1700000000, 0) }
	first, err := plan.Config(behalf.Values{Plan: plan, User: "ann"}, "https://behalf.example/cb", secret.New("s3cret"), now)
	if err != nil {
		t.Fatal("what the provider has not told yet is filled later:", err)
	}
	target, _, err := first.AuthorizationRequest(oauth.NewAttempt())
	u, _ := url.Parse(target)
	if err != nil || u.Query().Get("client_key") != "bot" || u.Query().Get("customField") == "" || u.Query().Has("response_type") || u.Query().Get("redirect_uri") != "Our-RuName" || u.Query().Has("prompt") {
		t.Fatal(target, err)
	}
	v := behalf.Values{Plan: plan, User: "ann", Again: true, Inputs: behalf.Inputs{Captured: map[string]string{"region": "https://eu.acorn.example"}}}
	c, err := plan.Config(v, "https://behalf.example/cb", secret.New("s3cret"), now)
	if err != nil || c.TokenURL != "https://eu.acorn.example/token" || c.RevocationURL != "" || c.Late["oauth.revocation_url"] == nil {
		t.Fatalf("%v %q %q", err, c.TokenURL, c.RevocationURL)
	}
	if !slices.ContainsFunc(c.AuthorizationParams, func(p oauth.Param) bool { return p.Name == "prompt" && p.Value == "consent" }) {
		t.Fatal("who has connected before is asked as the profile says")
	}
	if c.RefreshShape.Method != "" || c.RefreshShape.Reply.AccessToken != "/data/access_token" || len(c.RefreshShape.Success) != 1 || len(c.RefreshShape.Omit) != 0 || !c.RefreshByAccess {
		t.Fatalf("a refresh is made as tokens are asked for: %+v", c.RefreshShape)
	}
	if len(c.AfterToken) != 1 || len(c.AfterRefresh) != 1 || len(c.BeforeToken) != 1 || len(c.BeforeRefresh) != 0 {
		t.Fatal("steps are made when they are to be")
	}
	for _, host := range []string{"https://evil.example", "https://acorn.example", "http://eu.acorn.example", "https://eu.acorn.example/x", "https://u@eu.acorn.example", "https://eu.acorn.example:8443"} {
		if _, err := c.CallbackShape.Capture[0].Check(host); err == nil {
			t.Errorf("%s was taken for an allowed host", host)
		}
	}
	for _, host := range []string{"https://eu.acorn.example", "https://eu.acorn.example/", "EU.acorn.example"} {
		if got, err := c.CallbackShape.Capture[0].Check(host); err != nil || !strings.EqualFold(got, "https://eu.acorn.example") {
			t.Error(host, got, err)
		}
	}
}

func TestTheOriginsOfAConnectionAreThoseOfEveryRequest(t *testing.T) {
	plan := compile(t, odd())
	v := behalf.Values{Plan: plan, User: "ann", Inputs: behalf.Inputs{Captured: map[string]string{"region": "https://eu.acorn.example", "site": "1"}},
		Credential: &behalf.Credential{AccessToken: secret.New("a"), Captured: map[string]string{"instance": "https://na7.acorn.example"}}}
	got, err := plan.Origins(v, time.Now)
	want := "[https://api.acorn.example https://auth.acorn.example https://eu.acorn.example https://na7.acorn.example]"
	if err != nil || fmt.Sprint(got) != want {
		t.Fatal(got, err)
	}
	v.Credential.Captured = nil
	if got, err = plan.Origins(v, time.Now); err != nil || len(got) != 3 {
		t.Fatal("what the provider did not tell leads nowhere:", got, err)
	}
	out, err := plan.Authorize(behalf.Values{Plan: plan, User: "ann", Inputs: v.Inputs, Credential: &behalf.Credential{AccessToken: secret.New("a"),
		Slots: map[string]behalf.Slotted{"user": {AccessToken: secret.New("u")}}, Captured: map[string]string{"instance": "https://na7.acorn.example"}}}, behalf.Call{Method: "GET", Path: "/x"}, time.Now)
	if err != nil || out.URL.String() != "https://na7.acorn.example/v1/x" || out.Header[1].Value != "1" || out.Header[2].Value != "u" {
		t.Fatal(out.URL, out.Header, err)
	}
}

func TestWhatIsWrongWithAShapeIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*behalf.Definition)
		field  string
	}{
		"a state that is left out":            {func(d *behalf.Definition) { d.OAuth.Authorize.Omit = []string{"state"} }, "oauth.authorize.omit"},
		"a state that is renamed away":        {func(d *behalf.Definition) { d.OAuth.Authorize.Rename = map[string]string{"state": "client_id"} }, "oauth.authorize.rename"},
		"another that takes the state's name": {func(d *behalf.Definition) { d.OAuth.Authorize.Rename = map[string]string{"client_id": "state"} }, "oauth.authorize.rename"},
		"two with one name": {func(d *behalf.Definition) {
			d.OAuth.Authorize.Rename = map[string]string{"client_id": "x", "redirect_uri": "x"}
		}, "oauth.authorize.rename"},
		"a name that is no parameter":    {func(d *behalf.Definition) { d.OAuth.Authorize.Rename = map[string]string{"client_id": "a&b"} }, "oauth.authorize.rename"},
		"a rename of nothing":            {func(d *behalf.Definition) { d.OAuth.Token.Rename = map[string]string{"state": "x"} }, "oauth.token.rename"},
		"an omission of nothing":         {func(d *behalf.Definition) { d.OAuth.Token.Omit = []string{"prompt"} }, "oauth.token.omit[0]"},
		"raw scopes with spaces":         {func(d *behalf.Definition) { d.OAuth.ScopeSeparator = "" }, "oauth.authorize.raw"},
		"a challenge without PKCE":       {func(d *behalf.Definition) { d.OAuth.Authorize.Omit = []string{"code_challenge"} }, "oauth.authorize.omit"},
		"a scope parameter that is ours": {func(d *behalf.Definition) { d.OAuth.Authorize.ScopeParam = "state" }, "oauth.authorize.scope_param"},
		"a reconnect parameter of ours": {func(d *behalf.Definition) {
			d.OAuth.Authorize.ReconnectParams = []behalf.Param{{Key: "state", Value: "x"}}
		}, "oauth.authorize.reconnect_params[0].key"},
		"a password on reconnect":      {func(d *behalf.Definition) { d.OAuth.Authorize.ReconnectParams[0].Value = "{{pin}}" }, "oauth.authorize.reconnect_params[0].value"},
		"the secret in the browser":    {func(d *behalf.Definition) { d.AuthorizationURL += "?s={{clientSecret}}" }, "authorization_url"},
		"the secret among scopes":      {func(d *behalf.Definition) { d.Scope[0].Value = "{{clientSecret}}" }, "scope[0].value"},
		"a token in the browser":       {func(d *behalf.Definition) { d.AuthorizationURL += "?s={{accessToken}}" }, "authorization_url"},
		"a captured value too early":   {func(d *behalf.Definition) { d.AuthorizationURL += "?s={{instance}}" }, "authorization_url"},
		"a fragment that is not meant": {func(d *behalf.Definition) { d.AuthorizationURL += "#/authorize" }, "authorization_url"},
		"a route that is missing":      {func(d *behalf.Definition) { d.OAuth.Authorize.Fragment = true }, "authorization_url"},
		"one parameter for two":        {func(d *behalf.Definition) { d.OAuth.Callback.StateParam = "auth_code" }, "oauth.callback.state_param"},
		"the code as a captured value": {func(d *behalf.Definition) { d.OAuth.Callback.Capture[0].Param = "auth_code" }, "oauth.callback.capture[0].param"},
		"a callback without a source":  {func(d *behalf.Definition) { d.OAuth.Callback.Capture[0].Param = "" }, "oauth.callback.capture[0]"},
		"a callback has no JSON":       {func(d *behalf.Definition) { d.OAuth.Callback.Capture[0].JSON = "/x" }, "oauth.callback.capture[0]"},
		"a reply has no parameters":    {func(d *behalf.Definition) { d.OAuth.Token.Capture[0].JSON, d.OAuth.Token.Capture[0].Param = "", "x" }, "oauth.token.capture[0].param"},
		"a capture without a name":     {func(d *behalf.Definition) { d.OAuth.Token.Capture[0].Name = "a.b" }, "oauth.token.capture[0].name"},
		"a capture with our name":      {func(d *behalf.Definition) { d.OAuth.Token.Capture[0].Name = "accessToken" }, "oauth.token.capture[0].name"},
		"a capture with a request's name": {func(d *behalf.Definition) {
			d.OAuth.BeforeToken[0].Capture[0].Name = "clientSecret"
		}, "oauth.before_token[0].capture[0].name"},
		"a capture with a field's name":   {func(d *behalf.Definition) { d.OAuth.BeforeToken[0].Capture[0].Name = "pin" }, "oauth.before_token[0].capture[0].name"},
		"a capture of another kind":       {func(d *behalf.Definition) { d.OAuth.BeforeToken[0].Capture[0].Name = "region" }, "oauth.before_token[0].capture[0].name"},
		"an origin without allowed hosts": {func(d *behalf.Definition) { d.API.AllowedHosts = nil }, "api.allowed_hosts"},
		"a text for a host":               {func(d *behalf.Definition) { d.OAuth.Token.Capture[0].Kind = "" }, "api.base_url"},
		"a pattern that explodes":         {func(d *behalf.Definition) { d.OAuth.Token.Capture[0].Pattern = "((a{1,99}){1,99}){1,99}" }, "oauth.token.capture[0].pattern"},
		"a pointer that is none":          {func(d *behalf.Definition) { d.OAuth.Token.Reply.AccessToken = "data.token" }, "oauth.token.reply.access_token"},
		"a unit that is none":             {func(d *behalf.Definition) { d.OAuth.Token.Reply.ExpiresUnit = "years" }, "oauth.token.reply.expires_unit"},
		"a rule without a condition":      {func(d *behalf.Definition) { d.OAuth.Token.Success = []behalf.Rule{{}} }, "oauth.token.success[0]"},
		"a rule with an odd status":       {func(d *behalf.Definition) { d.AuthError = []behalf.Rule{{Status: 99}} }, "auth_error[0].status"},
		"a class that is none":            {func(d *behalf.Definition) { d.OAuth.Token.Errors[0].Class = "bad" }, "oauth.token.errors[0].class"},
		"a method that is none":           {func(d *behalf.Definition) { d.OAuth.Token.Method = "FETCH" }, "oauth.token.method"},
		"a token to ask for one":          {func(d *behalf.Definition) { d.OAuth.Token.Auth = behalf.ClientAuthBearer }, "oauth.token.auth"},
		"a hop-by-hop header":             {func(d *behalf.Definition) { d.OAuth.Token.Headers[0].Key = "Transfer-Encoding" }, "oauth.token.headers[0].key"},
		"a header that repeats":           {func(d *behalf.Definition) { d.OAuth.Token.Headers[0].Key = "Idempotency-Key" }, "oauth.token.headers[0].key"},
		"two headers": {func(d *behalf.Definition) {
			d.OAuth.Token.Headers = append(d.OAuth.Token.Headers, behalf.Param{Key: "x-sign", Value: "1"})
		}, "oauth.token.headers[1].key"},
		"a header with a line break":      {func(d *behalf.Definition) { d.OAuth.Token.Headers[0].Value = "a\r\nb" }, "oauth.token.headers[0].value"},
		"an Authorization that auth sets": {func(d *behalf.Definition) { d.OAuth.Token.Headers[0].Key = "Authorization" }, "oauth.token.headers[0].key"},
		"the body within the body":        {func(d *behalf.Definition) { d.OAuth.TokenParams[0].Value = "{{requestBody}}" }, "oauth.token_params[0].value"},
		"the code at a refresh":           {func(d *behalf.Definition) { d.OAuth.RefreshParams = []behalf.Param{{Key: "a", Value: "{{code}}"}} }, "oauth.refresh_params[0].value"},
		"the code at a step on refresh": {func(d *behalf.Definition) {
			d.OAuth.BeforeToken[0].On, d.OAuth.BeforeToken[0].URL = []string{"refresh"}, "{{region}}/{{code}}"
		}, "oauth.before_token[0].url"},
		"a token before there is one": {func(d *behalf.Definition) {
			d.OAuth.BeforeToken[0].Params = []behalf.Param{{Key: "a", Value: "{{accessToken}}"}}
		}, "oauth.before_token[0].params[0].value"},
		"a step without a URL": {func(d *behalf.Definition) { d.OAuth.AfterToken[0].URL = "" }, "oauth.after_token[0].url"},
		"a secret that the step has sent": {func(d *behalf.Definition) {
			d.OAuth.AfterToken[0].Auth, d.OAuth.AfterToken[0].Params = "post", []behalf.Param{{Key: "client_secret", Value: "{{clientSecret}}"}}
		}, "oauth.after_token[0].params[0].key"},
		"two steps with one name":          {func(d *behalf.Definition) { d.OAuth.AfterToken = append(d.OAuth.AfterToken, d.OAuth.AfterToken[0]) }, "oauth.after_token[1].name"},
		"a step to another host":           {func(d *behalf.Definition) { d.OAuth.AfterToken[0].URL = "https://evil.example/" }, "oauth.after_token[0].url"},
		"a step at an odd time":            {func(d *behalf.Definition) { d.OAuth.AfterToken[0].On = []string{"sunday"} }, "oauth.after_token[0].on[0]"},
		"a token after connecting":         {func(d *behalf.Definition) { d.OAuth.PostConnect[0].Token = true }, "oauth.post_connect[0].token"},
		"a refresh after connecting":       {func(d *behalf.Definition) { d.OAuth.PostConnect[0].On = []string{"refresh"} }, "oauth.post_connect[0].on"},
		"a question before the connection": {func(d *behalf.Definition) { d.OAuth.AfterToken[0].Capture = d.OAuth.PostConnect[0].Capture }, "oauth.after_token[0].capture[0].choose"},
		"a choice without values":          {func(d *behalf.Definition) { d.OAuth.PostConnect[0].Capture[0].Choose.Value = "" }, "oauth.post_connect[0].capture[0].choose.value"},
		"a step's value before the step":   {func(d *behalf.Definition) { d.OAuth.AfterToken[0].URL = "https://api.acorn.example/{{site}}" }, "oauth.after_token[0].url"},
		"too many steps":                   {func(d *behalf.Definition) { d.OAuth.PostConnect = slices.Repeat(d.OAuth.PostConnect, 11) }, "oauth.post_connect"},
		"a slot from nowhere":              {func(d *behalf.Definition) { d.OAuth.Slots[0].Reply.AccessToken = "" }, "oauth.slots[0].reply.access_token"},
		"a slot that is not there":         {func(d *behalf.Definition) { d.AuthorizationFields[1].Value = "{{slots.admin.accessToken}}" }, "authorization_fields[1].value"},
		"two slots with one name":          {func(d *behalf.Definition) { d.OAuth.Slots[1].Name = "user" }, "oauth.slots[1].name"},
		"a token parameter of ours":        {func(d *behalf.Definition) { d.OAuth.TokenParams[0].Key = "client_secret" }, "oauth.token_params[0].key"},
		"a revocation parameter of ours":   {func(d *behalf.Definition) { d.OAuth.Revoke.Params[0].Key = "token_type_hint" }, "oauth.revoke.params[0].key"},
		"a token that is revoked twice":    {func(d *behalf.Definition) { d.OAuth.Revoke.Tokens = []string{"access_token", "access_token"} }, "oauth.revoke.tokens[1]"},
		"a page of a person":               {func(d *behalf.Definition) { d.OAuth.Revoke.ManageURL = "https://acorn.example/{{user}}" }, "oauth.revoke.manage_url"},
		"a page by plain http":             {func(d *behalf.Definition) { d.OAuth.Revoke.ManageURL = "http://acorn.example/" }, "oauth.revoke.manage_url"},
		"a grant that is none":             {func(d *behalf.Definition) { d.OAuth.Refresh.Grant = "magic" }, "oauth.refresh.grant"},
		"a negative buffer":                {func(d *behalf.Definition) { d.OAuth.Refresh.Buffer = -1 }, "oauth.refresh.buffer"},
		"a method of PKCE that is none":    {func(d *behalf.Definition) { d.OAuth.PKCEMethod = "S512" }, "oauth.pkce_method"},
		"an alias with a placeholder":      {func(d *behalf.Definition) { d.OAuth.Authorize.RedirectURI = "{{user}}" }, "oauth.authorize.redirect_uri"},
		"too many rules":                   {func(d *behalf.Definition) { d.OAuth.Token.Errors = slices.Repeat(d.OAuth.Token.Errors, 51) }, "oauth.token.errors"},
		"a function that is misused":       {func(d *behalf.Definition) { d.OAuth.TokenParams[1].Value = "{{substr clientSecret x}}" }, "oauth.token_params[1].value"},
	} {
		t.Run(name, func(t *testing.T) {
			d := odd()
			test.change(&d)
			_, err := behalf.Compile(d)
			if !slices.Contains(fields(err), test.field) {
				t.Fatalf("named %q, not %s: %v", fields(err), test.field, err)
			}
		})
	}
}

func TestKeysInRequestsToTheProviderAreWriteOnly(t *testing.T) {
	d := odd()
	d.OAuth.Token.Headers = []behalf.Param{{Key: "X-Api-Key", Value: "plain-words"}, {Key: "Accept", Value: "application/json"}, {Key: "X-Mixed", Value: "{{clientId}}:a1b2c3d4e5f6g7h8i9j0k1"}}
	d.OAuth.AfterToken[0].Params = []behalf.Param{{Key: "client_secret", Value: "{{clientSecret}}"}, {Key: "app_secret", Value: "hidden"}}
	shown, taken := d.SplitSecrets()
	if fmt.Sprint(shown.OAuth.Token.Headers, shown.OAuth.AfterToken[0].Params) != "[{X-Api-Key } {Accept application/json} {X-Mixed }] [{client_secret {{clientSecret}}} {app_secret }]" || len(taken) != 3 {
		t.Fatal(shown.OAuth.Token.Headers, shown.OAuth.AfterToken[0].Params, len(taken))
	}
	if d.OAuth.Token.Headers[0].Value != "plain-words" {
		t.Fatal("the definition itself was changed")
	}
	if again := shown.JoinSecrets(taken); fmt.Sprint(again.OAuth) != fmt.Sprint(d.OAuth) {
		t.Fatal(again.OAuth.Token.Headers)
	}
	plan := compile(t, d)
	p := behalf.Profile{Definition: d, Plan: plan}
	shown.OAuth.AfterToken[0].URL = "https://login.acorn.example/elsewhere"
	shown.API.AllowedHosts = append(shown.API.AllowedHosts, "more.acorn.example")
	if _, err := p.Edited(shown, nil); !slices.Contains(fields(err), "oauth.token.headers") {
		t.Fatal("a key went with the hosts:", err)
	}
}

func TestWhatIsATokenIsCapturedAsASecret(t *testing.T) {
	shape := func(r behalf.Reply, k behalf.Capture) behalf.Shape {
		k.Name = "kept"
		return behalf.Shape{Reply: r, Capture: []behalf.Capture{k}}
	}
	for name, test := range map[string]struct {
		change func(*behalf.OAuthSettings)
		want   bool
	}{
		"the token again": {func(o *behalf.OAuthSettings) { o.Token = shape(behalf.Reply{}, behalf.Capture{JSON: "/access_token"}) }, true},
		"a part of it": {func(o *behalf.OAuthSettings) {
			o.Token = shape(behalf.Reply{}, behalf.Capture{JSON: "/id_token", Pattern: "^.(.*)$"})
		}, true},
		"where the shape says that it is": {func(o *behalf.OAuthSettings) {
			o.Token = shape(behalf.Reply{AccessToken: "/d/key"}, behalf.Capture{JSON: "/d/key"})
		}, true},
		"where a slot says that it is": {func(o *behalf.OAuthSettings) {
			o.Slots = []behalf.Slot{{Name: "u", Reply: behalf.Reply{AccessToken: "/u/key"}}}
			o.Token = shape(behalf.Reply{}, behalf.Capture{JSON: "/u/key"})
		}, true},
		"one that another reply has below": {func(o *behalf.OAuthSettings) {
			o.Refresh.Shape = shape(behalf.Reply{}, behalf.Capture{JSON: "/data/refresh_token"})
		}, true},
		"the cookies of the reply": {func(o *behalf.OAuthSettings) { o.Token = shape(behalf.Reply{}, behalf.Capture{Header: "set-cookie"}) }, true},
		"what the reply authorizes with": {func(o *behalf.OAuthSettings) {
			o.Token = shape(behalf.Reply{}, behalf.Capture{Header: "Authorization"})
		}, true},
		"an ID token with the code": {func(o *behalf.OAuthSettings) {
			o.Callback.Capture = []behalf.Capture{{Name: "kept", Param: "id_token"}}
		}, true},
		"a list of tokens to choose from": {func(o *behalf.OAuthSettings) {
			o.PostConnect = []behalf.Step{{Name: "s", URL: "https://auth.acorn.example/s", Shape: shape(behalf.Reply{}, behalf.Capture{Choose: &behalf.Choose{Items: "/", Value: "/access_token"}})}}
		}, true},
		"what is none": {func(o *behalf.OAuthSettings) { o.Token = shape(behalf.Reply{}, behalf.Capture{JSON: "/realm"}) }, false},
		"what only has something of a name": {func(o *behalf.OAuthSettings) {
			o.Token = shape(behalf.Reply{}, behalf.Capture{JSON: "/access_token_kind"})
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := acorn()
			test.change(&d.OAuth)
			plan := compile(t, d)
			v := behalf.Values{Plan: plan, Inputs: behalf.Inputs{Captured: map[string]string{"kept": "x"}}}
			cfg, err := plan.Config(v, "https://behalf.example/cb", secret.New("s3cret"), time.Now)
			if err != nil {
				t.Fatal(err)
			}
			all := slices.Concat(cfg.CallbackShape.Capture, cfg.TokenShape.Capture, cfg.RefreshShape.Capture)
			for _, s := range cfg.PostConnect {
				all = append(all, s.Capture...)
			}
			if len(all) == 0 || slices.ContainsFunc(all, func(k oauth.Capture) bool { return k.Secret != test.want }) || v.Facts()["kept"].Secret != test.want {
				t.Fatalf("captured %+v, known %+v", all, v.Facts())
			}
			told := slices.ContainsFunc(behalf.Lint(d, behalf.Known{}), func(w behalf.Warning) bool { return w.Code == "captured_secret" })
			if told != test.want {
				t.Fatal("the linter:", told)
			}
		})
	}
}

func TestASecretMovesWithTheStepThatCanSendIt(t *testing.T) {
	old, next := acorn(), acorn()
	old.API.AllowedHosts = []string{"auth.acorn.example", "api.acorn.example"}
	next.API.AllowedHosts = old.API.AllowedHosts
	next.OAuth.AfterToken = []behalf.Step{{Name: "extend", URL: "https://api.acorn.example/extend"}}
	if !compile(t, old).SecretMoves(compile(t, next)) || compile(t, old).SecretMoves(compile(t, old)) {
		t.Fatal("the client secret went to another host unseen")
	}
}

func TestACredentialEndsWithTheFirstOfItsTokens(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	for _, test := range []struct {
		name        string
		c           behalf.Credential
		ends        time.Time
		refreshable bool
	}{
		{"one token", behalf.Credential{ExpiresAt: at(50), ObtainedAt: at(1), RefreshToken: secret.New("r")}, at(50), true},
		{"a slot that ends first", behalf.Credential{ExpiresAt: at(50), ObtainedAt: at(1), Slots: map[string]behalf.Slotted{"user": {ExpiresAt: at(40), RefreshToken: secret.New("u")}, "x": {}}}, at(40), true},
		{"a slot that nothing renews", behalf.Credential{ExpiresAt: at(50), ObtainedAt: at(1), Slots: map[string]behalf.Slotted{"user": {ExpiresAt: at(40)}}}, at(50), false},
		{"a derived slot where the other never ends", behalf.Credential{ObtainedAt: at(1), Slots: map[string]behalf.Slotted{"user": {ExpiresAt: at(40), Derived: true}}}, at(40), false},
		{"one whose steps are not made", behalf.Credential{ExpiresAt: at(50), ObtainedAt: at(1), Unfinished: true}, at(1), false},
		{"one that renews itself", behalf.Credential{ObtainedAt: at(1), Renewal: behalf.RenewByAccessToken}, time.Time{}, true},
		{"one that is asked for again", behalf.Credential{ObtainedAt: at(1), Renewal: behalf.RenewByReissue}, time.Time{}, true},
		{"one that is never renewed", behalf.Credential{ObtainedAt: at(1), Renewal: behalf.RenewNever, RefreshToken: secret.New("r")}, time.Time{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			ends, _ := test.c.Ends()
			if !ends.Equal(test.ends) || test.c.Refreshable() != test.refreshable {
				t.Fatal(ends, test.c.Refreshable())
			}
		})
	}
}

func TestTheTokenThatEndsFirstIsRenewedFirst(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	r := secret.New("r")
	both := behalf.Credential{RefreshToken: r, ExpiresAt: at(50), ObtainedAt: at(1), Slots: map[string]behalf.Slotted{"user": {RefreshToken: r, ExpiresAt: at(40), ObtainedAt: at(2)}, "admin": {RefreshToken: r, ExpiresAt: at(60), ObtainedAt: at(3)}}}
	for _, test := range []struct {
		name   string
		c      behalf.Credential
		all    bool
		before time.Time
		want   string
	}{
		{"one token", behalf.Credential{RefreshToken: r}, false, time.Time{}, "/true"},
		{"nothing to renew with", behalf.Credential{}, false, time.Time{}, "/false"},
		{"a slot that ends first", both, false, time.Time{}, "user/true"},
		{"a slot that never ends", behalf.Credential{RefreshToken: r, ExpiresAt: at(5), Slots: map[string]behalf.Slotted{"user": {RefreshToken: r}}}, false, time.Time{}, "/true"},
		{"a slot alone can be renewed", behalf.Credential{ExpiresAt: at(5), Slots: map[string]behalf.Slotted{"user": {RefreshToken: r, ExpiresAt: at(9)}}}, false, time.Time{}, "user/true"},
		{"a derived slot is renewed with the grant", behalf.Credential{RefreshToken: r, ExpiresAt: at(50), Slots: map[string]behalf.Slotted{"graph": {Derived: true, ExpiresAt: at(40)}}}, false, time.Time{}, "/true"},
		{"all: the grant's own first", both, true, at(10), "/true"},
		{"all: then a slot", func() behalf.Credential { c := both; c.ObtainedAt = at(11); return c }(), true, at(10), "admin/true"},
		{"all: until each is new", both, true, at(1), "/false"},
	} {
		t.Run(test.name, func(t *testing.T) {
			slot, ok := test.c.Next(test.all, test.before)
			if got := fmt.Sprintf("%s/%v", slot, ok); got != test.want {
				t.Fatal(got)
			}
		})
	}
	renewed := both.Renewed("user", behalf.Credential{AccessToken: secret.New("new"), ObtainedAt: at(41), ExpiresAt: at(80), Captured: map[string]string{"a": "b"}})
	if s := renewed.Slots["user"]; s.AccessToken.Reveal() != "new" || s.RefreshToken.Empty() || renewed.Slots["admin"].ExpiresAt != at(60) || renewed.ExpiresAt != at(50) || renewed.Captured["a"] != "b" || !both.Slots["user"].AccessToken.Empty() {
		t.Fatal(renewed, both)
	}
}

func TestTheWorkedExampleOfTheManualCompiles(t *testing.T) {
	manual, err := os.ReadFile("docs/profiles.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(manual), "A worked example:")
	_, rest, _ = strings.Cut(rest, "```json\n")
	example, _, _ := strings.Cut(rest, "```")
	var d behalf.Definition
	read := json.NewDecoder(strings.NewReader(example))
	read.DisallowUnknownFields()
	if err := read.Decode(&d); err != nil {
		t.Fatal(err)
	}
	if plan := compile(t, d); len(plan.OAuth.PostConnect) != 1 {
		t.Fatal("the example lost its step")
	}
}
