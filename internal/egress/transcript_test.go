package egress_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/secret"
)

// provider is what a server answers in a test.
type provider struct {
	status int
	header http.Header
	body   string
}

// exchange makes one recorded call and returns what was recorded.
func exchange(t testing.TB, rec *egress.Recorder, r *http.Request, p provider) egress.Exchange {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, values := range p.header {
			w.Header()[name] = values
		}
		w.WriteHeader(or(p.status, 200))
		_, _ = io.WriteString(w, p.body)
	}))
	defer srv.Close()
	out := egress.New(egress.Config{Now: clock(), AllowPrivate: loopback})
	defer out.Close()
	r.URL.Scheme, r.URL.Host = "http", srv.Listener.Addr().String()
	resp, err := out.Client(egress.ClientOptions{}).Do(r.WithContext(egress.WithRecorder(t.Context(), rec)))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != p.body {
		t.Fatalf("recording changed the answer: %q, %v", b, err)
	}
	all := rec.Transcript().Exchanges
	return all[len(all)-1]
}

// clock ticks a second each time it is asked.
func clock() func() time.Time {
	var mu sync.Mutex
	now := time.Unix(1700000000, 0)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Second)
		return now
	}
}

func or(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

func request(method, path, contentType, body string) *http.Request {
	r, err := http.NewRequest(method, "http://x"+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

func TestATokenCallReadsLikeThis(t *testing.T) {
	r := request("POST", "/oauth/token?tenant=acme&api_key=k123456", form, "grant_type=authorization_code&code=SplxlOBeZQQYbYS6WxSbIA&client_id=app&client_secret=s3cr%3At&code_verifier=abc")
	r.SetBasicAuth("app", "s3cr:t/+ %x")
	x := exchange(t, &egress.Recorder{}, r, provider{
		header: http.Header{"Content-Type": {"application/json;charset=UTF-8"}, "Set-Cookie": {"sid=abc123; Path=/; HttpOnly"}},
		body:   `{"access_token":"ya29.a0AfH6SMBx","token_type":"Bearer","expires_in":3599,"refresh_token":"1//0gdL","scope":"read write","id_token":"eyJhbGciOi.e30.c2ln"}`,
	})
	base := "http://" + r.URL.Host
	check(t, "URL", x.Request.URL, base+"/oauth/token?tenant=acme&api_key=[secret]")
	check(t, "Authorization", x.Request.Header.Get("Authorization"), "Basic [secret]")
	check(t, "request", x.Request.Body, "grant_type=authorization_code&code=[secret]&client_id=app&client_secret=[secret]&code_verifier=[secret]")
	check(t, "response", x.Response.Body, `{"access_token":"[secret]","token_type":"Bearer","expires_in":3599,"refresh_token":"[secret]","scope":"read write","id_token":"[secret]"}`)
	check(t, "Set-Cookie", x.Response.Header.Get("Set-Cookie"), "sid=[secret]; Path=/; HttpOnly")
	if x.Response.Status != 200 || x.Request.Method != "POST" || x.Error != "" || x.Took != time.Second || x.StartedAt.Unix() != 1700000001 {
		t.Fatalf("%+v", x)
	}
}

func TestSecretsAreMaskedByTheirNames(t *testing.T) {
	const jsonType = "application/json"
	for name, c := range map[string]struct{ contentType, body, want string }{
		"members of JSON at any depth":          {jsonType, `{"a":[{"b":{"Client_Secret":"x","n":1}}]}`, `{"a":[{"b":{"Client_Secret":"[secret]","n":1}}]}`},
		"names in camel case":                   {jsonType, `{"accessToken":"x","apiKey": "y","userName":"z"}`, `{"accessToken":"[secret]","apiKey": "[secret]","userName":"z"}`},
		"a quote within a value":                {jsonType, `{"password":"a\"b\\","c":"d"}`, `{"password":"[secret]","c":"d"}`},
		"a number, an object and an array":      {jsonType, `{"pwd":1234,"token":{"a":"}"},"keys":[{"k":"]"}],"c":"d"}`, `{"pwd":"[secret]","token":"[secret]","keys":"[secret]","c":"d"}`},
		"what is absent stays visible":          {jsonType, `{"refresh_token":null,"access_token":"","session":false}`, `{"refresh_token":null,"access_token":"","session":false}`},
		"a member that comes twice":             {jsonType, `{"token":"a","token":"b"}`, `{"token":"[secret]","token":"[secret]"}`},
		"JSON that is cut":                      {jsonType, `{"access_token":"abcde`, `{"access_token":"[secret]"`},
		"JSON that is wrong":                    {jsonType, `{"access_token":"abc",,"x":}`, `{"access_token":"[secret]",,"x":}`},
		"an odd quote before it":                {jsonType, `5" disk {"access_token":"abc"}`, `5" disk {"access_token":"[secret]"}`},
		"spaces around":                         {jsonType, "{ \"token\" :\n \"abc\" }", "{ \"token\" :\n \"[secret]\" }"},
		"JSON within JSON":                      {jsonType, `{"body":"{\"access_token\":\"a\\\"b\",\"x\":\"y\"}"}`, `{"body":"{\"access_token\":\"[secret]\",\"x\":\"y\"}"}`},
		"JSON within JSON within JSON":          {jsonType, `"{\"b\":\"{\\\"token\\\":\\\"abc\\\",\\\"c\\\":1}\"}"`, `"{\"b\":\"{\\\"token\\\":\\\"[secret]\\\",\\\"c\\\":1}\"}"`},
		"a URL within JSON":                     {jsonType, `{"next":"https://x/?a=1&access_token=abc\u0026state=x\u0026b=2#code=d"}`, `{"next":"https://x/?a=1&access_token=[secret]\u0026state=[secret]\u0026b=2#code=[secret]"}`},
		"a value with PHP's slashes":            {jsonType, `{"next":"https:\/\/x\/?token=ab\/cd"}`, `{"next":"https:\/\/x\/?token=[secret]"}`},
		"JSON without a type":                   {"", `{"access_token":"abc"}`, `{"access_token":"[secret]"}`},
		"JSON that calls itself HTML":           {"text/html", `{"access_token":"abc"}`, `{"access_token":"[secret]"}`},
		"a problem document":                    {"application/problem+json", `{"title":"no","secret":"abc"}`, `{"title":"no","secret":"[secret]"}`},
		"a form":                                {form, "access_token=a,b;c'd&scope=x+y&access%5Ftoken=e&device_code=&z", "access_token=[secret]&scope=x+y&access%5Ftoken=[secret]&device_code=&z"},
		"a form that calls itself text":         {"text/plain", "access_token=abc&expires_in=5", "access_token=[secret]&expires_in=5"},
		"a URL within a form":                   {form, "redirect_uri=https%3A%2F%2Fx%2F%3Fcode%3Dabc%26n%3D1&a=b", "redirect_uri=https%3A%2F%2Fx%2F%3Fcode%3D[secret]%26n%3D1&a=b"},
		"a link in HTML":                        {"text/html; charset=utf-8", `<a href="/cb?code=abc&amp;state=x">`, `<a href="/cb?code=[secret]&amp;state=[secret]">`},
		"a quoted value":                        {"text/plain", `token="a b", x="y"`, `token="[secret]", x="y"`},
		"a script's object":                     {"text/html", `<script>{'token': 'abc', 'x': 'y'}</script>`, `<script>{'token': '[secret]', 'x': 'y'}</script>`},
		"what discovery says is no secret":      {jsonType, `{"token_endpoint":"https://x/token","token_endpoint_auth_methods_supported":["none"],"jwks_uri":"https://x/keys"}`, `{"token_endpoint":"https://x/token","token_endpoint_auth_methods_supported":["none"],"jwks_uri":"https://x/keys"}`},
		"an error stays readable":               {jsonType, `{"error":"invalid_grant","error_description":"Token is expired: sign in, secret"}`, `{"error":"invalid_grant","error_description":"Token is expired: sign in, secret"}`},
		"a picture is described":                {"image/png", "\x89PNG token=abc", "[14 bytes image/png]"},
		"bytes that are no text are described":  {"text/plain", "token=\xff\xfe", "[8 bytes text/plain]"},
		"wide characters are described":         {"text/plain", "t\x00o\x00k\x00", "[6 bytes text/plain]"},
		"XML is described":                      {"application/xml", "<token>abc</token>", "[18 bytes application/xml]"},
		"a form in parts is described":          {"multipart/form-data; boundary=x", "--x\r\nname=\"token\"\r\n\r\nabc", "[24 bytes multipart/form-data]"},
		"a token as the whole body":             {"application/jwt", "eyJhbGciOi.e30.c2ln", "[19 bytes application/jwt]"},
		"a name over and over":                  {"text/plain", "token token=token=abc token=x", "token token=[secret] token=[secret]"},
		"a percent sign that escapes nothing":   {"text/plain", "100% token=abc 5%zz", "100% token=[secret] 5%zz"},
		"an encoded text in an encoded text":    {"text/plain", "u=" + url.QueryEscape("https://x/?v="+url.QueryEscape("https://y/?code=abc")), "u=" + url.QueryEscape("https://x/?v=") + url.QueryEscape(url.QueryEscape("https://y/?code=")) + "[secret]"},
		"many backslashes are no way to stall":  {jsonType, `{"token":{` + strings.Repeat(`\`, 100_000), `{"token":"[secret]"`},
		"many brackets are no way to stall":     {jsonType, `{"token":` + strings.Repeat("[", 100_000), `{"token":"[secret]"`},
		"a cut value with an escape at its end": {jsonType, `{"token":"abc\`, `{"token":"[secret]"`},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{"Content-Type": {c.contentType}}
			if c.contentType == "" {
				header = http.Header{"Content-Type": nil} // or net/http would guess
			}
			x := exchange(t, &egress.Recorder{}, request("POST", "/", c.contentType, c.body), provider{header: header, body: c.body})
			check(t, "request", x.Request.Body, c.want)
			check(t, "response", x.Response.Body, c.want)
		})
	}
}

func TestHeadersAreMaskedByTheirNames(t *testing.T) {
	for name, c := range map[string]struct{ header, value, want string }{
		"a bearer token":                    {"Authorization", "Bearer abc", "Bearer [secret]"},
		"a scheme in small letters":         {"Authorization", "dpop abc", "dpop [secret]"},
		"a secret without a scheme":         {"Authorization", "abc", "[secret]"},
		"a secret of two words":             {"Authorization", "correct horse", "[secret]"},
		"a proxy's":                         {"Proxy-Authorization", "Basic YTpi", "Basic [secret]"},
		"cookies keep their names":          {"Cookie", "a=b; c=d=e; f", "a=[secret]; c=[secret]; [secret]"},
		"a set cookie keeps its attributes": {"Set-Cookie", "a=b; Path=/; Secure", "a=[secret]; Path=/; Secure"},
		"a cookie without attributes":       {"Set-Cookie", "a=b", "a=[secret]"},
		"a proof":                           {"Dpop", "eyJ", "[secret]"},
		"a key":                             {"X-Api-Key", "abc", "[secret]"},
		"any name with such a word":         {"X-Goog-Iam-Authorization-Token", "abc", "[secret]"},
		"where it redirects":                {"Location", "https://x/cb?code=abc&iss=y#access_token=z&n=1", "https://x/cb?code=[secret]&iss=y#access_token=[secret]&n=1"},
		"a refresh":                         {"Refresh", "0; url=/x?token=abc", "0; url=/x?token=[secret]"},
		"a link":                            {"Link", `<https://x/?page=2&token=abc>; rel="next"`, `<https://x/?page=2&token=[secret]>; rel="next"`},
		"why it was refused":                {"Www-Authenticate", `Bearer realm="x", error="invalid_token"`, `Bearer realm="x", error="invalid_token"`},
		"others are shown":                  {"Retry-After", "120", "120"},
	} {
		t.Run(name, func(t *testing.T) {
			r := request("POST", "/", "", "")
			r.Header.Set(c.header, c.value)
			x := exchange(t, &egress.Recorder{}, r, provider{header: http.Header{c.header: {c.value}}})
			check(t, "request", x.Request.Header.Get(c.header), c.want)
			check(t, "response", x.Response.Header.Get(c.header), c.want)
		})
	}
}

// forms are the ways in which a secret is written within other texts.
var forms = map[string]func(string) string{
	"as it is":              func(s string) string { return s },
	"in a query":            url.QueryEscape,
	"in a path":             url.PathEscape,
	"in lower hexadecimal":  func(s string) string { return strings.ToLower(everyByte(s, "%%%02X")) },
	"every byte escaped":    func(s string) string { return everyByte(s, "%%%02X") },
	"in a query in a query": func(s string) string { return url.QueryEscape(url.QueryEscape(s)) },
	"in JSON":               quoted,
	"in JSON in JSON":       func(s string) string { return quoted(quoted(s)) },
	"in JSON, all escaped":  func(s string) string { return everyRune(s) },
	"in PHP's JSON":         func(s string) string { return strings.ReplaceAll(quoted(s), "/", `\/`) },
	"in HTML":               html.EscapeString,
	"in base64":             func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"in base64url":          func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"in base64 after one":   func(s string) string { return base64.StdEncoding.EncodeToString([]byte("x" + s + "yz")) },
	"in base64 after two":   func(s string) string { return base64.URLEncoding.EncodeToString([]byte("xy" + s + "z")) },
	"in base64 in a query":  func(s string) string { return url.QueryEscape(base64.StdEncoding.EncodeToString([]byte("id:" + s))) },
}

func everyByte(s, format string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, format, s[i])
	}
	return b.String()
}

func everyRune(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r > 0xffff {
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
			continue
		}
		fmt.Fprintf(&b, `\u%04x`, r)
	}
	return b.String()
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b[1 : len(b)-1])
}

func TestAKnownSecretIsMaskedWhereverItIs(t *testing.T) {
	for _, s := range []string{"canary-5f1d", "s3cr:t/+ %x", `quo"te\back`, "<a&b>='c'", "pässwörd€😀", "line\nbreak\ttab", "0123"} {
		for name, encode := range forms {
			t.Run(fmt.Sprintf("%q %s", s, name), func(t *testing.T) {
				form := encode(s)
				if strings.Contains(name, "base64") && len(s) < 6 {
					t.Skip("too short to be told from other base64")
				}
				r := request("POST", "/", "text/plain", "before "+form+" after")
				r.URL.RawQuery = "q=" + strings.NewReplacer(" ", "%20", "\n", "%0A", "\t", "%09", "#", "%23").Replace(form)
				header := http.Header{"Content-Type": {"application/json"}}
				if !strings.ContainsAny(form, "\n\r") {
					r.Header.Set("X-Note", "before "+form+" after")
					header.Set("X-Note", form)
				}
				x := exchange(t, &egress.Recorder{Secrets: []secret.Text{secret.New(s)}}, r, provider{header: header, body: `{"message":"before ` + form + ` after"}`})
				all := dump(t, x)
				for _, leak := range []string{form, s, quoted(form), quoted(s)} {
					if strings.Contains(all, leak) {
						t.Fatalf("%q is in\n%s", leak, all)
					}
				}
				check(t, "request", x.Request.Body, "before [secret] after")
				check(t, "response", x.Response.Body, `{"message":"before [secret] after"}`)
			})
		}
	}
}

func TestWhatWasMaskedOnceIsMaskedFromThenOn(t *testing.T) {
	rec := &egress.Recorder{}
	r := request("GET", "/", "", "")
	r.Header.Set("Authorization", "Bearer ya29.a0AfH6SMBx-1")
	x := exchange(t, rec, r, provider{body: `{"you_sent":"ya29.a0AfH6SMBx-1","nested":"the-next-one-4711","next_token":"the-next-one-4711"}`})
	check(t, "echo", x.Response.Body, `{"you_sent":"[secret]","nested":"[secret]","next_token":"[secret]"}`)
	x = exchange(t, rec, request("GET", "/the-next-one-4711", "", ""), provider{body: "hello the-next-one-4711, code 42"})
	check(t, "later", x.Response.Body, "hello [secret], code 42")
	if strings.Contains(x.Request.URL, "4711") {
		t.Fatal(x.Request.URL)
	}
	x = exchange(t, rec, request("GET", "/poll/handle-0815-of-the-device", "", ""), provider{
		header: http.Header{"X-Echo": {"handle-0815-of-the-device"}},
		body:   `{"device_code":"handle-0815-of-the-device"}`,
	})
	if all := dump(t, x); strings.Contains(all, "0815") {
		t.Fatalf("what the end of an answer names is shown before it: %s", all)
	}
}

func TestCopiesAreCutAfterMasking(t *testing.T) {
	const s = "canary-5f1d"
	long := strings.Repeat("é", 32<<10-4) + s + strings.Repeat("x", 1000) // the secret crosses 64 KiB
	x := exchange(t, &egress.Recorder{Secrets: []secret.Text{secret.New(s)}}, request("POST", "/", "text/plain", long), provider{header: http.Header{"Content-Type": {"text/plain"}}, body: long})
	for name, c := range map[string]struct {
		body      string
		truncated bool
	}{"request": {x.Request.Body, x.Request.Truncated}, "response": {x.Response.Body, x.Response.Truncated}} {
		if !c.truncated || len(c.body) > 64<<10 || strings.Contains(c.body, "cana") {
			t.Errorf("%s: truncated %v, %d bytes, ends in %q", name, c.truncated, len(c.body), c.body[len(c.body)-20:])
		}
	}
}

func TestABodyThatEndsWithinASecretShowsNoPartOfIt(t *testing.T) {
	url := "http://" + serve(t, answer("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nyour canary-5f"))
	out := egress.New(egress.Config{Now: clock(), AllowPrivate: loopback})
	defer out.Close()
	rec := &egress.Recorder{Secrets: []secret.Text{secret.New("canary-5f1d")}}
	if _, err := post(egress.WithRecorder(t.Context(), rec), out.Client(egress.ClientOptions{}), url, ""); err == nil {
		t.Fatal("a half body passed for a whole one")
	}
	x := rec.Transcript().Exchanges[0]
	check(t, "body", x.Response.Body, "your [secret]")
	check(t, "error", x.Error, "read: connection closed")
}

func TestACallWithoutAnAnswerIsRecordedToo(t *testing.T) {
	out := egress.New(egress.Config{Now: clock()})
	defer out.Close()
	for target, want := range map[string]struct{ url, err string }{
		"http://127.0.0.1:1/?code=abc":       {"http://127.0.0.1:1/?code=[secret]", "dial: not allowed by this server: loopback address"},
		"http://me:pass@127.0.0.1/x":         {"http://[secret]@127.0.0.1/x", "dial: not allowed by this server: user name in URL"},
		"http://10.0.0.1/#access_token=abcd": {"http://10.0.0.1/", "dial: not allowed by this server: private address"},
	} {
		rec := &egress.Recorder{}
		if _, err := post(egress.WithRecorder(t.Context(), rec), out.Client(egress.ClientOptions{}), target, "a=b"); err == nil {
			t.Fatal("the call went out")
		}
		x := rec.Transcript().Exchanges[0]
		check(t, "URL", x.Request.URL, want.url)
		check(t, "error", x.Error, want.err)
		check(t, "body", x.Request.Body, "a=b")
		if x.Response.Status != 0 || x.Response.Body != "" {
			t.Fatalf("an answer from nowhere: %+v", x.Response)
		}
	}
}

func TestAStreamIsSentAndNotCopied(t *testing.T) {
	r := request("POST", "/", "text/plain", "")
	r.Body, r.GetBody, r.ContentLength = io.NopCloser(strings.NewReader("token=abc")), nil, -1
	x := exchange(t, &egress.Recorder{}, r, provider{})
	check(t, "request", x.Request.Body, "[a stream]")
}

func TestOneRecorderServesManyGoroutines(t *testing.T) {
	rec := &egress.Recorder{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { exchange(t, rec, request("POST", "/", form, "code=abc"), provider{body: "ok"}) })
	}
	wg.Wait()
	if n := len(rec.Transcript().Exchanges); n != 8 {
		t.Fatalf("%d exchanges", n)
	}
}

// FuzzMasking looks for a secret that gets into a transcript: alone, beside
// another, and in whatever text stands around it.
func FuzzMasking(f *testing.F) {
	f.Add("canary-5f1d", "other-secret", "text/plain", "token=", "&x", "q")
	f.Add(`a"b\c%41`, `\u0041\\`, "application/json", `{"a":"`, `"}`, "state")
	f.Add("++++", "%25%32", form, "a=%2B", "%2B&b", "a%")
	f.Add("aaaa", "aaaaa", "text/html", "aa", "aa<a href='", "auth")
	f.Add("&lt;x;", "<x;y", "", "&", ";", "")
	f.Fuzz(func(t *testing.T, s, other, contentType, before, after, name string) {
		if len(s) < 4 || strings.ContainsAny(s, "[]") || strings.Contains("[secret]", s) {
			t.Skip("shorter than what is looked for, or a part of the mask")
		}
		rec := &egress.Recorder{Secrets: []secret.Text{secret.New(other), secret.New(s)}}
		text := before + s + after
		header := http.Header{"Content-Type": {contentType}, "X-" + name: {text, s}, "Location": {text}, "Set-Cookie": {name + "=" + text}}
		u := &url.URL{Scheme: "https", Host: "example.com", Path: "/" + text, RawQuery: name + "=" + text}
		for _, shown := range egress.RecordForTest(rec, &http.Request{Method: "POST", URL: u, Header: header}, text, text) {
			if strings.Contains(shown, s) {
				t.Fatalf("%q is in %q", s, shown)
			}
		}
	})
}

func check(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

func dump(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
