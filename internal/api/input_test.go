package api_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/server/servertest"
)

// canary is a value that no answer may repeat.
const canary = "canary-7f3a91"

// silent fails where an answer repeats the canary.
func silent(t *testing.T, a servertest.Answer) {
	t.Helper()
	var h strings.Builder
	_ = a.Header.Write(&h)
	if strings.Contains(a.Body+h.String(), canary) {
		t.Errorf("the answer repeats what was sent: %.600s", a.Body)
	}
}

// fieldsOf returns the fields that a problem names, in order.
func fieldsOf(t *testing.T, a servertest.Answer) []string {
	t.Helper()
	var p struct {
		Errors []struct{ Field, Code, Detail string }
	}
	if err := json.Unmarshal([]byte(a.Body), &p); err != nil {
		t.Fatalf("%v: %.300s", err, a.Body)
	}
	var out []string
	for _, e := range p.Errors {
		if e.Code == "" || e.Detail == "" {
			t.Errorf("%s has no code or no detail: %.300s", e.Field, a.Body)
		}
		out = append(out, e.Field)
	}
	return out
}

func TestWhatIsMissingIsNamedAllAtOnce(t *testing.T) {
	s := servertest.New(t, servertest.Setup{})
	at := "/v1/assistants/support-bot"
	for _, c := range []struct {
		path string
		body any
		want []string
	}{
		{"/v1/assistants", map[string]any{}, []string{"name"}},
		{at + "/profiles", map[string]any{}, []string{"authorization_url", "client_id", "name", "provider", "token_url", "type"}},
		{at + "/profiles", map[string]any{"type": "oauth2", "name": " ", "provider": "\t"}, []string{"authorization_url", "client_id", "name", "provider", "token_url"}},
		{at + "/connect-sessions", map[string]any{}, []string{"profile"}},
		{at + "/connect-sessions", map[string]any{"profile": "acorn"}, []string{"user"}},
		{at + "/connect-sessions/cs_1/finish", map[string]any{}, []string{"code", "user", "verifier"}},
		{"/v1/keys", map[string]any{}, []string{"name"}},
		{at + "/token", map[string]any{}, []string{"user"}},
		{at + "/token", map[string]any{"user": "1"}, []string{"profile"}},
	} {
		t.Run(fmt.Sprintf("%s %v", c.path, c.body), func(t *testing.T) {
			a := s.Do(s.Owner, "POST", c.path, c.body)
			a.Problem(t, 422, behalf.CodeInvalid)
			got := fieldsOf(t, a)
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("fields %v, want %v", got, c.want)
			}
		})
	}
}

// written is every address that takes a JSON object, with one that is good but
// for what a test changes.
func written(s *servertest.Server, c behalf.Connection) map[string]map[string]any {
	at := "/v1/assistants/support-bot"
	return map[string]map[string]any{
		"POST /v1/assistants":                          {"name": "New"},
		"PATCH " + at:                                  {"finish": false},
		"POST " + at + "/profiles":                     profileBody(s.Definition("New")),
		"PUT " + at + "/profiles/acorn":                profileBody(s.Definition("Acorn")),
		"POST " + at + "/connect-sessions":             {"profile": "acorn", "user": "1"},
		"POST " + at + "/connect-sessions/cs_1/finish": {"code": "c", "verifier": "v", "user": "1"},
		"PATCH " + at + "/connections/" + string(c.ID): {"default": true},
		"POST /v1/discover":                            {"url": s.Provider},
		"POST /v1/lint":                                {"definition": map[string]any{"name": "n"}},
		"POST /v1/keys":                                {"name": "n", "role": "viewer"},
		"POST " + at + "/token":                        {"profile": "acorn", "user": "42"},
	}
}

