package oauth_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/internal/oauth"
)

// site is a server that publishes: a document by path, where {site} stands for
// the server's own URL and {other} for another server's.
type site struct {
	docs    map[string]string
	answers map[string]http.HandlerFunc
	url     string
	other   string

	mu    sync.Mutex
	paths []string
}

// asked returns the paths that were asked for so far.
func (s *site) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.paths)
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.paths = append(s.paths, r.URL.EscapedPath())
	s.mu.Unlock()
	if h := s.answers[r.URL.EscapedPath()]; h != nil {
		h(w, r)
		return
	}
	doc, ok := s.docs[r.URL.EscapedPath()]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, s.fill(doc))
}

func (s *site) fill(doc string) string {
	return strings.NewReplacer("{site}", s.url, "{other}", s.other).Replace(doc)
}

// open starts the site.
func (s *site) open(t *testing.T) *site {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// discover searches from a URL in which {site} is the site's.
func (s *site) discover(t *testing.T, from string) (oauth.Metadata, error) {
	t.Helper()
	return oauth.Discover(t.Context(), &http.Client{Timeout: 10 * time.Second}, s.fill(from))
}

// document is that of an issuer at a path of the site.
func document(path string, more ...string) string {
	issuer := "{site}" + path
	members := append([]string{`"issuer":"` + issuer + `"`, `"authorization_endpoint":"` + issuer + `/authorize"`, `"token_endpoint":"` + issuer + `/token"`}, more...)
	return "{" + strings.Join(members, ",") + "}"
}

func resourceDocument(path, server string) string {
	return `{"resource":"{site}` + path + `","authorization_servers":["` + server + `"],"scopes_supported":["notes:read"],"resource_name":"Acorn\u0000 Notes"}`
}

func redirectTo(s **site, to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", (*s).fill(to))
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

// unauthorized is a resource's answer without a token.
func unauthorized(s **site, challenge string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", (*s).fill(challenge))
		w.WriteHeader(http.StatusUnauthorized)
	}
}

const (
	openid = "/.well-known/openid-configuration"
	rfc    = "/.well-known/oauth-authorization-server"
	prm    = "/.well-known/oauth-protected-resource"
)

func TestMetadataIsFoundFromWhatPeoplePaste(t *testing.T) {
	var s *site
	for _, test := range []struct {
		name    string
		docs    map[string]string
		answers map[string]http.HandlerFunc
		from    string
		issuer  string
		tries   int // 0: not looked at
	}{
		{name: "an issuer, by OpenID Connect Discovery", docs: map[string]string{openid: document("")}, from: "{site}", issuer: "{site}", tries: 1},
		{name: "an issuer with a path, behind which OpenID has it", docs: map[string]string{"/a/b" + openid: document("/a/b")}, from: "{site}/a/b", issuer: "{site}/a/b", tries: 1},
		{name: "an issuer with a path, before which RFC 8414 has it", docs: map[string]string{rfc + "/a/b": document("/a/b")}, from: "{site}/a/b", issuer: "{site}/a/b", tries: 2},
		{name: "an issuer with a path, before which RFC 8414 lets OpenID have it", docs: map[string]string{openid + "/a": document("/a")}, from: "{site}/a", issuer: "{site}/a", tries: 3},
		{name: "an issuer with a path, behind which some have RFC 8414's", docs: map[string]string{"/a" + rfc: document("/a")}, from: "{site}/a", issuer: "{site}/a", tries: 4},
		{name: "an issuer whose server knows the address only with a slash", docs: map[string]string{"/o" + openid + "/": document("/o")}, from: "{site}/o", issuer: "{site}/o", tries: 5},
		{name: "an issuer without a path, by RFC 8414", docs: map[string]string{rfc: document("")}, from: "{site}", issuer: "{site}", tries: 2},
		{name: "an issuer with a slash at its end", docs: map[string]string{openid: document("/")}, from: "{site}/", issuer: "{site}/", tries: 1},
		{name: "an issuer whose slash at the end was left out", docs: map[string]string{"/t" + openid: document("/t/")}, from: "{site}/t", issuer: "{site}/t/", tries: 1},
		{name: "OpenID's document before RFC 8414's", docs: map[string]string{openid: document("", `"userinfo_endpoint":"{site}/me"`), rfc: document("")}, from: "{site}", issuer: "{site}", tries: 1},
		{name: "the well-known URL of OpenID", docs: map[string]string{"/a" + openid: document("/a")}, from: "{site}/a" + openid, issuer: "{site}/a", tries: 1},
		{name: "the well-known URL of OpenID with a slash", docs: map[string]string{"/o" + openid + "/": document("/o")}, from: "{site}/o" + openid + "/", issuer: "{site}/o", tries: 1},
		{name: "the well-known URL of RFC 8414, inserted", docs: map[string]string{rfc + "/a/b": document("/a/b")}, from: "{site}" + rfc + "/a/b", issuer: "{site}/a/b", tries: 1},
		{name: "the well-known URL of RFC 8414, behind the path", docs: map[string]string{"/a" + rfc: document("/a")}, from: "{site}/a" + rfc, issuer: "{site}/a", tries: 1},
		{name: "a well-known URL of the wrong kind", docs: map[string]string{"/a" + openid: document("/a")}, from: "{site}/a" + rfc, issuer: "{site}/a"},
		{name: "a well-known URL with a query and a fragment", docs: map[string]string{openid: document("")}, from: "{site}" + openid + "?x=y#z", issuer: "{site}", tries: 1},
		{name: "the well-known URL of a resource", docs: map[string]string{prm + "/mcp": resourceDocument("/mcp", "{site}/as"), rfc + "/as": document("/as")},
			from: "{site}" + prm + "/mcp", issuer: "{site}/as"},
		{name: "a resource, by its own path", docs: map[string]string{prm + "/mcp": resourceDocument("/mcp", "{site}/as"), rfc + "/as": document("/as")},
			from: "{site}/mcp", issuer: "{site}/as"},
		{name: "a resource, by the root", docs: map[string]string{prm: resourceDocument("", "{site}/as"), rfc + "/as": document("/as")},
			from: "{site}/mcp/v1", issuer: "{site}/as"},
		{name: "a resource that is the root", docs: map[string]string{prm: resourceDocument("", "{site}/as"), rfc + "/as": document("/as")},
			from: "{site}", issuer: "{site}/as"},
		{name: "a resource, by its 401", docs: map[string]string{"/meta": resourceDocument("/mcp", "{site}/as"), rfc + "/as": document("/as")},
			answers: map[string]http.HandlerFunc{"/mcp": unauthorized(&s, `Basic realm="\" resource_metadata=https://evil.example/ ", Bearer error="invalid_token", resource_metadata="{site}/meta", scope="a b"`)},
			from:    "{site}/mcp", issuer: "{site}/as"},
		{name: "a page below the resource, by its 401", docs: map[string]string{"/meta": resourceDocument("", "{site}/as"), rfc + "/as": document("/as")},
			answers: map[string]http.HandlerFunc{"/a/b/c": unauthorized(&s, `Bearer resource_metadata={site}/meta`)}, from: "{site}/a/b/c", issuer: "{site}/as"},
		{name: "the second authorization server where the first has nothing", docs: map[string]string{
			prm: `{"resource":"{site}","authorization_servers":["{site}/none","{site}/as"]}`, rfc + "/as": document("/as")}, from: "{site}/x", issuer: "{site}/as"},
		{name: "any page of the application", docs: map[string]string{openid: document("")}, from: "{site}/projects/12?view=list#top", issuer: "{site}"},
		{name: "an issuer that redirects on the same host", docs: map[string]string{"/meta.json": document("")},
			answers: map[string]http.HandlerFunc{openid: redirectTo(&s, "/meta.json")}, from: "{site}", issuer: "{site}", tries: 1},
		{name: "a document that begins with a byte order mark and is sent as text", docs: map[string]string{openid: "\xef\xbb\xbf " + document("")}, from: "{site}", issuer: "{site}", tries: 1},
		{name: "the right document behind somebody else's", docs: map[string]string{openid: document("/else"), rfc: document("")}, from: "{site}", issuer: "{site}", tries: 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			s = (&site{docs: test.docs, answers: test.answers}).open(t)
			m, err := s.discover(t, test.from)
			if err != nil {
				t.Fatalf("%v\n%v", err, m.Tried)
			}
			equal(t, "issuer", m.Issuer, s.fill(test.issuer))
			equal(t, "token endpoint", m.TokenEndpoint, s.fill(strings.TrimSuffix(test.issuer, "/"))+strings.Repeat("/", strings.Count(test.issuer[len(test.issuer)-1:], "/"))+"/token")
			if test.tries > 0 && len(m.Tried) != test.tries {
				t.Errorf("tried %d addresses, want %d: %v", len(m.Tried), test.tries, m.Tried)
			}
			if last := m.Tried[len(m.Tried)-1]; last.Outcome != "found" || last.Form == "" {
				t.Errorf("the last try is %+v", last)
			}
			for _, try := range m.Tried {
				if strings.ContainsAny(try.URL, "?#") {
					t.Errorf("a query was sent: %s", try.URL)
				}
			}
		})
	}
}

