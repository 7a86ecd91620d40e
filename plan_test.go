package behalf_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
)

// acorn is a definition that is right; tests spoil it.
func acorn() behalf.Definition {
	return behalf.Definition{Type: behalf.OAuth2, Name: "Acorn", Provider: "Acorn Notes", ClientID: "bot",
		AuthorizationURL: "https://auth.acorn.example/authorize", TokenURL: "https://auth.acorn.example/token",
		Scope: []behalf.ScopeParam{{Key: "scope", Value: "notes:read offline_access"}},
		API:   behalf.API{BaseURL: "https://api.acorn.example/v1"}}
}

// tenanted is one with a tenant in the host of its API.
func tenanted() behalf.Definition {
	d := acorn()
	d.Tenancy = &behalf.Tenancy{BaseURL: "https://{tenant}.acorn.example"}
	d.API.BaseURL = "https://{tenant}.acorn.example/v1"
	return d
}

func compile(t *testing.T, d behalf.Definition) *behalf.Plan {
	t.Helper()
	p, err := behalf.Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// fields returns the fields that an error names.
func fields(err error) []string {
	var e *behalf.Error
	if !errors.As(err, &e) || e.Code != behalf.CodeInvalid {
		return nil
	}
	var names []string
	for _, f := range e.Fields {
		names = append(names, f.Field)
	}
	if len(e.Fields) == 0 {
		names = append(names, e.Field)
	}
	return names
}

func TestADefinitionThatIsRightCompiles(t *testing.T) {
	sendToken := false
	for name, change := range map[string]func(*behalf.Definition){
		"as it is":      func(*behalf.Definition) {},
		"with a tenant": func(d *behalf.Definition) { *d = tenanted() },
		"several fields": func(d *behalf.Definition) {
			d.AdditionalFields = []behalf.AdditionalField{{Key: "pin"}, {Key: "region_2"}}
		},
		"authfieldN": func(d *behalf.Definition) {
			d.AdditionalFields, d.CheckURL = []behalf.AdditionalField{{Key: "pin"}}, "https://api.acorn.example/{{authfield1}}"
		},
		"implicit":        func(d *behalf.Definition) { d.OAuth.ResponseType, d.TokenURL = "token", "" },
		"without a token": func(d *behalf.Definition) { d.SendToken = &sendToken },
		"OpenID": func(d *behalf.Definition) {
			d.Scope[0].Value, d.OAuth.Issuer, d.OAuth.JWKSURL = "openid", "https://auth.acorn.example", "https://auth.acorn.example/jwks"
		},
		"an issuer apart": func(d *behalf.Definition) { d.OAuth.Issuer = "https://issuer.elsewhere.example/x" },
		"scope and method": func(d *behalf.Definition) {
			d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-A", Value: "1", Methods: []string{"GET"}}, {In: behalf.InHeader, Key: "X-A", Value: "2", Methods: []string{"POST"}}}
		},
		"listed tenants": func(d *behalf.Definition) {
			*d = tenanted()
			d.Tenancy.BaseURL, d.API.BaseURL, d.Tenancy.Allowed = "https://acorn.{tenant}", "https://acorn.{tenant}", []string{"com", "co.uk"}
			d.API.AllowedHosts = []string{"acorn.com", "acorn.co.uk", "auth.acorn.example"}
		},
		"at every limit": func(d *behalf.Definition) {
			d.Name, d.Provider, d.ClientID = strings.Repeat("ü", 255), strings.Repeat("p", 255), strings.Repeat("c", 255)
			d.Description = strings.Repeat("d", 4000)
			d.TokenURL = long("https://auth.acorn.example/", 3000)
			d.AuthorizationURL, d.RefreshURL, d.CheckURL = d.TokenURL, d.TokenURL, d.TokenURL
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := acorn()
			change(&d)
			compile(t, d)
		})
	}
}

// long pads a URL's path to n characters.
func long(url string, n int) string { return url + strings.Repeat("x", n-len(url)) }

func TestWhatIsWrongWithADefinitionIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*behalf.Definition)
		field  string
	}{
		"no type":                      {func(d *behalf.Definition) { d.Type = "" }, "type"},
		"a type of a later version":    {func(d *behalf.Definition) { d.Type = behalf.OAuth2Device }, "type"},
		"an unknown type":              {func(d *behalf.Definition) { d.Type = "oauth3" }, "type"},
		"no name":                      {func(d *behalf.Definition) { d.Name = "" }, "name"},
		"a blank name":                 {func(d *behalf.Definition) { d.Name = " \u00a0 " }, "name"},
		"a name of 256":                {func(d *behalf.Definition) { d.Name = strings.Repeat("ü", 256) }, "name"},
		"a name of two lines":          {func(d *behalf.Definition) { d.Name = "a\nb" }, "name"},
		"a name with a NUL":            {func(d *behalf.Definition) { d.Name = "a\x00b" }, "name"},
		"a name that is not UTF-8":     {func(d *behalf.Definition) { d.Name = "a\xff" }, "name"},
		"no provider":                  {func(d *behalf.Definition) { d.Provider = "" }, "provider"},
		"a provider of 256":            {func(d *behalf.Definition) { d.Provider = strings.Repeat("p", 256) }, "provider"},
		"no client id":                 {func(d *behalf.Definition) { d.ClientID = "" }, "client_id"},
		"a client id of 256":           {func(d *behalf.Definition) { d.ClientID = strings.Repeat("c", 256) }, "client_id"},
		"a description of 4001":        {func(d *behalf.Definition) { d.Description = strings.Repeat("d", 4001) }, "description"},
		"a description with escape":    {func(d *behalf.Definition) { d.Description = "\x1b[31m" }, "description"},
		"no authorization URL":         {func(d *behalf.Definition) { d.AuthorizationURL = "" }, "authorization_url"},
		"an authorization URL of 3001": {func(d *behalf.Definition) { d.AuthorizationURL = long("https://auth.acorn.example/", 3001) }, "authorization_url"},
		"a relative authorization URL": {func(d *behalf.Definition) { d.AuthorizationURL = "/authorize" }, "authorization_url"},
		"javascript":                   {func(d *behalf.Definition) { d.AuthorizationURL = "javascript:alert(1)" }, "authorization_url"},
		"user information":             {func(d *behalf.Definition) { d.AuthorizationURL = "https://u:p@auth.acorn.example/" }, "authorization_url"},
		"no token URL":                 {func(d *behalf.Definition) { d.TokenURL = "" }, "token_url"},
		"a token URL of 3001":          {func(d *behalf.Definition) { d.TokenURL = long("https://auth.acorn.example/", 3001) }, "token_url"},
		"a file":                       {func(d *behalf.Definition) { d.TokenURL = "file:///etc/passwd" }, "token_url"},
		"a decimal address":            {func(d *behalf.Definition) { d.TokenURL = "https://2130706433/token" }, "token_url"},
		"a placeholder for the host": {func(d *behalf.Definition) {
			d.AdditionalFields, d.TokenURL = []behalf.AdditionalField{{Key: "host"}}, "https://{{host}}/token"
		}, "token_url"},
		"a placeholder for a domain": {func(d *behalf.Definition) {
			d.AdditionalFields, d.TokenURL = []behalf.AdditionalField{{Key: "host"}}, "https://api.{{host}}.example/token"
		}, "token_url"},
		"a refresh URL of 3001":       {func(d *behalf.Definition) { d.RefreshURL = long("https://auth.acorn.example/", 3001) }, "refresh_url"},
		"a check URL of 3001":         {func(d *behalf.Definition) { d.CheckURL = long("https://api.acorn.example/", 3001) }, "check_url"},
		"a check URL that is none":    {func(d *behalf.Definition) { d.CheckURL = "https://api.acorn.example:port/" }, "check_url"},
		"an unknown placeholder":      {func(d *behalf.Definition) { d.CheckURL = "https://api.acorn.example/{{pin}}" }, "check_url"},
		"a token in a URL":            {func(d *behalf.Definition) { d.CheckURL = "https://api.acorn.example/{{accessToken}}" }, "check_url"},
		"a tenant without tenancy":    {func(d *behalf.Definition) { d.CheckURL = "https://api.acorn.example/{tenant}" }, "check_url"},
		"an unclosed placeholder":     {func(d *behalf.Definition) { d.TokenURL = "https://auth.acorn.example/{{pin" }, "token_url"},
		"an unknown mode":             {func(d *behalf.Definition) { d.Mode = "anybody" }, "mode"},
		"a connector":                 {func(d *behalf.Definition) { s := "Office!"; d.Connector = &s }, "connector"},
		"a scope row without a key":   {func(d *behalf.Definition) { d.Scope[0].Key = "" }, "scope[0].key"},
		"a scope row without a value": {func(d *behalf.Definition) { d.Scope[0].Value = " " }, "scope[0].value"},
		"a scope row that is ours":    {func(d *behalf.Definition) { d.Scope = append(d.Scope, behalf.ScopeParam{Key: "state", Value: "x"}) }, "scope[1].key"},
		"a scope of 4001":             {func(d *behalf.Definition) { d.Scope[0].Value = strings.Repeat("s", 4001) }, "scope[0].value"},
		"an unknown name in a scope":  {func(d *behalf.Definition) { d.Scope[0].Value = "{{pin}}" }, "scope[0].value"},
		"a parameter that is ours": {func(d *behalf.Definition) {
			d.OAuth.AuthorizationParams = []behalf.Param{{Key: "code_challenge", Value: "x"}}
		}, "oauth.authorization_params[0].key"},
		"a parameter of the token":     {func(d *behalf.Definition) { d.OAuth.TokenParams = []behalf.Param{{Key: "code", Value: "x"}} }, "oauth.token_params[0].key"},
		"a parameter of the refresh":   {func(d *behalf.Definition) { d.OAuth.RefreshParams = []behalf.Param{{Key: "a&b", Value: "x"}} }, "oauth.refresh_params[0].key"},
		"an unknown name there":        {func(d *behalf.Definition) { d.OAuth.RefreshParams = []behalf.Param{{Key: "a", Value: "{{x}}"}} }, "oauth.refresh_params[0].value"},
		"client_auth":                  {func(d *behalf.Definition) { d.OAuth.ClientAuth = "tls" }, "oauth.client_auth"},
		"pkce":                         {func(d *behalf.Definition) { d.OAuth.PKCE = "plain" }, "oauth.pkce"},
		"response_type":                {func(d *behalf.Definition) { d.OAuth.ResponseType = "id_token" }, "oauth.response_type"},
		"token_body":                   {func(d *behalf.Definition) { d.OAuth.TokenBody = "xml" }, "oauth.token_body"},
		"rotates":                      {func(d *behalf.Definition) { d.OAuth.Refresh.Rotates = "maybe" }, "oauth.refresh.rotates"},
		"two separators":               {func(d *behalf.Definition) { d.OAuth.ScopeSeparator = ", " }, "oauth.scope_separator"},
		"a separator that is a line":   {func(d *behalf.Definition) { d.OAuth.ScopeSeparator = "\n" }, "oauth.scope_separator"},
		"a negative lifetime":          {func(d *behalf.Definition) { d.OAuth.TokenLifetime = -1 }, "oauth.token_lifetime"},
		"a lifetime of a century":      {func(d *behalf.Definition) { d.OAuth.TokenLifetime = 100 * 365 * 24 * 3600 }, "oauth.token_lifetime"},
		"a negative replay window":     {func(d *behalf.Definition) { d.OAuth.Refresh.ReplayWindow = -1 }, "oauth.refresh.replay_window"},
		"a negative minimum age":       {func(d *behalf.Definition) { d.OAuth.Refresh.MinAge = -1 }, "oauth.refresh.min_age"},
		"require_iss without issuer":   {func(d *behalf.Definition) { d.OAuth.RequireIss = true }, "oauth.issuer"},
		"openid without keys":          {func(d *behalf.Definition) { d.OAuth.Issuer, d.Scope[0].Value = "https://auth.acorn.example", "openid" }, "oauth.jwks_url"},
		"an issuer that is none":       {func(d *behalf.Definition) { d.OAuth.Issuer = "acorn" }, "oauth.issuer"},
		"a revocation URL":             {func(d *behalf.Definition) { d.OAuth.RevocationURL = "ftp://auth.acorn.example" }, "oauth.revocation_url"},
		"a userinfo URL":               {func(d *behalf.Definition) { d.OAuth.UserinfoURL = "x" }, "oauth.userinfo_url"},
		"a host that is not allowed":   {func(d *behalf.Definition) { d.API.AllowedHosts = []string{"api.acorn.example"} }, "token_url"},
		"an allowed host that is none": {func(d *behalf.Definition) { d.API.AllowedHosts = []string{"*.example"} }, "api.allowed_hosts"},
		"every host allowed":           {func(d *behalf.Definition) { d.API.AllowedHosts = []string{"*"} }, "api.allowed_hosts"},
		"an API URL that is none":      {func(d *behalf.Definition) { d.API.BaseURL = "api.acorn.example" }, "api.base_url"},
		"a captured origin": {func(d *behalf.Definition) {
			d.AdditionalFields, d.API.BaseURL = []behalf.AdditionalField{{Key: "instance"}}, "{{instance}}/v1"
		}, "api.allowed_hosts"},
		"listed tenants, no hosts": {func(d *behalf.Definition) {
			*d = tenanted()
			d.API.BaseURL, d.Tenancy.Allowed = "https://acorn.{tenant}", []string{"com"}
		}, "api.allowed_hosts"},
		"tenancy without URL":         {func(d *behalf.Definition) { d.Tenancy = &behalf.Tenancy{} }, "tenancy.base_url"},
		"tenancy without {tenant}":    {func(d *behalf.Definition) { d.Tenancy = &behalf.Tenancy{BaseURL: "https://acorn.example"} }, "tenancy.base_url"},
		"a tenant for the domain":     {func(d *behalf.Definition) { *d = tenanted(); d.API.BaseURL = "https://acorn.{tenant}" }, "api.base_url"},
		"a bad tenant pattern":        {func(d *behalf.Definition) { *d = tenanted(); d.Tenancy.Pattern = "(" }, "tenancy.pattern"},
		"a pattern that is a bomb":    {func(d *behalf.Definition) { *d = tenanted(); d.Tenancy.Pattern = "((a{100}){100}){100}" }, "tenancy.pattern"},
		"a long pattern":              {func(d *behalf.Definition) { *d = tenanted(); d.Tenancy.Pattern = strings.Repeat("a", 501) }, "tenancy.pattern"},
		"a default not in the list":   {func(d *behalf.Definition) { *d = tenanted(); d.Tenancy.Allowed, d.Tenancy.Default = []string{"a"}, "b" }, "tenancy.default"},
		"a default that fits no host": {func(d *behalf.Definition) { *d = tenanted(); d.Tenancy.Default = "a.b" }, "tenancy.default"},
		"a listed tenant of no host":  {func(d *behalf.Definition) { *d = tenanted(); d.Tenancy.Allowed = []string{"good", "a/b"} }, "tenancy.allowed[1]"},
		"a field key with a hyphen":   {func(d *behalf.Definition) { d.AdditionalFields = []behalf.AdditionalField{{Key: "a-b"}} }, "additional_fields[0].key"},
		"a field key of 65": {func(d *behalf.Definition) {
			d.AdditionalFields = []behalf.AdditionalField{{Key: strings.Repeat("k", 65)}}
		}, "additional_fields[0].key"},
		"two fields of a key": {func(d *behalf.Definition) { d.AdditionalFields = []behalf.AdditionalField{{Key: "a"}, {Key: "a"}} }, "additional_fields[1].key"},
		"a reserved key":      {func(d *behalf.Definition) { d.AdditionalFields = []behalf.AdditionalField{{Key: "accessToken"}} }, "additional_fields[0].key"},
		"a title of 256": {func(d *behalf.Definition) {
			d.AdditionalFields = []behalf.AdditionalField{{Key: "a", Title: strings.Repeat("t", 256)}}
		}, "additional_fields[0].title"},
		"an unknown field type": {func(d *behalf.Definition) { d.AdditionalFields = []behalf.AdditionalField{{Key: "a", Type: "date"}} }, "additional_fields[0].type"},
		"an unknown visibility": {func(d *behalf.Definition) {
			d.AdditionalFields = []behalf.AdditionalField{{Key: "a", Visibility: "dim"}}
		}, "additional_fields[0].visibility"},
		"a bad field pattern":        {func(d *behalf.Definition) { d.AdditionalFields = []behalf.AdditionalField{{Key: "a", Pattern: "["}} }, "additional_fields[0].pattern"},
		"a field value of two lines": {func(d *behalf.Definition) { d.AdditionalFields = []behalf.AdditionalField{{Key: "a", Value: "a\r\nb"}} }, "additional_fields[0].value"},
		"a placement that is none": {func(d *behalf.Definition) {
			d.AuthorizationFields = []behalf.AuthorizationField{{In: "cookie", Key: "a"}}
		}, "authorization_fields[0].in"},
		"a header that is none": {func(d *behalf.Definition) {
			d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "a b"}}
		}, "authorization_fields[0].key"},
		"a hop-by-hop header": {func(d *behalf.Definition) {
			d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "Transfer-Encoding", Value: "x"}}
		}, "authorization_fields[0].key"},
		"the host": {func(d *behalf.Definition) {
			d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "HOST", Value: "x"}}
		}, "authorization_fields[0].key"},
		"a header of two lines": {func(d *behalf.Definition) {
			d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-A", Value: "a\r\nX-B: b"}}
		}, "authorization_fields[0].value"},
		"two headers of a name": {func(d *behalf.Definition) {
			d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-A", Value: "1"}, {In: behalf.InHeader, Key: "x-a", Value: "2"}}
		}, "authorization_fields[1].key"},
		"a query name": {func(d *behalf.Definition) {
			d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InQuery, Key: "a=b", Value: "x"}}
		}, "authorization_fields[0].key"},
		"a path key": {func(d *behalf.Definition) {
			d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InPath, Key: "a/b", Value: "x"}}
		}, "authorization_fields[0].key"},
		"the tenant as a path field": {func(d *behalf.Definition) {
			d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InPath, Key: "tenant", Value: "x"}}
		}, "authorization_fields[0].key"},
		"an unknown name in a field": {func(d *behalf.Definition) {
			d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-A", Value: "{{x}}"}}
		}, "authorization_fields[0].value"},
		"a method in lower case": {func(d *behalf.Definition) {
			d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-A", Value: "1", Methods: []string{"get"}}}
		}, "authorization_fields[0].methods[0]"},
		"a path without a slash": {func(d *behalf.Definition) {
			d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-A", Value: "1", Paths: []string{"v1"}}}
		}, "authorization_fields[0].paths[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			d := acorn()
			test.change(&d)
			_, err := behalf.Compile(d)
			if !slices.Contains(fields(err), test.field) {
				t.Errorf("%q is not named: %v", test.field, err)
			}
		})
	}
}

