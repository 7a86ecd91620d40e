package behalf_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
)

func TestWhereABrowserMayReturnTo(t *testing.T) {
	a := behalf.NewAssistant("A", time.Now())
	a.ReturnURLs = []string{"https://app.example/done", "https://app.example/cb/*", "http://localhost:3000/", "https://bare.example"}
	if err := a.Validate(); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]bool{
		"https://app.example/done":                  true,
		"https://app.example/done?a=1&b":            true,
		"https://APP.example/done":                  true,
		"HTTPS://app.example/done":                  true,
		"https://app.example/cb/x":                  true,
		"https://app.example/cb/x/y?z":              true,
		"https://app.example/cb/":                   true,
		"http://localhost:3000":                     true,
		"http://localhost:3000/":                    true,
		"https://bare.example/":                     true,
		"":                                          false,
		"/done":                                     false,
		"//app.example/done":                        false,
		"https:app.example/done":                    false,
		"http://app.example/done":                   false,
		"https://app.example/Done":                  false,
		"https://app.example/done/":                 false,
		"https://app.example/done/x":                false,
		"https://app.example/donex":                 false,
		"https://app.example/d%6fne":                false,
		"https://app.example/done#x":                false,
		"https://app.example:443/done":              false,
		"https://app.example:8443/done":             false,
		"https://user@app.example/done":             false,
		"https://app.example@evil.example/":         false,
		"https://app.example\\@evil.example":        false,
		"https://evil.example\\.app.example/done":   false,
		"https://evil.example/https://app.example":  false,
		"https://app.example.evil.example/done":     false,
		"https://xapp.example/done":                 false,
		"https://app.example./done":                 false,
		"https://app.example/cb":                    false,
		"https://app.example/cbx/y":                 false,
		"https://app.example/cb/../admin":           false,
		"https://app.example/cb/%2e%2e/admin":       false,
		"https://app.example/cb/.%2E/admin":         false,
		"https://app.example/cb/x%2f..%2f..%2fa":    false,
		"https://app.example/cb/..%5cadmin":         false,
		"https://app.example/cb/..;/admin":          false,
		"https://app.example/cb/\\..\\admin":        false,
		"http://localhost:3001/":                    false,
		"http://localhost/":                         false,
		"https://bare.example/x":                    false,
		"javascript:alert(1)//https://app.example/": false,
		"https://app.example/done\r\nSet-Cookie: a": false,
		"https://app.example/done\x00":              false,
		"https://app.example/%zz":                   false,
	} {
		if got := a.AllowsReturn(url); got != want {
			t.Errorf("%q: %v", url, got)
		}
	}
}

func TestWhatIsWrongWithAnAssistantIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*behalf.Assistant)
		field  string
	}{
		"as it is":               {func(*behalf.Assistant) {}, ""},
		"a name of 255":          {func(a *behalf.Assistant) { a.Name = strings.Repeat("ü", 255) }, ""},
		"a name of 256":          {func(a *behalf.Assistant) { a.Name = strings.Repeat("ü", 256) }, "name"},
		"no name":                {func(a *behalf.Assistant) { a.Name = "" }, "name"},
		"no slug":                {func(a *behalf.Assistant) { a.Slug = "" }, "slug"},
		"a slug in upper case":   {func(a *behalf.Assistant) { a.Slug = "Bot" }, "slug"},
		"a slug like an id":      {func(a *behalf.Assistant) { a.Slug = "ast_01" }, "slug"},
		"a slug of 61":           {func(a *behalf.Assistant) { a.Slug = strings.Repeat("a", 61) }, "slug"},
		"a return URL's query":   {func(a *behalf.Assistant) { a.ReturnURLs = []string{"https://a.example/?x"} }, "return_urls[0]"},
		"a return URL's user":    {func(a *behalf.Assistant) { a.ReturnURLs = []string{"https://a.example/", "https://u@a.example/"} }, "return_urls[1]"},
		"a relative return URL":  {func(a *behalf.Assistant) { a.ReturnURLs = []string{"/x"} }, "return_urls[0]"},
		"another scheme":         {func(a *behalf.Assistant) { a.ReturnURLs = []string{"app://x"} }, "return_urls[0]"},
		"a method in lower case": {func(a *behalf.Assistant) { a.Calls.Methods = []string{"get"} }, "calls.methods[0]"},
		"a method that is none":  {func(a *behalf.Assistant) { a.Calls.Methods = []string{"GET", "A B"} }, "calls.methods[1]"},
		"a path without a slash": {func(a *behalf.Assistant) { a.Calls.Paths = []string{"v1"} }, "calls.paths[0]"},
	} {
		a := behalf.NewAssistant("Support Bot", time.Now())
		test.change(&a)
		err := a.Validate()
		if (err == nil) != (test.field == "") || err != nil && !slices.Contains(fields(err), test.field) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatTheProxyPassesOn(t *testing.T) {
	c := behalf.CallPolicy{Methods: []string{"GET"}, Paths: []string{"/v1/items", "/v2/"}}
	for call, want := range map[[2]string]bool{{"GET", "/v1/items"}: true, {"GET", "/v1/items/1"}: true, {"GET", "/v2/x"}: true, {"GET", "/v2/"}: true,
		{"POST", "/v1/items"}: false, {"get", "/v1/items"}: false, {"GET", "/v1/itemsx"}: false, {"GET", "/v1"}: false, {"GET", "/V1/items"}: false, {"GET", "/v2"}: false} {
		if got := c.Allows(call[0], call[1]); got != want {
			t.Errorf("%v: %v", call, got)
		}
	}
	if !(behalf.CallPolicy{}).Allows("DELETE", "/any") {
		t.Error("an empty policy allows all")
	}
}

func TestSlugs(t *testing.T) {
	for name, want := range map[string]string{"Support Bot": "support-bot", "  a  b ": "a-b", "--A--": "a", "Ünï 2": "n-2", "記録": "", "a/b?c": "a-b-c", "": "", strings.Repeat("ab ", 40): strings.TrimSuffix(strings.Repeat("ab-", 20), "-")} {
		if got := behalf.Slug(name); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		slug := behalf.Slug(rapid.String().Draw(t, "name"))
		if behalf.Slug(slug) != slug || len(slug) > 60 || strings.Contains(slug, "--") || strings.Trim(slug, "-") != slug {
			t.Fatalf("%q", slug)
		}
	})
}

func TestIDsTellWhatTheyName(t *testing.T) {
	now := time.Now()
	for _, id := range []string{string(behalf.NewProfileID(now)), string(behalf.NewProfileID(now))} {
		if !behalf.IsID(id, "prf_") || behalf.IsID(id, "con_") || behalf.IsID(strings.ToUpper(id), "prf_") || behalf.IsID(id+"0", "prf_") || behalf.Slug(id) == id {
			t.Error(id)
		}
	}
	for _, s := range []string{"", "prf_", "prf_" + strings.Repeat("u", 26), "prf_8zzzzzzzzzzzzzzzzzzzzzzzzz", "prf_0000000000000000000000000\x00"} {
		if behalf.IsID(s, "prf_") {
			t.Errorf("%q", s)
		}
	}
}