func TestMetadataSaysWhatTheDocumentSays(t *testing.T) {
	s := (&site{docs: map[string]string{rfc: document("",
		`"userinfo_endpoint":"https://id.example/me"`, `"jwks_uri":"{site}/keys"`, `"revocation_endpoint":"{site}/revoke"`, `"introspection_endpoint":null`,
		`"scopes_supported":["a","b c","","{{accessToken}}","d\u00e9","offline_access"]`, `"token_endpoint_auth_methods_supported":["client_secret_post"]`,
		`"code_challenge_methods_supported":["S256"]`, `"authorization_response_iss_parameter_supported":true`, `"require_pushed_authorization_requests":true`,
		`"pushed_authorization_request_endpoint":"{site}/par"`, `"grant_types_supported":[]`, `"unknown":{"deep":[1]}`, `"__proto__":{"issuer":"x"}`),
		"/meta": `{"resource":"{site}/mcp","authorization_servers":["ftp://x","http://192.0.2.1","{site}"],"scopes_supported":["r"],"bearer_methods_supported":["body"],"resource_name":" Acorn\n\u202eNotes "}`}}).open(t)
	s.answers = map[string]http.HandlerFunc{"/mcp": unauthorized(&s, `Bearer Resource_Metadata = "{site}/meta" , scope="w x"`)}
	m, err := s.discover(t, "{site}/mcp")
	if err != nil {
		t.Fatal(err)
	}
	m.Tried = nil
	want := oauth.Metadata{Issuer: s.url, AuthorizationEndpoint: s.url + "/authorize", TokenEndpoint: s.url + "/token", UserinfoEndpoint: "https://id.example/me",
		JWKSURI: s.url + "/keys", RevocationEndpoint: s.url + "/revoke", PushedEndpoint: s.url + "/par", Scopes: []string{"a", "offline_access"},
		TokenAuthMethods: []string{"client_secret_post"}, ChallengeMethods: []string{"S256"}, GrantTypes: []string{}, IssParameter: true, RequirePushed: true,
		Resource: oauth.Resource{Identifier: s.url + "/mcp", Name: "Acorn  Notes", Servers: []string{s.url}, Scopes: []string{"r"}, Asked: []string{"w", "x"}, Methods: []string{"body"}}}
	equal(t, "metadata", fmt.Sprintf("%+v", m), fmt.Sprintf("%+v", want))
}