func with(m map[string]any, key string, v any) map[string]any {
	m = maps.Clone(m)
	m[key] = v
	return m
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestABodyThatIsNotWhatWasAskedForIsRefusedAndNothingChanges(t *testing.T) {
	b := newBuilding(t)
	deep := strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)
	for address, good := range written(b.Server, b.c) {
		method, path, _ := strings.Cut(address, " ")
		text := encoded(t, good)
		some := slices.Sorted(maps.Keys(good))[0]
		for _, c := range []struct {
			name, body, field string
		}{
			{"a field that does not exist", encoded(t, with(good, "no_such_field", canary)), "no_such_field"},
			{"a field in other letters", encoded(t, with(good, strings.ToUpper(some[:1])+some[1:], canary)), strings.ToUpper(some[:1]) + some[1:]},
			{"__proto__", encoded(t, with(good, "__proto__", map[string]any{"admin": canary})), "__proto__"},
			{"constructor", encoded(t, with(good, "constructor", canary)), "constructor"},
			{"a name twice", strings.TrimSuffix(text, "}") + `,"` + some + `":"` + canary + `"}`, "body"},
			{"a name twice, once escaped", strings.TrimSuffix(text, "}") + fmt.Sprintf(`,"\u%04x%s":"`, some[0], some[1:]) + canary + `"}`, "body"},
			{"another type", encoded(t, with(good, some, []any{canary})), some},
			{"nothing", "", "body"},
			{"null", "null", "body"},
			{"a list", `["` + canary + `"]`, "body"},
			{"a text", `"` + canary + `"`, "body"},
			{"half an object", text[:len(text)-1], "body"},
			{"no JSON", canary, "body"},
			{"something behind it", text + canary, "body"},
			{"a second object behind it", text + text, "body"},
			{"a comment", "/* " + canary + " */" + text, "body"},
			{"invalid UTF-8", strings.Replace(text, `"`+some, "\"\xff"+some, 1), "body"},
			{"a byte order mark", "\ufeff" + text, "body"},
			{"UTF-16", "\xff\xfe{\x00}\x00", "body"},
			{"a NUL", text + "\x00", "body"},
			{"many levels", deep, "body"},
			{"many levels in a field that does not exist", strings.TrimSuffix(text, "}") + `,"x":` + deep + "}", "body"},
		} {
			t.Run(address+" "+c.name, func(t *testing.T) {
				before := b.audited(t)
				a := b.Do(b.Owner, method, path, c.body)
				silent(t, a)
				p := a.Problem(t, a.Status, behalf.CodeInvalid)
				if a.Status != 422 {
					t.Errorf("status %d", a.Status)
				}
				if !slices.Contains(fieldsOf(t, a), c.field) {
					t.Errorf("field %q, want %q: %s", p.Field, c.field, a.Body)
				}
				if b.audited(t) != before {
					t.Error("something was changed")
				}
			})
		}
	}
}

func TestABodyThatIsTooLargeIsRefused(t *testing.T) {
	b := newBuilding(t)
	for address, good := range written(b.Server, b.c) {
		method, path, _ := strings.Cut(address, " ")
		t.Run(address, func(t *testing.T) {
			big := encoded(t, with(good, "name", strings.Repeat("x", 2<<20)))
			for name, body := range map[string]io.Reader{"with its length": strings.NewReader(big), "in chunks": io.MultiReader(strings.NewReader(big))} {
				before := b.audited(t)
				a := b.Do(b.Owner, method, path, body)
				if a.Status != 413 && a.Status != 422 {
					t.Errorf("%s: status %d: %.300s", name, a.Status, a.Body)
				}
				a.Problem(t, a.Status, behalf.CodeInvalid)
				if b.audited(t) != before {
					t.Errorf("%s: something was changed", name)
				}
			}
		})
	}
}

func TestOnlyJSONIsRead(t *testing.T) {
	b := newBuilding(t)
	for address, good := range written(b.Server, b.c) {
		method, path, _ := strings.Cut(address, " ")
		for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "application/xml", "multipart/form-data", "application/cbor", canary} {
			t.Run(address+" "+kind, func(t *testing.T) {
				before := b.audited(t)
				a := b.Do(b.Owner, method, path, encoded(t, good), "Content-Type", kind)
				silent(t, a)
				a.Problem(t, a.Status, behalf.CodeInvalid)
				if a.Status != 415 && a.Status != 422 {
					t.Errorf("status %d", a.Status)
				}
				if b.audited(t) != before {
					t.Error("something was changed")
				}
			})
		}
		t.Run(address+" with a charset", func(t *testing.T) {
			if a := b.Do(b.Owner, method, path, encoded(t, good), "Content-Type", "application/json; charset=utf-8"); a.Status >= 400 && a.Status != 404 {
				t.Errorf("status %d: %.300s", a.Status, a.Body)
			}
		})
	}
}

