// Package servers starts authorization servers that others wrote, as real
// processes, for the end-to-end tests.
//
// Every server knows the same three clients ("basic", "post" and "public", by
// how they prove themselves), the same users and the same password, so that a
// test can run over All of them.
package servers

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// ClientSecret has a character of every kind that HTTP Basic and form
	// encoding treat differently (RFC 6749 section 2.3.1).
	ClientSecret = "s3cr:t/+ %x"

	// Alice and Bob are the users of every server.
	Alice = "alice@example.test"
	Bob   = "bob@example.test"

	// Password is every user's.
	Password = "open-sesame-at-the-provider"
)

// Options of one server.
type Options struct {
	// RedirectURIs are those that the server accepts, compared as whole strings.
	RedirectURIs []string

	// TokenTTL is how long an access token is good, in whole seconds. The zero
	// value is one hour.
	TokenTTL time.Duration

	// ClientAuth is how the client proves itself: "basic", "post" or "none".
	// The zero value is "basic".
	ClientAuth string
}

// Server is an authorization server that runs until its test ends.
type Server struct {
	Name string

	// Issuer is empty where there is no discovery document, and so are
	// UserinfoURL and JWKSURL where there is no OpenID Connect.
	Issuer           string
	MetadataURL      string
	AuthorizationURL string
	TokenURL         string
	UserinfoURL      string
	JWKSURL          string

	// APIURL answers a GET that bears an access token with JSON that holds
	// Username. It is the userinfo endpoint where the server has no other API.
	APIURL string

	ClientID     string
	ClientSecret string // empty with ClientAuth "none"
	ClientAuth   string // "basic", "post" or "none"

	// BasicRaw says that HTTP Basic carries id and secret as they are, not
	// form-encoded.
	BasicRaw bool

	// Scopes make the server issue a refresh token.
	Scopes []string

	// ExtraParams belong into the authorization request.
	ExtraParams map[string]string

	// Username and Password are what the server's login page asks for.
	Username string
	Password string

	process *process
}

// kind says what tells one server from another. Paths hang on the address.
type kind struct {
	name    string
	program func(testing.TB) []string

	issuer        string // path; "-" where there is no discovery
	metadata      string
	authorization string
	token         string
	userinfo      string
	jwks          string
	api           string

	basicRaw    bool
	scopes      []string
	extraParams map[string]string
}

// kinds is the table of the servers.
var kinds = []kind{
	{
		name:          "oidc-provider",
		program:       node("oidc-provider.mjs"),
		issuer:        "",
		metadata:      "/.well-known/openid-configuration",
		authorization: "/auth",
		token:         "/token",
		userinfo:      "/me",
		jwks:          "/jwks",
		scopes:        []string{"openid", "offline_access", "email"},
		extraParams:   map[string]string{"prompt": "consent"}, // else no refresh token
	},
	{
		name:          "dex",
		program:       goProgram("dex"),
		issuer:        "/dex",
		metadata:      "/dex/.well-known/openid-configuration",
		authorization: "/dex/auth",
		token:         "/dex/token",
		userinfo:      "/dex/userinfo",
		jwks:          "/dex/keys",
		scopes:        []string{"openid", "offline_access", "email"},
	},
	{
		name:          "zitadel",
		program:       goProgram("zitadel"),
		issuer:        "/",
		metadata:      "/.well-known/openid-configuration",
		authorization: "/auth",
		token:         "/oauth/token",
		userinfo:      "/userinfo",
		jwks:          "/keys",
		scopes:        []string{"openid", "offline_access", "email"},
	},
	{
		name:          "node-oauth",
		program:       node("node-oauth.mjs"),
		issuer:        "-",
		authorization: "/authorize",
		token:         "/token",
		api:           "/api/me",
		basicRaw:      true,
		scopes:        []string{"read"},
	},
	{
		name:          "django-oauth-toolkit",
		program:       debianPython("django-oauth-toolkit.py"),
		issuer:        "/o",
		metadata:      "/o/.well-known/openid-configuration/",
		authorization: "/o/authorize/",
		token:         "/o/token/",
		userinfo:      "/o/userinfo/",
		jwks:          "/o/.well-known/jwks.json",
		api:           "/api/me",
		scopes:        []string{"openid", "read"},
	},
}

// All returns the names of the servers.
func All() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// Start starts the named server and waits until it answers. It is stopped when
// the test ends. In short mode the test is skipped.
func Start(t testing.TB, name string, opts Options) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("a real authorization server takes too long for short mode")
	}
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		t.Fatalf("servers: there is no server %q; there are %s", name, strings.Join(All(), ", "))
	}
	k := kinds[i]
	port := FreePort(t)
	s := k.server("http://127.0.0.1:"+strconv.Itoa(port), cmp.Or(opts.ClientAuth, "basic"))
	s.process = start(t, k.name, k.program(t), []string{
		"PORT=" + strconv.Itoa(port),
		"REDIRECT_URIS=" + strings.Join(opts.RedirectURIs, " "),
		"TOKEN_TTL=" + strconv.Itoa(int(cmp.Or(opts.TokenTTL, time.Hour).Seconds())),
		"CLIENT_SECRET=" + ClientSecret,
		"USERS=" + Alice + " " + Bob,
		"PASSWORD=" + Password,
		"DATA_DIR=" + t.TempDir(),
	})
	s.process.waitFor(t, cmp.Or(s.MetadataURL, s.AuthorizationURL))
	return s
}

func (k kind) server(base, clientAuth string) *Server {
	s := &Server{
		Name:             k.name,
		AuthorizationURL: base + k.authorization,
		TokenURL:         base + k.token,
		APIURL:           base + cmp.Or(k.api, k.userinfo),
		ClientID:         clientAuth,
		ClientSecret:     ClientSecret,
		ClientAuth:       clientAuth,
		BasicRaw:         k.basicRaw,
		Scopes:           k.scopes,
		ExtraParams:      k.extraParams,
		Username:         Alice,
		Password:         Password,
	}
	if clientAuth == "none" {
		s.ClientID, s.ClientSecret = "public", ""
	}
	if k.issuer != "-" {
		s.Issuer = base + k.issuer
		s.MetadataURL = base + k.metadata
		s.UserinfoURL = base + k.userinfo
		s.JWKSURL = base + k.jwks
	}
	return s
}

// Output returns what the server has written so far, to be searched for what
// must not be there.
func (s *Server) Output(t testing.TB) string {
	t.Helper()
	return s.process.output(t)
}

// AuthorizationRequest returns the address that a browser begins at, with the
// server's own parameters and those given.
func (s *Server) AuthorizationRequest(params url.Values) string {
	query := url.Values{
		"response_type": {"code"},
		"client_id":     {s.ClientID},
		"scope":         {strings.Join(s.Scopes, " ")},
	}
	for name, value := range s.ExtraParams {
		query.Set(name, value)
	}
	for name, values := range params {
		query[name] = values
	}
	return s.AuthorizationURL + "?" + query.Encode()
}