func TestMetadataThatMustNotBeBelieved(t *testing.T) {
	var s *site
	huge := strings.Repeat("x", 2<<20)
	for _, test := range []struct {
		name    string
		docs    map[string]string
		answers map[string]http.HandlerFunc
		from    string
		kind    oauth.Kind
		reason  string
	}{
		{name: "another issuer's document", docs: map[string]string{openid: document("/else")}, kind: oauth.Protocol, reason: "its issuer is another one"},
		{name: "an honest server's document on a hostile one", docs: map[string]string{openid: strings.ReplaceAll(document(""), "{site}", "{other}")}, kind: oauth.Protocol, reason: "its issuer is another one"},
		{name: "the root's document for a path", docs: map[string]string{"/tenant" + openid: document("")}, from: "{site}/tenant" + openid, kind: oauth.Protocol, reason: "another one"},
		{name: "a tenant that claims the whole host", docs: map[string]string{rfc + "/evil": document("")}, from: "{site}" + rfc + "/evil", kind: oauth.Protocol, reason: "another one"},
		{name: "an issuer that is a template", docs: map[string]string{openid: strings.Replace(document(""), `"{site}"`, `"{site}/{tenantid}"`, 1)}, kind: oauth.Invalid, reason: "its issuer is not an https URL"},
		{name: "an issuer with a query", docs: map[string]string{openid: strings.Replace(document(""), `"{site}"`, `"{site}?a"`, 1)}, kind: oauth.Invalid, reason: "its issuer"},
		{name: "no issuer", docs: map[string]string{openid: `{"token_endpoint":"https://as.example/token"}`}, kind: oauth.Invalid, reason: "no issuer"},
		{name: "two issuers", docs: map[string]string{openid: document("", `"issuer":"https://other.example"`)}, kind: oauth.Invalid, reason: "its issuer stands there twice"},
		{name: "two token endpoints", docs: map[string]string{openid: document("", `"token_endpoint":"{site}/token"`)}, kind: oauth.Invalid, reason: "its token_endpoint stands there twice"},
		{name: "no endpoint", docs: map[string]string{openid: `{"issuer":"{site}"}`}, kind: oauth.Invalid, reason: "neither"},
		{name: "an endpoint by plain http elsewhere", docs: map[string]string{openid: document("", `"userinfo_endpoint":"http://192.0.2.7/me"`)}, kind: oauth.Invalid, reason: "its userinfo_endpoint is not an https URL"},
		{name: "an endpoint that is a script", docs: map[string]string{openid: document("", `"revocation_endpoint":"javascript:alert(1)"`)}, kind: oauth.Invalid, reason: "its revocation_endpoint"},
		{name: "an endpoint that is relative", docs: map[string]string{openid: document("", `"jwks_uri":"/keys"`)}, kind: oauth.Invalid, reason: "its jwks_uri"},
		{name: "an endpoint that carries the token away", docs: map[string]string{openid: document("", `"jwks_uri":"https://evil.example/?{{accessToken}}"`)}, kind: oauth.Invalid, reason: "its jwks_uri"},
		{name: "an endpoint with a user", docs: map[string]string{openid: document("", `"jwks_uri":"https://a@evil.example/"`)}, kind: oauth.Invalid, reason: "its jwks_uri"},
		{name: "an endpoint with a fragment", docs: map[string]string{openid: document("", `"jwks_uri":"https://evil.example/#x"`)}, kind: oauth.Invalid, reason: "its jwks_uri"},
		{name: "an endpoint with a line break", docs: map[string]string{openid: document("", `"jwks_uri":"https://evil.example/\r\nx"`)}, kind: oauth.Invalid, reason: "its jwks_uri"},
		{name: "an endpoint that is too long", docs: map[string]string{openid: document("", `"jwks_uri":"https://evil.example/`+huge[:3000]+`"`)}, kind: oauth.Invalid, reason: "its jwks_uri is too long"},
		{name: "an endpoint that is a number", docs: map[string]string{openid: document("", `"jwks_uri":1`)}, kind: oauth.Invalid, reason: "its jwks_uri is not a string"},
		{name: "a list that is a string", docs: map[string]string{openid: document("", `"scopes_supported":"a b"`)}, kind: oauth.Invalid, reason: "its scopes_supported is not an array"},
		{name: "a list of other things", docs: map[string]string{openid: document("", `"scopes_supported":["a",1]`)}, kind: oauth.Invalid, reason: "its scopes_supported"},
		{name: "a list without an end", docs: map[string]string{openid: document("", `"scopes_supported":[`+strings.Repeat(`"a",`, 2000)+`"a"]`)}, kind: oauth.Invalid, reason: "its scopes_supported"},
		{name: "a flag that is a string", docs: map[string]string{openid: document("", `"authorization_response_iss_parameter_supported":"true"`)}, kind: oauth.Invalid, reason: "neither true nor false"},
		{name: "HTML with status 200", docs: map[string]string{openid: "<!doctype html><title>Sign in</title>"}, kind: oauth.Invalid, reason: "not a JSON object"},
		{name: "an array", docs: map[string]string{openid: "[" + document("") + "]"}, kind: oauth.Invalid, reason: "not a JSON object"},
		{name: "two objects", docs: map[string]string{openid: document("") + document("")}, kind: oauth.Invalid, reason: "not a JSON object"},
		{name: "half an object", docs: map[string]string{openid: document("")[:40]}, kind: oauth.Invalid, reason: "not a JSON object"},
		{name: "a form", docs: map[string]string{openid: "issuer={site}"}, kind: oauth.Invalid, reason: "not a JSON object"},
		{name: "nothing but depth", docs: map[string]string{openid: strings.Repeat(`{"a":`, 5000)}, kind: oauth.Invalid, reason: "not a JSON object"},
		{name: "2 MB", docs: map[string]string{openid: document("", `"x":"`+huge+`"`)}, kind: oauth.Ambiguous, reason: "too long"},
		{name: "a redirect to another host", answers: map[string]http.HandlerFunc{openid: redirectTo(&s, "https://www.example.com"+openid)}, kind: oauth.Protocol, reason: "https://www.example.com"},
		{name: "a redirect to another scheme", answers: map[string]http.HandlerFunc{openid: redirectTo(&s, "file:///etc/passwd")}, kind: oauth.Protocol, reason: "another host"},
		{name: "a redirect to another port", answers: map[string]http.HandlerFunc{openid: redirectTo(&s, "http://127.0.0.1:1/")}, kind: oauth.Protocol, reason: "another host"},
		{name: "redirects in a circle", answers: map[string]http.HandlerFunc{openid: redirectTo(&s, openid)}, kind: oauth.ClientFault, reason: "circle"},
		{name: "another resource's document", docs: map[string]string{prm + "/mcp": resourceDocument("/other", "{site}"), openid: ""}, from: "{site}/mcp", kind: oauth.Protocol, reason: "its resource is another one"},
		{name: "a 401 that points at another resource", docs: map[string]string{"/meta": `{"resource":"https://honest.example/","authorization_servers":["https://evil.example/as"]}`, rfc + "/as": document("/as")},
			answers: map[string]http.HandlerFunc{"/mcp": unauthorized(&s, `Bearer resource_metadata="{site}/meta"`)}, from: "{site}/mcp", kind: oauth.Protocol, reason: "its resource is another one"},
		{name: "a 401 of a resource that is beside the page", docs: map[string]string{"/meta": resourceDocument("/mc", "{site}/as"), rfc + "/as": document("/as")},
			answers: map[string]http.HandlerFunc{"/mcp": unauthorized(&s, `Bearer resource_metadata="{site}/meta"`)}, from: "{site}/mcp", kind: oauth.Protocol, reason: "its resource is another one"},
		{name: "a 401 that points at a file", answers: map[string]http.HandlerFunc{"/mcp": unauthorized(&s, `Bearer resource_metadata="file:///etc/passwd"`)}, from: "{site}/mcp", kind: oauth.Protocol, reason: "its 401"},
		{name: "a resource without authorization servers", docs: map[string]string{prm: `{"resource":"{site}"}`}, kind: oauth.Invalid, reason: "no authorization server"},
		{name: "a resource whose servers cannot be asked", docs: map[string]string{prm: `{"resource":"{site}","authorization_servers":["file:///etc","http://192.0.2.1/"]}`}, kind: oauth.Invalid, reason: "no authorization server"},
		{name: "nothing at all", kind: oauth.Invalid, reason: "no metadata is published there"},
		{name: "a server that fails", answers: map[string]http.HandlerFunc{openid: func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }}, kind: oauth.Invalid, reason: "not a document"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s = (&site{docs: test.docs, answers: test.answers, other: "https://honest.example"}).open(t)
			m, err := s.discover(t, cmp.Or(test.from, "{site}"))
			e := wantError(t, err, test.kind)
			if !strings.Contains(e.Reason, test.reason) {
				t.Errorf("reason %q, want one with %q", e.Reason, test.reason)
			}
			if m.Issuer != "" || m.TokenEndpoint != "" || len(m.Tried) == 0 {
				t.Errorf("with the error came %+v", m)
			}
			for _, try := range m.Tried {
				if try.Outcome == "" || len(try.Outcome) > 400 {
					t.Errorf("outcome %q of %s", try.Outcome, try.URL)
				}
			}
			seen := map[string]bool{}
			for _, try := range m.Tried {
				if seen[try.URL] {
					t.Errorf("asked twice: %s", try.URL)
				}
				seen[try.URL] = true
			}
		})
	}
}