func TestTheLimitsOfTextsAreExact(t *testing.T) {
	b := newBuilding(t)
	at := b.at("")
	profile := profileBody(b.Definition("Acorn"))
	url := func(n int) string { return b.Provider + "/" + strings.Repeat("u", n-len(b.Provider)-1) }
	for _, c := range []struct {
		address, field string
		base           map[string]any
		limit          int
		make           func(n int) any
	}{
		{"POST /v1/assistants", "name", map[string]any{"slug": "limits"}, 255, nil},
		{"PUT " + at + "/profiles/acorn", "provider", profile, 255, nil},
		{"PUT " + at + "/profiles/acorn", "client_id", profile, 255, nil},
		{"PUT " + at + "/profiles/acorn", "client_secret", profile, 255, nil},
		{"PUT " + at + "/profiles/acorn", "description", profile, 4000, nil},
		{"PUT " + at + "/profiles/acorn", "authorization_url", profile, 3000, func(n int) any { return url(n) }},
		{"PUT " + at + "/profiles/acorn", "token_url", profile, 3000, func(n int) any { return url(n) }},
		{"PUT " + at + "/profiles/acorn", "refresh_url", profile, 3000, func(n int) any { return url(n) }},
		{"PUT " + at + "/profiles/acorn", "check_url", profile, 3000, func(n int) any { return url(n) }},
		{"POST " + at + "/connect-sessions", "user", map[string]any{"profile": "acorn"}, 255, nil},
		{"POST " + at + "/connect-sessions", "user_name", map[string]any{"profile": "acorn", "user": "1"}, 255, nil},
		{"POST /v1/keys", "name", map[string]any{"role": "viewer"}, 255, nil},
	} {
		method, path, _ := strings.Cut(c.address, " ")
		make := c.make
		if make == nil {
			make = func(n int) any { return strings.Repeat("ä", n) } // characters are counted, not bytes
		}
		t.Run(c.address+" "+c.field, func(t *testing.T) {
			if a := b.Do(b.Owner, method, path, with(c.base, c.field, make(c.limit))); a.Status >= 300 {
				t.Errorf("%d characters: status %d: %.300s", c.limit, a.Status, a.Body)
			}
			before := b.audited(t)
			a := b.Do(b.Owner, method, path, with(c.base, c.field, make(c.limit+1)))
			p := a.Problem(t, 422, behalf.CodeInvalid)
			if p.Field != c.field || !strings.Contains(p.Detail, fmt.Sprint(c.limit)) {
				t.Errorf("field %q, detail %q", p.Field, p.Detail)
			}
			if b.audited(t) != before {
				t.Error("something was changed")
			}
		})
	}
	t.Run("a profile's name", func(t *testing.T) {
		if a := b.Do(b.Owner, "PUT", at+"/profiles/acorn", with(profile, "name", strings.Repeat("ä", 255))); a.Status != 200 {
			t.Errorf("status %d: %.300s", a.Status, a.Body)
		}
		a := b.Do(b.Owner, "PUT", at+"/profiles/"+string(b.Profile.ID), with(profile, "name", strings.Repeat("ä", 256)))
		if p := a.Problem(t, 422, behalf.CodeInvalid); p.Field != "name" {
			t.Errorf("field %q", p.Field)
		}
	})
}

func TestAnURLThatIsNoneIsRefusedWithItsField(t *testing.T) {
	b := newBuilding(t)
	bad := []string{canary, "/" + canary, "//" + canary + ".example/x", "ftp://" + canary + ".example", "javascript:alert('" + canary + "')", "https://", "https:///" + canary,
		"https://user:" + canary + "@a.example/", "https://a.example:99999/" + canary, "https://a b.example/" + canary, "https://a.example/" + canary + "\n", "file:///etc/" + canary,
		"gopher://a.example/" + canary, "https://{{" + "nothing}}.example/" + canary, "https://a.example/%zz" + canary, "http://[::1" + canary, "https://a.example\\@" + canary}
	for _, field := range []string{"authorization_url", "token_url", "refresh_url", "check_url", "api.base_url", "oauth.userinfo_url", "oauth.revocation_url", "oauth.jwks_url", "oauth.issuer"} {
		for _, u := range bad {
			body := profileBody(b.Definition("Acorn"))
			group, name, nested := strings.Cut(field, ".")
			if nested {
				body[group] = map[string]any{name: u}
			} else {
				body[field] = u
			}
			before := b.audited(t)
			a := b.Do(b.Owner, "PUT", b.at("/profiles/acorn"), body)
			silent(t, a)
			if a.Status != 422 || !slices.Contains(fieldsOf(t, a), field) || b.audited(t) != before {
				t.Errorf("%s %q: status %d: %.300s", field, u, a.Status, a.Body)
			}
		}
	}
}

func TestNoAnswerRepeatsWhatWasSent(t *testing.T) {
	b := newBuilding(t)
	at := b.at("")
	for address, good := range written(b.Server, b.c) {
		method, path, _ := strings.Cut(address, " ")
		doc := schemaFields(t, b.Server, method, path)
		for name, value := range doc {
			a := b.Do(b.Owner, method, path, with(good, name, value))
			if a.Status >= 400 {
				silent(t, a)
			}
		}
		if len(doc) < len(good) {
			t.Errorf("%s: only %d fields were tried", address, len(doc))
		}
	}
	for _, path := range []string{"/v1/" + canary, "/v1/assistants/" + canary, at + "/profiles/" + canary, at + "/connections/" + canary, at + "/connect-sessions/" + canary,
		at + "/proxy/" + canary + "/x", "/v1/assistants/" + canary + "/proxy/acorn/x", at + "/connections?profile=" + canary, at + "/connections?status=" + canary,
		"/v1/assistants?limit=" + canary, "/v1/assistants?cursor=" + canary, "/v1/audit?since=" + canary, "/v1/audit?assistant=" + canary, "/" + canary, "/callback/" + canary + "?state=" + canary + "&code=" + canary,
		"/connect/" + canary, at + "/events?cursor=" + canary + "!", "/v1/keys/" + canary, at + "/profiles/" + canary + strings.Repeat("x", 500)} {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CANARY"} {
			a := b.Do(b.Owner, method, path, nil)
			if a.Status < 400 && !strings.HasPrefix(path, "/c") {
				t.Errorf("%s %s: status %d", method, path, a.Status)
			}
			silent(t, a)
		}
	}
}

