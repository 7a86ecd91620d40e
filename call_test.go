package behalf_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
)

func authorize(t *testing.T, d behalf.Definition, v behalf.Values, c behalf.Call) (behalf.Authorized, error) {
	t.Helper()
	v.Plan = compile(t, d)
	if c.Method == "" {
		c.Method = "GET"
	}
	return v.Plan.Authorize(v, c, time.Now)
}

var bearer = &behalf.Credential{AccessToken: secret.New("at-1")}

func TestWhereACallGoes(t *testing.T) {
	for name, test := range map[string]struct {
		base string
		in   []behalf.AuthorizationField
		c    behalf.Call
		want string
	}{
		"the base alone":             {c: behalf.Call{}, want: "https://api.acorn.example/v1"},
		"a slash":                    {c: behalf.Call{Path: "/"}, want: "https://api.acorn.example/v1/"},
		"a path":                     {c: behalf.Call{Path: "/notes/1"}, want: "https://api.acorn.example/v1/notes/1"},
		"a base with a slash":        {base: "https://api.acorn.example/v1/", c: behalf.Call{Path: "/notes"}, want: "https://api.acorn.example/v1/notes"},
		"a base without a path":      {base: "https://api.acorn.example", c: behalf.Call{Path: "/notes"}, want: "https://api.acorn.example/notes"},
		"a query":                    {c: behalf.Call{Path: "/n", Query: "a=1&a=2&b"}, want: "https://api.acorn.example/v1/n?a=1&a=2&b"},
		"queries joined":             {base: "https://api.acorn.example/v1?v=2", c: behalf.Call{Path: "/n", Query: "a=1"}, want: "https://api.acorn.example/v1/n?v=2&a=1"},
		"an encoded slash stays":     {c: behalf.Call{Path: "/a%2Fb"}, want: "https://api.acorn.example/v1/a%2Fb"},
		"what was encoded stays":     {c: behalf.Call{Path: "/%41%20b", Query: "q=%41+b"}, want: "https://api.acorn.example/v1/%41%20b?q=%41+b"},
		"a field in the query":       {in: []behalf.AuthorizationField{{In: behalf.InQuery, Key: "api key", Value: "k"}}, want: ""},
		"a query field is set":       {in: []behalf.AuthorizationField{{In: behalf.InQuery, Key: "key", Value: "{{user}}"}}, c: behalf.Call{Query: "a=1"}, want: "https://api.acorn.example/v1?a=1&key=u%20%26%201"},
		"and replaces what was sent": {in: []behalf.AuthorizationField{{In: behalf.InQuery, Key: "key", Value: "good"}}, c: behalf.Call{Query: "key=evil&a=1&k%65y=evil&key"}, want: "https://api.acorn.example/v1?a=1&key=good"},
		"a path field in the base":   {base: "https://api.acorn.example/v1", in: []behalf.AuthorizationField{{In: behalf.InPath, Key: "account", Value: "{{user}}"}}, c: behalf.Call{Path: "/a/{account}/b"}, want: ""},
		"a path field, encoded":      {in: []behalf.AuthorizationField{{In: behalf.InPath, Key: "account", Value: "{{user}}"}}, c: behalf.Call{Path: "/a/%7Baccount%7D/b"}, want: "https://api.acorn.example/v1/a/u%20%26%201/b"},
		"for another method":         {in: []behalf.AuthorizationField{{In: behalf.InQuery, Key: "key", Value: "k", Methods: []string{"POST"}}}, want: "https://api.acorn.example/v1"},
		"for another path":           {in: []behalf.AuthorizationField{{In: behalf.InQuery, Key: "key", Value: "k", Paths: []string{"/a"}}}, c: behalf.Call{Path: "/ab"}, want: "https://api.acorn.example/v1/ab"},
		"for this path":              {in: []behalf.AuthorizationField{{In: behalf.InQuery, Key: "key", Value: "k", Paths: []string{"/a"}}}, c: behalf.Call{Path: "/a/b"}, want: "https://api.acorn.example/v1/a/b?key=k"},
	} {
		t.Run(name, func(t *testing.T) {
			d := acorn()
			if test.base != "" {
				d.API.BaseURL = test.base
			}
			d.AuthorizationFields = test.in
			if test.want == "" {
				test.want = map[string]string{"a path field in the base": "https://api.acorn.example/v1/a/u%20%26%201/b"}[name]
			}
			if test.want == "" { // the definition itself is wrong
				if _, err := behalf.Compile(d); err == nil {
					t.Error("compiled")
				}
				return
			}
			a, err := authorize(t, d, behalf.Values{User: "u & 1", Credential: bearer}, test.c)
			if err != nil || a.URL.String() != test.want {
				t.Errorf("%v, %v", a.URL, err)
			}
		})
	}
}

