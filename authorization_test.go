package behalf_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
)

// keyed is a definition of an application that takes an API key.
func keyed() behalf.Definition {
	return behalf.Definition{Type: behalf.APIKey, Name: "Acorn", Provider: "Acorn Notes", CheckURL: "https://api.acorn.example/me",
		API: behalf.API{BaseURL: "https://api.acorn.example/v1"}}
}

func of(t behalf.AuthorizationType) behalf.Definition {
	d := acorn()
	d.Type, d.AuthorizationURL = t, ""
	return d
}

func TestEachTypeAsksForWhatItNeeds(t *testing.T) {
	tenant := of(behalf.OAuth2ClientCredentials)
	tenant.Tenancy = &behalf.Tenancy{BaseURL: "https://{tenant}.acorn.example"}
	described := keyed()
	described.AdditionalFields = []behalf.AdditionalField{{Key: "key", Title: "Personal access token", Type: behalf.FieldPassword}}
	basic := keyed()
	basic.Type = behalf.Basic
	for name, test := range map[string]struct {
		d     behalf.Definition
		asks  []string
		alone bool // without anybody
	}{
		"authorization code":             {acorn(), nil, false},
		"client credentials":             {of(behalf.OAuth2ClientCredentials), nil, true},
		"client credentials of a tenant": {tenant, nil, false},
		"password":                       {of(behalf.OAuth2Password), []string{"username", "password"}, false},
		"API key":                        {keyed(), []string{"key"}, false},
		"API key, described better":      {described, []string{"key"}, false},
		"Basic":                          {basic, []string{"username", "password"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := compile(t, test.d)
			var asks []string
			for _, f := range p.Asks() {
				asks = append(asks, f.Key)
			}
			if !slices.Equal(asks, test.asks) {
				t.Errorf("it asks for %q, want %q", asks, test.asks)
			}
			if got := p.Unattended(behalf.Values{Plan: p}); got != test.alone {
				t.Errorf("unattended is %v", got)
			}
		})
	}
	if title := compile(t, described).Asks()[0].Label(); title != "Personal access token" {
		t.Errorf("the key is called %q", title)
	}
}

func TestWhatATypeCannotUseIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		d     behalf.Definition
		field string
	}{
		"a token URL of a key":            {with(keyed(), func(d *behalf.Definition) { d.TokenURL = "https://auth.acorn.example/token" }), "token_url"},
		"a client id of a key":            {with(keyed(), func(d *behalf.Definition) { d.ClientID = "bot" }), "client_id"},
		"scopes of a key":                 {with(keyed(), func(d *behalf.Definition) { d.Scope = []behalf.ScopeParam{{Key: "scope", Value: "a"}} }), "scope"},
		"an authorization URL":            {with(of(behalf.OAuth2Password), func(d *behalf.Definition) { d.AuthorizationURL = acorn().AuthorizationURL }), "authorization_url"},
		"no client id":                    {with(of(behalf.OAuth2ClientCredentials), func(d *behalf.Definition) { d.ClientID = "" }), "client_id"},
		"no token URL":                    {with(of(behalf.OAuth2ClientCredentials), func(d *behalf.Definition) { d.TokenURL = "" }), "token_url"},
		"a key that is no secret":         {with(keyed(), field(behalf.AdditionalField{Key: "key"})), "additional_fields[0].type"},
		"a key that is a constant":        {with(keyed(), field(behalf.AdditionalField{Key: "key", Type: behalf.FieldPassword, Visibility: behalf.Hidden, Value: "x"})), "additional_fields[0].visibility"},
		"a key that another type asks":    {with(acorn(), func(d *behalf.Definition) { d.CheckURL = "https://api.acorn.example/{{key}}" }), "check_url"},
		"a password that is not kept":     {with(of(behalf.OAuth2Password), header("{{password}}")), "authorization_fields[0].value"},
		"a password in the browser's URL": {with(acorn(), field(behalf.AdditionalField{Key: "pin", Type: behalf.FieldPassword}), func(d *behalf.Definition) { d.AuthorizationURL += "?pin={{pin}}" }), "authorization_url"},
		"a device":                        {of(behalf.OAuth2Device), "type"},
		"an assertion":                    {of(behalf.JWTBearer), "type"},
		"an exchange":                     {of(behalf.TokenExchange), "type"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := behalf.Compile(test.d)
			if !slices.Contains(fields(err), test.field) {
				t.Errorf("%s is not named: %v", test.field, err)
			}
		})
	}
	if _, err := behalf.Compile(of(behalf.OAuth2Device)); !strings.Contains(err.Error(), "Not in this version") {
		t.Errorf("what comes later is not called so: %v", err)
	}
}

func with(d behalf.Definition, changes ...func(*behalf.Definition)) behalf.Definition {
	for _, c := range changes {
		c(&d)
	}
	return d
}

func field(f behalf.AdditionalField) func(*behalf.Definition) {
	return func(d *behalf.Definition) { d.AdditionalFields = append(d.AdditionalFields, f) }
}

func header(value string) func(*behalf.Definition) {
	return func(d *behalf.Definition) {
		d.AuthorizationFields = append(d.AuthorizationFields, behalf.AuthorizationField{In: behalf.InHeader, Key: "X-Api-Key", Value: value})
	}
}