func TestSomeURLsAreNotEvenAsked(t *testing.T) {
	client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		t.Errorf("asked %s", r.URL)
		return nil, io.EOF
	})}
	for _, from := range []string{"", "https://", "://x", "http://as.example", "ftp://as.example", "file:///etc/passwd", "https://user:pw@as.example", "https://{tenant}.as.example",
		"https://as.example/{{accessToken}}", "https://as.example/a/../b", "https://as.example/%2e%2e/b", "https://as.example/a b", "https://as.example/\r\nHost: x",
		"https://as.ex\x00ample", "javascript:alert(1)", "https:as.example", "https://" + strings.Repeat("a", 3000), "http://localhost.evil.example", "https://\xff", "https://:443/"} {
		_, err := oauth.Discover(t.Context(), client, from)
		if e := wantError(t, err, oauth.ClientFault); strings.Contains(e.Error(), "example") || e.Op != oauth.OpDiscovery {
			t.Errorf("%q: %v", from, e)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAMissingSchemeMeansHTTPS(t *testing.T) {
	var asked []string
	client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.URL.String())
		return nil, io.EOF
	})}
	_, err := oauth.Discover(t.Context(), client, "  As.example/t\n")
	if oauth.KindOf(err) == "" || len(asked) == 0 || asked[0] != "https://as.example/t/.well-known/openid-configuration" {
		t.Errorf("asked %q: %v", asked, err)
	}
}