func TestACallThatWouldGoElsewhereIsRefused(t *testing.T) {
	for name, path := range map[string]string{
		"dot segments":                     "/../admin",
		"one dot":                          "/./admin",
		"encoded dots":                     "/%2e%2E/admin",
		"half encoded":                     "/.%2e/admin",
		"dots at the end":                  "/a/..",
		"encoded slashes around":           "/a%2f..%2fadmin",
		"encoded backslashes around":       "/a%5c..%5cadmin",
		"a backslash":                      `/a\..\admin`,
		"parameters behind dots":           "/..;x/admin",
		"a fragment that has it re-coded":  "/a/..%2f..%2fadmin#",
		"a question mark that has it so":   "/a%2fb?",
		"a broken escape":                  "/a%2",
		"an escape that is none":           "/a%zz",
		"braces that nothing fills":        "/a/{account}",
		"encoded braces that nothing does": "/a/%7baccount%7d",
		"the tenant's braces":              "/a/{tenant}",
	} {
		if a, err := authorize(t, acorn(), behalf.Values{Credential: bearer}, behalf.Call{Path: path}); !slices.Contains(fields(err), "path") {
			t.Errorf("%s: %v, %v", name, a.URL, err)
		}
	}
}

func TestWhatAPathFieldMayHold(t *testing.T) {
	d := acorn()
	d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InPath, Key: "account", Value: "{{user}}"}}
	for value, want := range map[string]string{"a/b": "/v1/a%2Fb", "a?b#c": "/v1/a%3Fb%23c", "..": "", "a/../b": "", "a\r\nb": "", "\xff": "", "": ""} {
		a, err := authorize(t, d, behalf.Values{User: value, Credential: bearer}, behalf.Call{Path: "/{account}"})
		if want == "" && err == nil || want != "" && (err != nil || a.URL.EscapedPath() != want) {
			t.Errorf("%q: %v, %v", value, a.URL, err)
		}
	}
}

func TestWhatAHeaderMayHold(t *testing.T) {
	d := acorn()
	d.AdditionalFields = []behalf.AdditionalField{{Key: "pin", Type: behalf.FieldPassword}}
	d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-Pin", Value: "pin {{pin}}"}}
	for value, ok := range map[string]bool{"1234": true, "a\r\nX-Evil: 1": false, "a\nb": false, "a\x00b": false, "\xff": false, "": false, "ü": true} {
		in := behalf.Inputs{Fields: map[string]secret.Text{"pin": secret.New(value)}}
		a, err := authorize(t, d, behalf.Values{Inputs: in, Credential: bearer}, behalf.Call{})
		if (err == nil) != ok {
			t.Errorf("%q: %v", value, err)
		}
		if err != nil && len(value) > 2 && strings.Contains(err.Error(), value) {
			t.Errorf("%q is echoed", value)
		}
		if ok && !slices.ContainsFunc(a.Secrets, func(s secret.Text) bool { return s.Reveal() == "pin "+value }) {
			t.Errorf("%q is not masked", value)
		}
	}
}

func TestTheTokenGoesAsBearerUnlessTheProfileSaysOtherwise(t *testing.T) {
	off := false
	for name, test := range map[string]struct {
		change func(*behalf.Definition)
		want   []string
	}{
		"by itself": {func(*behalf.Definition) {}, []string{"Authorization: Bearer at-1"}},
		"off":       {func(d *behalf.Definition) { d.SendToken = &off }, nil},
		"a row in its place": {func(d *behalf.Definition) {
			d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "authorization", Value: "token {{accessToken}}"}}
		}, []string{"authorization: token at-1"}},
		"a row beside it": {func(d *behalf.Definition) {
			d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-Client", Value: "{{clientId}}"}}
		}, []string{"Authorization: Bearer at-1", "X-Client: bot"}},
		"a row of the method": {func(d *behalf.Definition) {
			d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "Authorization", Value: "x", Methods: []string{"POST"}}}
		}, nil},
	} {
		d := acorn()
		test.change(&d)
		a, err := authorize(t, d, behalf.Values{Credential: bearer}, behalf.Call{})
		var got []string
		for _, h := range a.Header {
			got = append(got, h.Key+": "+h.Value)
		}
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestTheHostIsCheckedAfterFilling(t *testing.T) {
	d := acorn()
	d.API.BaseURL, d.API.AllowedHosts = "{{instance}}/v1", []string{"auth.acorn.example", "*.acorn.example"}
	// No field captures values yet; until one does, a host cannot be made of them.
	if _, err := behalf.Compile(d); !slices.Contains(fields(err), "api.base_url") {
		t.Errorf("a captured host: %v", err)
	}
	p := compile(t, acorn())
	for raw, ok := range map[string]bool{"https://api.acorn.example/me": true, "https://evil.example/me": false, "https://api.acorn.example@evil.example/": false, "//api.acorn.example/": false, "file:///etc/passwd": false} {
		if _, err := p.AuthorizeURL(behalf.Values{Plan: p, Credential: bearer}, raw, time.Now); (err == nil) != ok {
			t.Errorf("%s: %v", raw, err)
		}
	}
	d = acorn()
	d.API = behalf.API{}
	if _, err := authorize(t, d, behalf.Values{Credential: bearer}, behalf.Call{Path: "/"}); !slices.Contains(fields(err), "api.base_url") {
		t.Errorf("without a base: %v", err)
	}
}