func TestWhatThePersonEnteredGoesOnCalls(t *testing.T) {
	basic := keyed()
	basic.Type = behalf.Basic
	off := false
	given := map[string]secret.Text{"key": secret.New("k-1"), "username": secret.New("hazel"), "password": secret.New("nüt:s")}
	for name, test := range map[string]struct {
		d    behalf.Definition
		want map[string]string
	}{
		"a key, as Bearer":                {keyed(), map[string]string{"Authorization": "Bearer k-1"}},
		"a key, beside another header":    {with(keyed(), header("{{key}}"), func(d *behalf.Definition) { d.SendToken = &off }), map[string]string{"X-Api-Key": "k-1"}},
		"username and password, as Basic": {basic, map[string]string{"Authorization": "Basic aGF6ZWw6bsO8dDpz"}},
		"in a header of their own":        {with(basic, header("{{username}}/{{password}}"), func(d *behalf.Definition) { d.SendToken = &off }), map[string]string{"X-Api-Key": "hazel/nüt:s"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := compile(t, test.d)
			v := behalf.Values{Plan: p, Inputs: behalf.Inputs{Fields: given}, Credential: &behalf.Credential{}}
			a, err := p.Authorize(v, behalf.Call{Method: "GET", Path: "/"}, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, h := range a.Header {
				got[h.Key] = h.Value
			}
			for key, value := range test.want {
				if got[key] != value || len(got) != len(test.want) {
					t.Errorf("the headers are %v, want %v", got, test.want)
				}
			}
			for _, key := range []string{"key", "password"} {
				if p.Type == behalf.APIKey && key == "password" || p.Type == behalf.Basic && key == "key" {
					continue
				}
				if !slices.ContainsFunc(a.Secrets, func(s secret.Text) bool { return s.Equal(given[key]) }) {
					t.Errorf("%s would be shown in a transcript", key)
				}
			}
		})
	}
}

func TestAPasswordIsKeptOnlyWhereItIsNeededAgain(t *testing.T) {
	given := map[string]secret.Text{"username": secret.New("hazel"), "password": secret.New("nuts")}
	once, again := of(behalf.OAuth2Password), of(behalf.OAuth2Password)
	again.OAuth.Refresh.Grant = "reissue"
	if got := once.KeptFields(given); len(got) != 1 || got["username"].Empty() {
		t.Errorf("kept: %v", got)
	}
	if got := again.KeptFields(given); len(got) != 2 {
		t.Errorf("kept: %v", got)
	}
}

func TestTheLinterSaysWhatATypeMeans(t *testing.T) {
	off := false
	reissue := of(behalf.OAuth2Password)
	reissue.OAuth.Refresh.Grant = "reissue"
	for name, test := range map[string]struct {
		d    behalf.Definition
		code behalf.WarningCode
		says bool
	}{
		"a password":          {of(behalf.OAuth2Password), behalf.WarnPasswordGrant, true},
		"a password kept":     {reissue, behalf.WarnPasswordKept, true},
		"a password not kept": {of(behalf.OAuth2Password), behalf.WarnPasswordKept, false},
		"a key":               {keyed(), behalf.WarnKeyAsBearer, true},
		"a key with a place":  {with(keyed(), header("{{key}}")), behalf.WarnKeyAsBearer, false},
		"a key sent nowhere":  {with(keyed(), func(d *behalf.Definition) { d.SendToken = &off }), behalf.WarnTokenNotSent, true},
	} {
		t.Run(name, func(t *testing.T) {
			got := behalf.Lint(test.d, behalf.Known{})
			if slices.ContainsFunc(got, func(w behalf.Warning) bool { return w.Code == test.code }) != test.says {
				t.Errorf("the warnings are %+v", got)
			}
		})
	}
}

func TestASecretFieldKeepsItsValueWhenItIsEdited(t *testing.T) {
	secretField := func(key string, methods ...string) behalf.AuthorizationField {
		return behalf.AuthorizationField{In: behalf.InHeader, Key: key, Value: "s-" + key + strings.Join(methods, ""), Secret: true, Methods: methods}
	}
	blank := func(f behalf.AuthorizationField) behalf.AuthorizationField { f.Value = ""; return f }
	for name, test := range map[string]struct {
		kept, sent []behalf.AuthorizationField
		want       []string // the values; nil: refused
	}{
		"methods changed":                 {[]behalf.AuthorizationField{secretField("X-A")}, []behalf.AuthorizationField{blank(secretField("X-A", "GET"))}, []string{"s-X-A"}},
		"another beside it":               {[]behalf.AuthorizationField{secretField("X-A", "GET"), secretField("X-A", "POST")}, []behalf.AuthorizationField{blank(secretField("X-A", "GET")), blank(secretField("X-A", "PUT"))}, []string{"s-X-AGET", "s-X-APOST"}},
		"which one is meant is not clear": {[]behalf.AuthorizationField{secretField("X-A", "GET"), secretField("X-A", "POST")}, []behalf.AuthorizationField{blank(secretField("X-A", "PUT"))}, nil},
		"a new field without its value":   {nil, []behalf.AuthorizationField{blank(secretField("X-B"))}, nil},
		"another name":                    {[]behalf.AuthorizationField{secretField("X-A")}, []behalf.AuthorizationField{blank(secretField("X-B"))}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := acorn()
			d.AuthorizationFields = test.kept
			p := behalf.Profile{Definition: d, Plan: compile(t, d)}
			d.AuthorizationFields = test.sent
			got, err := p.Edited(d, nil)
			if test.want == nil {
				if !strings.HasPrefix(strings.Join(fields(err), ""), "authorization_fields[0].value") {
					t.Errorf("it was taken: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for i, f := range got.AuthorizationFields {
				if f.Value != test.want[i] {
					t.Errorf("field %d is %q, want %q", i, f.Value, test.want[i])
				}
			}
		})
	}
}