func TestAHostThatCannotBeReachedIsAskedOnce(t *testing.T) {
	var n atomic.Int32
	client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		n.Add(1)
		return nil, io.ErrUnexpectedEOF
	})}
	m, err := oauth.Discover(t.Context(), client, "https://as.example/t")
	e := wantError(t, err, oauth.Ambiguous)
	if n.Load() != 1 || !strings.Contains(e.Reason, "connection") || m.Tried[0].Err == nil {
		t.Errorf("asked %d times: %v, %+v", n.Load(), err, m.Tried)
	}
}

func TestASearchEndsWithItsContext(t *testing.T) {
	s := (&site{answers: map[string]http.HandlerFunc{openid: func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}}).open(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, err := oauth.Discover(ctx, &http.Client{}, s.url)
	if err == nil || time.Since(begun) > 5*time.Second || len(s.asked()) > 1 {
		t.Errorf("%v after %s and %d requests", err, time.Since(begun), len(s.asked()))
	}
}

func TestASearchIsBounded(t *testing.T) {
	servers := make([]string, 500)
	for i := range servers {
		servers[i] = fmt.Sprintf(`"{site}/as%d"`, i)
	}
	list := `{"resource":"{site}","authorization_servers":[` + strings.Join(servers, ",") + `]}`
	winding := func(w http.ResponseWriter, r *http.Request) { // a redirect before every answer
		if hops := r.URL.Query().Get("hop"); len(hops) < 3 {
			http.Redirect(w, r, r.URL.EscapedPath()+"?hop="+hops+"x", http.StatusFound)
			return
		}
		http.NotFound(w, r)
	}
	for _, test := range []struct {
		name string
		site *site
		most int
	}{
		{"of many authorization servers a few are asked", &site{docs: map[string]string{prm: list}}, 25},
		{"redirects count", &site{docs: map[string]string{prm: list}, answers: map[string]http.HandlerFunc{openid: winding}}, 32},
		{"redirects count everywhere", &site{docs: map[string]string{prm: list}, answers: everywhere(winding)}, 32},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := test.site.open(t)
			if m, err := s.discover(t, "{site}"); err == nil || len(s.asked()) > test.most || len(m.Tried) > 40 {
				t.Errorf("%v after %d requests and %d tries", err, len(s.asked()), len(m.Tried))
			}
		})
	}
}