func TestWhatANewSessionNeeds(t *testing.T) {
	d := tenanted()
	d.AdditionalFields = []behalf.AdditionalField{{Key: "pin", Pattern: "[0-9]{4}"}}
	p := compile(t, d)
	challenge := strings.Repeat("a", 43)
	finishing, plain := behalf.NewAssistant("A", time.Now()), behalf.NewAssistant("B", time.Now())
	finishing.ReturnURLs, plain.ReturnURLs, plain.Finish = []string{"https://app.example/"}, []string{"https://app.example/"}, false
	for name, test := range map[string]struct {
		change func(*behalf.NewSession)
		a      behalf.Assistant
		field  string
	}{
		"as it is":                       {func(*behalf.NewSession) {}, finishing, ""},
		"without finish":                 {func(n *behalf.NewSession) { n.FinishChallenge, n.ReturnURL = "", "" }, plain, ""},
		"with finish, asked for":         {func(*behalf.NewSession) {}, plain, ""},
		"no user":                        {func(n *behalf.NewSession) { n.User = "" }, plain, "user"},
		"a user of 255":                  {func(n *behalf.NewSession) { n.User = strings.Repeat("u", 255) }, plain, ""},
		"a user of 256":                  {func(n *behalf.NewSession) { n.User = strings.Repeat("u", 256) }, plain, "user"},
		"a user with a NUL":              {func(n *behalf.NewSession) { n.User = "a\x00" }, plain, "user"},
		"a user's name of 256":           {func(n *behalf.NewSession) { n.UserName = strings.Repeat("u", 256) }, plain, "user_name"},
		"a locale of 36":                 {func(n *behalf.NewSession) { n.Locale = strings.Repeat("d", 36) }, plain, "locale"},
		"59 seconds":                     {func(n *behalf.NewSession) { n.Lifetime = 59 * time.Second }, plain, "expires_in"},
		"a minute":                       {func(n *behalf.NewSession) { n.Lifetime = time.Minute }, plain, ""},
		"an hour and a second":           {func(n *behalf.NewSession) { n.Lifetime = time.Hour + time.Second }, plain, "expires_in"},
		"another return URL":             {func(n *behalf.NewSession) { n.ReturnURL = "https://evil.example/" }, plain, "return_url"},
		"no return URL with finish":      {func(n *behalf.NewSession) { n.ReturnURL = "" }, finishing, "return_url"},
		"no challenge with finish":       {func(n *behalf.NewSession) { n.FinishChallenge = "" }, finishing, "finish_challenge"},
		"a challenge of 42":              {func(n *behalf.NewSession) { n.FinishChallenge = challenge[1:] }, finishing, "finish_challenge"},
		"a challenge in another letters": {func(n *behalf.NewSession) { n.FinishChallenge = challenge[1:] + "+" }, plain, "finish_challenge"},
		"a tenant that is none":          {func(n *behalf.NewSession) { n.Tenant = "a.b@c" }, plain, "tenant"},
		"a field that is none":           {func(n *behalf.NewSession) { n.Fields = map[string]secret.Text{"x": secret.New("1")} }, plain, "fields.x"},
		"a field of another form":        {func(n *behalf.NewSession) { n.Fields = map[string]secret.Text{"pin": secret.New("123")} }, plain, "fields.pin"},
	} {
		n := behalf.NewSession{Profile: "acorn", User: "u", Tenant: "acme", ReturnURL: "https://app.example/", FinishChallenge: challenge, Fields: map[string]secret.Text{"pin": secret.New("1234")}}
		test.change(&n)
		err := n.Validate(test.a, p)
		if (err == nil) != (test.field == "") || err != nil && !slices.Contains(fields(err), test.field) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhenASessionsTimeIsOver(t *testing.T) {
	start := time.Unix(1000, 0)
	s := behalf.ConnectSession{ExpiresAt: start.Add(time.Minute), ReturnedAt: start.Add(50 * time.Second)}
	for name, test := range map[string]struct {
		status behalf.SessionStatus
		after  time.Duration
		want   bool
	}{
		"before":              {behalf.SessionCreated, 59 * time.Second, false},
		"at its end":          {behalf.SessionRedirected, time.Minute, true},
		"pending has its own": {behalf.SessionPending, 2 * time.Minute, false},
		"and that ends too":   {behalf.SessionPending, 50*time.Second + behalf.FinishLifetime, true},
		"what has ended":      {behalf.SessionDeclined, time.Hour, false},
	} {
		s.Status = test.status
		if got := s.Expired(start.Add(test.after)); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