func TestAllThatIsWrongIsNamedAtOnce(t *testing.T) {
	_, err := behalf.Compile(behalf.Definition{})
	for _, want := range []string{"type", "name", "provider", "client_id", "authorization_url", "token_url"} {
		if !slices.Contains(fields(err), want) {
			t.Errorf("%s is not named: %v", want, err)
		}
	}
}

func TestATenantIsOneLabel(t *testing.T) {
	plain := compile(t, tenanted())
	d := tenanted()
	d.Tenancy.Pattern = "[a-z]{3,5}"
	patterned := compile(t, d)
	d = tenanted()
	d.Tenancy.Allowed = []string{"acme"}
	listed := compile(t, d)
	for _, good := range []string{"acme", "Acme", "a", "a-1", strings.Repeat("a", 63)} {
		if err := plain.CheckTenant(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "evil.example/#", "a.b@c", "evil.example", "a/b", "a\\b", "a?b", "a#b", "a:1", "a@b", "a b", "a%2eb", "-a", "a-", "a\nb", "a\x00", "a\xff", "..", "{tenant}", "{{user}}", strings.Repeat("a", 64), strings.Repeat("a", 256), "ａ.ｂ", "a。b"} {
		err := plain.CheckTenant(bad)
		if !slices.Contains(fields(err), "tenant") {
			t.Errorf("%q is taken: %v", bad, err)
		}
		if err != nil && len(bad) > 4 && strings.Contains(err.Error(), bad) {
			t.Errorf("%q is echoed", bad)
		}
	}
	for tenant, want := range map[string]bool{"acme": true, "ac": false, "acmeee": false, "acme\nx": false, "xacme1": false} {
		if err := patterned.CheckTenant(tenant); (err == nil) != want {
			t.Errorf("pattern: %q: %v", tenant, err)
		}
	}
	for tenant, want := range map[string]bool{"acme": true, "ACME": false, "other": false} {
		if err := listed.CheckTenant(tenant); (err == nil) != want {
			t.Errorf("list: %q: %v", tenant, err)
		}
	}
	if err := compile(t, acorn()).CheckTenant("acme"); err == nil {
		t.Error("a tenant where there are none")
	}
}

func TestTheValueOfAnAdditionalField(t *testing.T) {
	d := acorn()
	d.AdditionalFields = []behalf.AdditionalField{{Key: "pin", Required: true, Pattern: "[0-9]{4}", Type: behalf.FieldPassword}, {Key: "note"}, {Key: "fixed", Value: "1", Visibility: behalf.Hidden}}
	p := compile(t, d)
	for name, test := range map[string]struct {
		key, value string
		ok         bool
	}{
		"as expected": {"pin", "1234", true}, "too long for the pattern": {"pin", "12345", false}, "a line below": {"pin", "1234\n", false}, "nothing where it is required": {"pin", "", false},
		"nothing": {"note", "", true}, "4000": {"note", strings.Repeat("n", 4000), true}, "4001": {"note", strings.Repeat("n", 4001), false}, "two lines": {"note", "a\r\nb", false}, "no UTF-8": {"note", "\xff", false},
		"a constant": {"fixed", "2", false}, "an unknown field": {"nope", "1", false}, "by its number": {"authfield1", "1234", false},
	} {
		err := p.CheckField(test.key, secret.New(test.value))
		if (err == nil) != test.ok || err != nil && (!slices.Contains(fields(err), test.key) || test.value == "12345" && strings.Contains(err.Error(), test.value)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAConfigIsFilledForOnePerson(t *testing.T) {
	d := tenanted()
	d.TokenURL = "https://{tenant}.acorn.example/token?u={{user}}"
	d.AdditionalFields = []behalf.AdditionalField{{Key: "pin", Type: behalf.FieldPassword, Required: true}}
	d.OAuth.RefreshParams = []behalf.Param{{Key: "pin", Value: "{{pin}}"}}
	p := compile(t, d)
	now := func() time.Time { return time.Unix(1, 0) }
	v := behalf.Values{Plan: p, User: "a&b", Tenant: "acme", Inputs: behalf.Inputs{Fields: map[string]secret.Text{"pin": secret.New("12&34")}}}
	c, err := p.Config(v, "https://us.example/callback", secret.New("s"), now)
	if err != nil || c.TokenURL != "https://acme.acorn.example/token?u=a%26b" || c.RefreshURL != c.TokenURL || c.RefreshParams[0].Value != "12&34" || len(c.Secrets) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	v.Tenant = ""
	if _, err := p.Config(v, "", secret.Text{}, now); !slices.Contains(fields(err), "token_url") {
		t.Errorf("without a tenant: %v", err)
	}
	v.Tenant, v.Inputs.Fields = "acme", nil
	if _, err := p.Config(v, "", secret.Text{}, now); !slices.Contains(fields(err), "oauth.refresh_params[0].value") {
		t.Errorf("without a PIN: %v", err)
	}
	if missing := p.MissingInputs(behalf.Values{Plan: p}); len(missing) != 2 || missing[0].Field != "tenant" || missing[1].Field != "pin" {
		t.Errorf("%v", missing)
	}
}

// FuzzCompile feeds definitions as the API takes them. Whatever compiles must
// also be shown, kept and read back as it was.
func FuzzCompile(f *testing.F) {
	for _, d := range []behalf.Definition{acorn(), tenanted(), {}} {
		b, err := json.Marshal(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"type":"oauth2","name":"a","provider":"b","client_id":"c","authorization_url":"{{x}}/a","token_url":"https://a.b.c/{{authfield1}}","additional_fields":[{"key":"x","type":"password","value":"v"}],"authorization_fields":[{"in":"header","key":"Authorization","value":"Basic {{base64 x \":\" x}}","secret":true}],"api":{"allowed_hosts":["*.b.c"]}}`))
	f.Add([]byte(`{"type":"oauth2","name":"a","provider":"b","client_id":"c","authorization_url":"https://{tenant}.b.example/a#/r","token_url":"https://b.example/{{door}}","refresh_url":"{{instance_url}}/r","tenancy":{"base_url":"https://{tenant}.b.example"},"auth_error":[{"status":200,"json":"/errors/0/code","equals":"602"}],"authorization_fields":[{"in":"header","key":"A","value":"{{slots.user.accessToken}}","paths":["/u"]},{"in":"path","key":"k","value":"{{realm}}"}],"api":{"base_url":"{{instance_url}}/s/{k}","allowed_hosts":["*.b.example","b.example"]},"oauth":{"client_auth":"post","scope_separator":"+","pkce_method":"S256-hex","token_body":"json","grant_type":"g","introspection_url":"https://b.example/i","revocation_url":"https://b.example/t/{{token}}","authorize":{"scope_param":"perms","rename":{"client_id":"client_key"},"omit":["response_type"],"raw":["perms"],"redirect_uri":"alias","fragment":true,"reconnect_params":[{"key":"prompt","value":"consent"}]},"callback":{"code_param":"c","state_param":"payload","error_params":["reason"],"decode":true,"empty_declined":true,"capture":[{"name":"realm","param":"realmId","required":true,"pattern":"[0-9]+"}]},"before_token":[{"name":"doors","url":"https://b.example/d","body":"query","params":[{"key":"a","value":"{{code}}"}],"capture":[{"name":"door","json":"/d","secret":false}],"on":["connect","refresh"]}],"token":{"method":"GET","headers":[{"key":"sign","value":"{{hmac clientSecret requestBody requestTimeMs}}"}],"omit":["redirect_uri"],"success":[{"json":"/ok","equals":"true"}],"errors":[{"status":403,"contains":"gone","class":"lapsed"}],"reply":{"access_token":"/d/a","expires_in":"/d/e","expires_unit":"ms","expires_format":"at","retry_after":"X-Reset","retry_format":"at"},"capture":[{"name":"instance_url","json":"/instance_url","kind":"origin"}]},"after_token":[{"name":"long","url":"https://b.example/l","token":true,"params":[{"key":"t","value":"{{accessToken}}"}]}],"post_connect":[{"name":"sites","url":"https://b.example/s","method":"GET","body":"none","capture":[{"name":"site","choose":{"items":"/","value":"/id","label":"/name"}}]}],"slots":[{"name":"user","reply":{"access_token":"/u/a"}},{"name":"graph","derive":[{"key":"resource","value":"g"}]}],"refresh":{"grant":"access_token","min_age":60,"buffer":5,"body":"query"},"revoke":{"tokens":["access_token","refresh_token"],"method":"DELETE","auth":"basic","params":[{"key":"all","value":"{{token}}"}]}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d behalf.Definition
		if json.Unmarshal(b, &d) != nil {
			return
		}
		p, err := behalf.Compile(d)
		if err != nil {
			if len(fields(err)) == 0 {
				t.Fatalf("no field is named: %v", err)
			}
			return
		}
		shown, taken := p.Definition.SplitSecrets()
		if joined := shown.JoinSecrets(taken); fmt.Sprint(joined) != fmt.Sprint(p.Definition) {
			t.Fatalf("secrets were lost: %v", joined)
		}
		if _, err := behalf.Compile(p.Definition); err != nil {
			t.Fatalf("what compiled does not compile again: %v", err)
		}
		v := behalf.Values{Plan: p, User: "u", Tenant: "t"}
		_, _ = p.Config(v, "https://us.example/callback", secret.Text{}, time.Now)
		a, err := p.Authorize(v, behalf.Call{Method: "GET", Path: "/a/b", Query: "c=d"}, time.Now)
		if err == nil && !p.AllowedHosts.Allows(a.URL) {
			t.Fatal("a call goes to a host that is not allowed")
		}
	})
}