// everywhere answers so at every address but that of the resource's document.
func everywhere(h http.HandlerFunc) map[string]http.HandlerFunc {
	answers := map[string]http.HandlerFunc{"": h, "/": h, openid: h, rfc: h, openid + "/": h}
	for i := range 10 {
		as := fmt.Sprintf("/as%d", i)
		for _, at := range []string{as + openid, rfc + as, openid + as, as + rfc, as + openid + "/"} {
			answers[at] = h
		}
	}
	return answers
}

func TestAnHTTPSServerNamesNothingOnThisMachineByPlainHTTP(t *testing.T) {
	inside := (&site{docs: map[string]string{"/meta": `{"resource":"{other}/mcp","authorization_servers":["{site}"]}`, openid: document("")}}).open(t)
	for name, docs := range map[string]map[string]string{
		"an endpoint":             {openid: document("", `"jwks_uri":"{other}/keys"`)},
		"an authorization server": {prm: `{"resource":"{site}","authorization_servers":["{other}"]}`},
		"a resource's metadata":   {},
	} {
		t.Run(name, func(t *testing.T) {
			s := &site{docs: docs, other: inside.url, answers: map[string]http.HandlerFunc{}}
			if len(docs) == 0 {
				s.answers["/mcp"] = unauthorized(&s, `Bearer resource_metadata="{other}/meta"`)
			}
			server := httptest.NewTLSServer(s)
			defer server.Close()
			s.url, inside.other = server.URL, server.URL
			m, err := oauth.Discover(t.Context(), server.Client(), server.URL+"/mcp")
			if err == nil || len(inside.asked()) > 0 {
				t.Errorf("%v: asked inside for %q, found %+v", err, inside.asked(), m)
			}
		})
	}
}