// schemaFields returns the fields of an operation's body, each with a value of
// its type that holds the canary where it can.
func schemaFields(t *testing.T, s *servertest.Server, method, path string) map[string]any {
	t.Helper()
	doc := document(t, s)
	op := doc.operation(method, path)
	if op == nil {
		t.Fatalf("%s %s is not in the document", method, path)
	}
	body := op["requestBody"].(object)["content"].(object)["application/json"].(object)["schema"].(object)
	out := map[string]any{}
	for name, schema := range doc.resolve(body)["properties"].(object) {
		out[name] = doc.canaryFor(schema.(object))
	}
	return out
}

func TestQueriesAreReadStrictly(t *testing.T) {
	b := newBuilding(t)
	for _, c := range []struct{ path, field string }{
		{"/v1/assistants?limits=3", "limits"},
		{b.at("?x=1"), "x"},
		{b.at("/connections?Profile=acorn"), "Profile"},
		{"/v1/assistants?limit=0", "limit"},
		{"/v1/assistants?limit=201", "limit"},
		{"/v1/assistants?limit=-1", "limit"},
		{"/v1/assistants?limit=1e2", "limit"},
		{"/v1/assistants?limit=99999999999999999999", "limit"},
		{"/v1/assistants?cursor=%27%3B--", "cursor"},
		{b.at("/connections?status=gone"), "status"},
		{"/v1/audit?since=yesterday", "since"},
	} {
		t.Run(c.path, func(t *testing.T) {
			p := b.Do(b.Owner, "GET", c.path, nil).Problem(t, 422, behalf.CodeInvalid)
			if p.Field != c.field {
				t.Errorf("field %q, want %q", p.Field, c.field)
			}
		})
	}
}

func TestWhatIsServedNowhereIsAProblem(t *testing.T) {
	b := newBuilding(t)
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/v1/nothing", 404, ""},
		{"GET", "/v1/", 404, ""},
		{"GET", "/nothing", 404, ""},
		{"GET", "/v1/assistants/support-bot/nothing", 404, ""},
		{"DELETE", "/v1/assistants", 405, "GET, HEAD, POST"},
		{"OPTIONS", "/v1/assistants", 405, "GET, HEAD, POST"},
		{"GET", "/v1/assistants/support-bot/token", 405, "POST"},
		{"PUT", "/v1/assistants/support-bot/profiles/acorn/", 404, ""},
		{"PATCH", "/v1/assistants/support-bot/profiles/acorn", 405, "GET, HEAD, PUT, DELETE"},
		{"TRACE", "/v1/keys", 405, "GET, HEAD, POST"},
		{"POST", "/v1/audit", 405, "GET, HEAD"},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			a := b.Do(b.Owner, c.method, c.path, nil)
			a.Problem(t, c.status, map[int]behalf.Code{404: behalf.CodeNotFound, 405: behalf.CodeInvalid}[c.status])
			if got := a.Header.Get("Allow"); got != c.allow {
				t.Errorf("Allow %q, want %q", got, c.allow)
			}
		})
	}
}

func TestHeadIsGetWithoutABody(t *testing.T) {
	b := newBuilding(t)
	get, head := b.Do(b.Owner, "GET", b.at(""), nil), b.Do(b.Owner, "HEAD", b.at(""), nil)
	if head.Status != http.StatusOK || head.Body != "" || head.Header.Get("Content-Type") != get.Header.Get("Content-Type") {
		t.Errorf("status %d, %d bytes, %v", head.Status, len(head.Body), head.Header)
	}
	if head := b.Do("", "HEAD", b.at(""), nil); head.Status != 401 || head.Body != "" || head.Header.Get("Behalf-Error") != "unauthenticated" {
		t.Errorf("without a key: status %d, %v", head.Status, head.Header)
	}
}

func TestOfTwoKeysNoneCounts(t *testing.T) {
	b := newBuilding(t)
	for _, path := range []string{b.at(""), b.at("/proxy/notes/me")} { // an operation, and what is no operation
		r, err := http.NewRequestWithContext(t.Context(), "GET", b.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header["Authorization"] = []string{"Bearer " + b.Owner, "Bearer bhf_another"}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: status %d", path, res.StatusCode)
		}
	}
}
