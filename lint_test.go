package behalf_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/behalf-dev/behalf"
)

// spotless is a definition of which nothing is to be said.
func spotless() behalf.Definition {
	return behalf.Definition{
		Type: behalf.OAuth2, Name: "Acorn", Provider: "Acorn Notes", ClientID: "0a1b.apps-2c",
		AuthorizationURL: "https://{tenant}.acorn.example/authorize?prompt=consent", TokenURL: "https://{tenant}.acorn.example/token", CheckURL: "https://api.acorn.example/me?account={{account}}",
		Scope:            []behalf.ScopeParam{{Key: "scope", Value: "openid notes:read offline_access", Required: true}, {Key: "audience", Value: "notes"}},
		Tenancy:          &behalf.Tenancy{BaseURL: "https://{tenant}.acorn.example"},
		AdditionalFields: []behalf.AdditionalField{{Key: "account"}, {Key: "pin", Type: behalf.FieldPassword}},
		AuthorizationFields: []behalf.AuthorizationField{
			{In: behalf.InHeader, Key: "X-Pin", Value: "{{authfield2}}", Secret: true}, {In: behalf.InHeader, Key: "Acorn-Version", Value: "2022-06-28"},
			{In: behalf.InHeader, Key: "X-Api-Key", Value: "0a1b2c3d4e5f6a7b8c9d0a1b", Secret: true},
			{In: behalf.InHeader, Key: "Accept", Value: "application/vnd.acorn.notes+json; version=2"},
		},
		API: behalf.API{BaseURL: "https://api.acorn.example/v1", AllowedHosts: []string{"*.acorn.example", "api.acorn.example"}},
		OAuth: behalf.OAuthSettings{Issuer: "https://id.acorn.example", JWKSURL: "https://api.acorn.example/keys", RevocationURL: "https://api.acorn.example/revoke",
			TokenLifetime: 3600, Refresh: behalf.Refresh{Rotates: "yes", ReplayWindow: 10}},
	}
}

var lintCases = []struct {
	name   string
	change func(*behalf.Definition)
	known  behalf.Known
	want   string // "field code", separated by commas; empty: nothing to say
}{
	{"nothing to say", func(d *behalf.Definition) {}, behalf.Known{}, ""},
	{"a provider that gives refresh tokens unasked", func(d *behalf.Definition) { d.Scope[0].Value = "openid" }, behalf.Known{Unasked: true}, ""},
	{"an OpenID profile without offline access", func(d *behalf.Definition) { d.Scope[0].Value = "openid" }, behalf.Known{}, "scope no_refresh_token"},
	{"offline access that is offered and not asked for", func(d *behalf.Definition) { d.Scope[0].Value = "openid" }, behalf.Known{ScopesSupported: []string{"openid", "offline_access"}}, "scope no_refresh_token"},
	{"offline access that is not offered", func(d *behalf.Definition) { d.Scope[0].Value = "openid" }, behalf.Known{ScopesSupported: []string{"openid"}}, ""},
	{"a provider that wants a parameter for it", func(d *behalf.Definition) {}, behalf.Known{Offline: []behalf.Param{{Key: "access_type", Value: "offline"}}}, "oauth.authorization_params no_refresh_token"},
	{"a provider that wants another scope for it", func(d *behalf.Definition) {}, behalf.Known{Offline: []behalf.Param{{Key: "scope", Value: "full"}}}, "scope no_refresh_token"},
	{"the parameter among the extra ones", func(d *behalf.Definition) {
		d.Scope[0].Value = "openid"
		d.OAuth.AuthorizationParams = []behalf.Param{{Key: "access_type", Value: "offline"}}
	}, behalf.Known{Offline: []behalf.Param{{Key: "access_type", Value: "offline"}}}, ""},
	{"the parameter in the Scope table", func(d *behalf.Definition) {
		d.Scope[0].Value, d.Scope[1] = "openid", behalf.ScopeParam{Key: "duration", Value: "permanent"}
	}, behalf.Known{}, ""},
	{"the parameter in the URL", func(d *behalf.Definition) {
		d.Scope[0].Value = "openid"
		d.AuthorizationURL = "https://x.acorn.example/a?access_type=offline"
	}, behalf.Known{}, ""},
	{"plain OAuth without a word of offline", func(d *behalf.Definition) { d.Scope[0].Value, d.OAuth.Issuer = "notes:read", "" }, behalf.Known{}, ""},
	{"the implicit response", func(d *behalf.Definition) { d.OAuth.ResponseType, d.Scope[0].Value = "token", "openid" }, behalf.Known{}, "oauth.response_type implicit_response"},
	{"PKCE, of which the implicit response has none", func(d *behalf.Definition) { d.OAuth.ResponseType, d.OAuth.PKCE = "token", behalf.PKCEOff }, behalf.Known{}, "oauth.response_type implicit_response"},
	{"PKCE off", func(d *behalf.Definition) { d.OAuth.PKCE = behalf.PKCEOff }, behalf.Known{}, "oauth.pkce pkce_off"},
	{"a hard-coded state", func(d *behalf.Definition) { d.AuthorizationURL += "&state=1" }, behalf.Known{}, "authorization_url state_hard_coded"},
	{"a hard-coded state behind a semicolon, escaped", func(d *behalf.Definition) { d.AuthorizationURL += ";st%61te=1" }, behalf.Known{}, "authorization_url state_hard_coded"},
	{"other parameters of ours", func(d *behalf.Definition) { d.AuthorizationURL += "&client_id=x&scope=y&nonce" }, behalf.Known{},
		"authorization_url parameter_overridden, authorization_url parameter_overridden, authorization_url parameter_overridden"},
	{"scope as an extra parameter", func(d *behalf.Definition) { d.OAuth.AuthorizationParams = []behalf.Param{{Key: "scope", Value: "x"}} }, behalf.Known{},
		"oauth.authorization_params[0].key parameter_overridden"},
	{"a scope in the URL and none in the table", func(d *behalf.Definition) { d.AuthorizationURL += "&scope=y"; d.Scope, d.OAuth.Issuer = nil, "" }, behalf.Known{}, ""},
	{"commas where spaces separate", func(d *behalf.Definition) { d.Scope[0].Value = "openid,offline_access read" }, behalf.Known{},
		"oauth.issuer issuer_without_openid, scope[0].value scope_separator"},
	{"spaces where commas separate", func(d *behalf.Definition) {
		d.OAuth.ScopeSeparator, d.Scope[0].Value = ",", "read write,openid,offline_access"
	}, behalf.Known{}, "scope[0].value scope_separator"},
	{"spaces where something else separates", func(d *behalf.Definition) {
		d.OAuth.ScopeSeparator, d.Scope[0].Value = "+", "read write+openid+offline_access"
	}, behalf.Known{}, "scope[0].value scope_separator"},
	{"commas where commas separate", func(d *behalf.Definition) {
		d.OAuth.ScopeSeparator, d.Scope[0].Value = ",", "read,openid,offline_access"
	}, behalf.Known{}, ""},
	{"a scope that is not offered", func(d *behalf.Definition) { d.Scope[0].Required = false }, behalf.Known{ScopesSupported: []string{"openid", "offline_access"}}, "scope[0].value scope_not_offered"},
	{"a required scope that is not offered", func(d *behalf.Definition) {}, behalf.Known{ScopesSupported: []string{"openid", "offline_access"}}, "scope[0].value scope_not_offered"},
	{"scopes that only the connection knows", func(d *behalf.Definition) {
		d.Scope = append(d.Scope, behalf.ScopeParam{Key: "scope", Value: `{{default account "a,b"}}`})
	}, behalf.Known{ScopesSupported: []string{"openid", "notes:read", "offline_access"}}, ""},
	{"a required parameter", func(d *behalf.Definition) { d.Scope[1].Required = true }, behalf.Known{}, "scope[1].required required_ignored"},
	{"an issuer without openid", func(d *behalf.Definition) { d.Scope[0].Value = "offline_access" }, behalf.Known{}, "oauth.issuer issuer_without_openid"},
	{"an issuer for iss alone", func(d *behalf.Definition) { d.Scope[0].Value, d.OAuth.RequireIss = "offline_access", true }, behalf.Known{}, ""},
	{"openid without an issuer", func(d *behalf.Definition) { d.OAuth.Issuer = "" }, behalf.Known{}, "oauth.issuer openid_without_issuer"},
	{"nothing that tries the token", func(d *behalf.Definition) { d.CheckURL, d.AdditionalFields = "", d.AdditionalFields[:0] }, behalf.Known{}, "check_url token_not_checked"},
	{"userinfo tries it", func(d *behalf.Definition) {
		d.CheckURL, d.OAuth.UserinfoURL = "", "https://api.acorn.example/userinfo?a={{account}}"
	}, behalf.Known{}, ""},
	{"no lifetime of a server that is not OpenID's", func(d *behalf.Definition) {
		d.OAuth.TokenLifetime, d.OAuth.Issuer, d.Scope[0].Value = 0, "", "read"
	}, behalf.Known{}, "oauth.token_lifetime token_lifetime_unknown"},
	{"a min_age that never passes", func(d *behalf.Definition) { d.OAuth.Refresh.MinAge = 3600 }, behalf.Known{}, "oauth.refresh.min_age min_age_exceeds_lifetime"},
	{"rotation without a replay window", func(d *behalf.Definition) { d.OAuth.Refresh.ReplayWindow = 0 }, behalf.Known{}, "oauth.refresh.replay_window replay_window_unknown"},
	{"no revocation", func(d *behalf.Definition) { d.OAuth.RevocationURL = "" }, behalf.Known{}, "oauth.revocation_url revocation_missing"},
	{"a colon in the id, sent raw", func(d *behalf.Definition) { d.ClientID, d.OAuth.BasicRaw = "a:b", true }, behalf.Known{}, "client_id basic_raw_ambiguous"},
	{"an id that Basic encodes", func(d *behalf.Definition) { d.ClientID = "a+b" }, behalf.Known{}, "client_id basic_encoding"},
	{"an id that the body encodes", func(d *behalf.Definition) { d.ClientID, d.OAuth.ClientAuth = "a+b:c", behalf.ClientAuthPost }, behalf.Known{}, ""},
	{"raw Basic that is not sent", func(d *behalf.Definition) { d.OAuth.BasicRaw, d.OAuth.ClientAuth = true, behalf.ClientAuthPost }, behalf.Known{}, "oauth.basic_raw basic_raw_ignored"},
	{"plain http", func(d *behalf.Definition) { d.API.BaseURL = "http://api.acorn.example/" }, behalf.Known{}, "api.base_url plain_http"},
	{"plain http on this machine", func(d *behalf.Definition) {
		d.API.BaseURL, d.API.AllowedHosts = "http://127.0.0.1:8080/", append(d.API.AllowedHosts, "127.0.0.1:8080")
		d.TokenURL, d.OAuth.RevocationURL = "http://[::1]:1/", "http://localhost/"
	}, behalf.Known{}, ""},
	{"an allowed host that no URL has", func(d *behalf.Definition) { d.API.AllowedHosts = append(d.API.AllowedHosts, "*.example.net") }, behalf.Known{}, "api.allowed_hosts[2] allowed_hosts_wide"},
	{"an allowed host in other letters", func(d *behalf.Definition) { d.API.AllowedHosts[1] = "API.Acorn.Example" }, behalf.Known{}, ""},
	{"no API", func(d *behalf.Definition) { d.API, d.Tenancy = behalf.API{}, nil }, behalf.Known{}, "api.base_url api_base_url_missing"},
	{"a token that is sent nowhere", func(d *behalf.Definition) { d.SendToken = new(bool) }, behalf.Known{}, "authorization_fields token_not_sent"},
	{"a token that an authorization field sends", func(d *behalf.Definition) {
		d.SendToken = new(bool)
		d.AuthorizationFields = append(d.AuthorizationFields, behalf.AuthorizationField{In: behalf.InQuery, Key: "t", Value: "{{accessToken}}"})
	}, behalf.Known{}, ""},
	{"a secret under a name that says so", func(d *behalf.Definition) { d.AuthorizationFields[1].Key = "X-API-Key" }, behalf.Known{}, "authorization_fields[1].secret secret_in_plain_field"},
	{"a secret that looks like one", func(d *behalf.Definition) { d.AuthorizationFields[1].Value = "v1 sk_live_0a1b2c3d4e5f6a7b8c9d" }, behalf.Known{}, "authorization_fields[1].secret secret_in_plain_field"},
	{"a scheme before a placeholder is no secret", func(d *behalf.Definition) {
		d.AuthorizationFields[1] = behalf.AuthorizationField{In: behalf.InHeader, Key: "Authorization", Value: "Token {{accessToken}}"}
	}, behalf.Known{}, ""},
	{"a password that nothing uses", func(d *behalf.Definition) { d.AuthorizationFields = nil }, behalf.Known{}, "additional_fields[1] password_field_unused"},
	{"a text that nothing uses", func(d *behalf.Definition) { d.CheckURL = "https://api.acorn.example/me" }, behalf.Known{}, "additional_fields[0] field_unused"},
	{"a state that is not read back", func(d *behalf.Definition) { d.OAuth.Authorize.Rename = map[string]string{"state": "x"} }, behalf.Known{}, "oauth.callback.state_param state_not_read"},
	{"a plain challenge", func(d *behalf.Definition) { d.OAuth.PKCEMethod = "plain" }, behalf.Known{}, "oauth.pkce_method pkce_plain"},
	{"a token that renews itself too late", func(d *behalf.Definition) { d.OAuth.Refresh.Grant = "access_token" }, behalf.Known{}, "oauth.refresh.buffer renewal_too_late"},
	{"a buffer longer than the life", func(d *behalf.Definition) { d.OAuth.TokenLifetime, d.OAuth.Refresh.Buffer = 600, 600 }, behalf.Known{}, "oauth.refresh.buffer buffer_exceeds_lifetime"},
	{"a captured value that nothing uses", func(d *behalf.Definition) {
		d.OAuth.Callback.Capture = []behalf.Capture{{Name: "realm", Param: "realmId"}}
	}, behalf.Known{}, "oauth.callback.capture[0] captured_unused"},
	{"a token that is captured in the open", func(d *behalf.Definition) {
		d.OAuth.Callback.Capture = []behalf.Capture{{Name: "early", Param: "id_token"}}
		d.OAuth.TokenParams = []behalf.Param{{Key: "early", Value: "{{early}}"}}
	}, behalf.Known{}, "oauth.callback.capture[0].secret captured_secret"},
	{"an empty form", func(d *behalf.Definition) { *d = behalf.Definition{} }, behalf.Known{},
		"oauth.token_lifetime token_lifetime_unknown, oauth.revocation_url revocation_missing, check_url token_not_checked, api.base_url api_base_url_missing"},
	{"an API key has none of OAuth's mistakes", func(d *behalf.Definition) {
		*d = behalf.Definition{Type: behalf.APIKey, SendToken: new(bool), AuthorizationFields: []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-Api-Key", Value: "{{key}}"}}, CheckURL: "https://a.example/me", API: behalf.API{BaseURL: "https://a.example"}}
	}, behalf.Known{}, ""},
	{"client credentials have no browser", func(d *behalf.Definition) {
		d.Type, d.Scope[0].Value, d.OAuth.PKCE, d.AuthorizationURL = behalf.OAuth2ClientCredentials, "read", behalf.PKCEOff, ""
	}, behalf.Known{}, ""},
	{"what cannot be read is left to Compile", func(d *behalf.Definition) {
		d.AuthorizationURL, d.TokenURL, d.AuthorizationFields[1].Value = "::{{", "http://%zz", "{{"
	}, behalf.Known{}, ""},
}

func TestTheLinterSaysWhatIsProbablyNotMeant(t *testing.T) {
	for _, test := range lintCases {
		t.Run(test.name, func(t *testing.T) {
			d := spotless()
			test.change(&d)
			var got []string
			for _, w := range behalf.Lint(d, test.known) {
				got = append(got, w.Field+" "+string(w.Code))
				if !strings.HasSuffix(w.Message, ".") || !strings.HasSuffix(w.Fix, ".") {
					t.Errorf("not sentences: %+v", w)
				}
			}
			if s := strings.Join(got, ", "); s != test.want {
				t.Errorf("said %q, want %q", s, test.want)
			}
		})
	}
}

func TestEveryWarningHasACaseThatMakesIt(t *testing.T) {
	made := map[string]bool{}
	for _, test := range lintCases {
		d := spotless()
		test.change(&d)
		for _, w := range behalf.Lint(d, test.known) {
			made[string(w.Code)] = true
		}
	}
	if want, got := warningCodes(t), slices.Sorted(maps.Keys(made)); !slices.Equal(got, want) {
		t.Errorf("made are\n%q, there are\n%q", got, want)
	}
}

// warningCodes reads the constants out of the source.
func warningCodes(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "lint.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 || !strings.HasPrefix(v.Names[0].Name, "Warn") {
			return true
		}
		if lit, ok := v.Values[0].(*ast.BasicLit); ok {
			code, _ := strconv.Unquote(lit.Value)
			codes = append(codes, code)
		}
		return true
	})
	slices.Sort(codes)
	return codes
}

func TestNoWarningHoldsAValue(t *testing.T) {
	const value = "0a1b2c3d4e5f6a7b8c9d0e1f"
	d := spotless()
	d.AuthorizationURL = "http://" + value + ".example/?state=" + value + "&client_id=" + value
	d.ClientID, d.Scope[0].Value = value+":+", value+","+value
	d.AuthorizationFields[1].Value = value
	d.AdditionalFields[0].Value, d.AdditionalFields[0].Key = value, "a"+value
	d.API.AllowedHosts = []string{value + ".example"}
	warnings := behalf.Lint(d, behalf.Known{ScopesSupported: []string{"x"}})
	if len(warnings) < 6 {
		t.Fatalf("only %d warnings", len(warnings))
	}
	for _, w := range warnings {
		if strings.Contains(w.Field+w.Message+w.Fix, value) {
			t.Errorf("%+v", w)
		}
	}
}
