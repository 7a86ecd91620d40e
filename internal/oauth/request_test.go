package oauth_test

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
)

const granted = `{"access_token":"a"}`

func TestTokenRequests(t *testing.T) {
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("client%3A1:s3cr%3At%2F%2B+%25x"))
	exchange := "grant_type=authorization_code&redirect_uri=https%3A%2F%2Fbehalf.example%2Fcallback%2Fprf_1&code=the-code%2F%2B+1&code_verifier=" + attempt.CodeVerifier.Reveal()
	refresh := "grant_type=refresh_token&refresh_token=the-refresh-token%2F%2B+1"
	for _, test := range []struct {
		name          string
		config        func(*oauth.Config)
		refresh       bool
		scopes        []string
		path          string
		authorization string
		sent          string
	}{
		{name: "Basic encodes id and secret first", authorization: basic, sent: exchange},
		{name: "Basic can send them raw", config: func(c *oauth.Config) { c.BasicRaw = true },
			authorization: "Basic " + base64.StdEncoding.EncodeToString([]byte("client:1:"+oddSecret)), sent: exchange},
		{name: "post puts them into the body", config: func(c *oauth.Config) { c.ClientAuth = oauth.Post },
			sent: exchange + "&client_id=client%3A1&client_secret=s3cr%3At%2F%2B+%25x"},
		{name: "a public client names itself", config: func(c *oauth.Config) { c.ClientAuth = oauth.None }, sent: exchange + "&client_id=client%3A1"},
		{name: "without PKCE no verifier", config: func(c *oauth.Config) { c.PKCE = oauth.PKCEOff }, authorization: basic,
			sent: strings.TrimSuffix(exchange, "&code_verifier="+attempt.CodeVerifier.Reveal())},
		{name: "extra parameters follow, replace the grant type, drop the redirect URI, and never touch credentials", config: func(c *oauth.Config) {
			c.TokenParams = []oauth.Param{{Name: "grant_type", Value: "own"}, {Name: "redirect_uri"}, {Name: "code", Value: "x"}, {Name: "client_id", Value: "x"},
				{Name: "code_verifier", Value: "x"}, {Name: "resource", Value: "b"}, {Name: "resource", Value: "a"}}
		}, authorization: basic, sent: "grant_type=own&resource=b&resource=a&code=the-code%2F%2B+1&code_verifier=" + attempt.CodeVerifier.Reveal()},
		{name: "JSON", config: func(c *oauth.Config) {
			c.TokenBody, c.ClientAuth, c.PKCE = oauth.JSON, oauth.Post, oauth.PKCEOff
			c.TokenParams = []oauth.Param{{Name: "r", Value: "1"}, {Name: "r", Value: "2"}, {Name: "r", Value: "3"}}
		}, sent: `{"client_id":"client:1","client_secret":"s3cr:t/+ %x","code":"the-code/+ 1","grant_type":"authorization_code","r":["1","2","3"],"redirect_uri":"https://behalf.example/callback/prf_1"}`},
		{name: "a token URL keeps its query", config: func(c *oauth.Config) { c.TokenURL += "?a=1" }, path: "/token?a=1", authorization: basic, sent: exchange},
		{name: "a refresh asks the token URL", refresh: true, authorization: basic, sent: refresh},
		{name: "a refresh asks its own URL", refresh: true, config: func(c *oauth.Config) { c.RefreshURL = c.TokenURL + "/refresh" }, path: "/token/refresh", authorization: basic, sent: refresh},
		{name: "a refresh can narrow the scope", refresh: true, config: func(c *oauth.Config) { c.ScopeSeparator = "," }, scopes: []string{"a", "b"}, authorization: basic,
			sent: "grant_type=refresh_token&scope=a%2Cb&refresh_token=the-refresh-token%2F%2B+1"},
		{name: "a refresh has parameters of its own", refresh: true, config: func(c *oauth.Config) {
			c.TokenParams, c.RefreshParams = []oauth.Param{{Name: "never", Value: "1"}}, []oauth.Param{{Name: "type", Value: "refresh"}, {Name: "refresh_token", Value: "x"}}
		}, authorization: basic, sent: "grant_type=refresh_token&type=refresh&refresh_token=the-refresh-token%2F%2B+1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &transcript{body: granted}
			client := serve(t, server)
			if test.config != nil {
				test.config(&client.Config)
			}
			var err error
			if test.refresh {
				_, err = client.Refresh(t.Context(), refreshToken, test.scopes...)
			} else {
				_, err = client.Exchange(t.Context(), code, attempt)
			}
			if err != nil {
				t.Fatal(err)
			}
			r := server.last(t)
			equal(t, "request", r.Method+" "+r.RequestURI, "POST "+cmp.Or(test.path, "/token"))
			equal(t, "Authorization", r.Header.Get("Authorization"), test.authorization)
			equal(t, "Accept", r.Header.Get("Accept"), "application/json")
			equal(t, "body", server.sent, test.sent)
			equal(t, "is JSON", r.Header.Get("Content-Type") == "application/json", json.Valid([]byte(server.sent)))
		})
	}
}

func TestTokenRequestsAgreeWithTheLibrary(t *testing.T) {
	for _, style := range []struct {
		ours   oauth.ClientAuth
		theirs oauth2.AuthStyle
	}{{oauth.Basic, oauth2.AuthStyleInHeader}, {oauth.Post, oauth2.AuthStyleInParams}} {
		for _, body := range []string{
			`{"access_token":"a","token_type":"Bearer","refresh_token":"r","expires_in":3600}`,
			`{"access_token":"a"}`,
			`{"access_token":"a","expires_in":"60"}`,
		} {
			server := &transcript{body: body, header: http.Header{"Content-Type": {"application/json"}}}
			client := serve(t, server)
			client.ClientAuth, client.Now = style.ours, time.Now
			library := oauth2.Config{ClientID: client.ClientID, ClientSecret: oddSecret, RedirectURL: client.RedirectURI,
				Endpoint: oauth2.Endpoint{TokenURL: client.TokenURL, AuthStyle: style.theirs}}
			ours, err := client.Exchange(t.Context(), code, attempt)
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := library.Exchange(t.Context(), code.Reveal(), oauth2.VerifierOption(attempt.CodeVerifier.Reveal()))
			if err != nil {
				t.Fatal(err)
			}
			a, b := server.requests[0], server.requests[1]
			equal(t, "form", a.Form.Encode(), b.Form.Encode())
			equal(t, "Authorization", a.Header.Get("Authorization"), b.Header.Get("Authorization"))
			equal(t, "tokens", []any{ours.AccessToken.Reveal(), ours.RefreshToken.Reveal()}, []any{theirs.AccessToken, theirs.RefreshToken})
			if ours.ExpiresAt.IsZero() != theirs.Expiry.IsZero() || ours.ExpiresAt.Sub(theirs.Expiry).Abs() > 5*time.Second {
				t.Fatalf("expiry %v, the library says %v", ours.ExpiresAt, theirs.Expiry)
			}
		}
	}
}

// knowing is a way out that knows how far its requests got.
type knowing struct {
	http.RoundTripper
	written bool
}
type callError struct {
	error
	written bool
}

func (e callError) RequestWritten() bool { return e.written }

func (k knowing) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, callError{errors.New("guarded"), k.written}
}

type mute struct{}

func (mute) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("nobody knows") }

func TestWhatWasWrittenIsKnown(t *testing.T) {
	hijack := func(write string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = conn.Write([]byte(write))
			_ = conn.Close()
		}
	}
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = refused.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never says a word
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no DNS") }}
	nameless := &http.Transport{DialContext: (&net.Dialer{Resolver: resolver}).DialContext}
	quick := func(c *oauth.Client) { c.HTTP.Timeout = 200 * time.Millisecond }

	for _, test := range []struct {
		name   string
		handle http.HandlerFunc
		client func(*oauth.Client)
		kind   oauth.Kind
		reason string
	}{
		{"a refused connection", nil, func(c *oauth.Client) { c.TokenURL = "http://" + refused.Addr().String() }, oauth.Transient, "no connection"},
		{"a name that does not exist", nil, func(c *oauth.Client) { c.TokenURL = "http://as.invalid/"; c.HTTP.Transport = nameless }, oauth.Transient, "no connection"},
		{"a certificate nobody trusts", nil, func(c *oauth.Client) { c.TokenURL = secure.URL }, oauth.Transient, "no connection"},
		{"TLS asked of a plain server", nil, func(c *oauth.Client) { c.TokenURL = strings.Replace(c.TokenURL, "http:", "https:", 1) }, oauth.Transient, "no connection"},
		{"TLS that never ends", nil, func(c *oauth.Client) { c.TokenURL = "https://" + silent.Addr().String(); quick(c) }, oauth.Transient, "no connection in time"},
		{"a guard that knows it refused", nil, func(c *oauth.Client) { c.HTTP.Transport = knowing{written: false} }, oauth.Transient, "no connection"},
		{"a guard that knows it wrote", nil, func(c *oauth.Client) { c.HTTP.Transport = knowing{written: true} }, oauth.Ambiguous, "the connection ended without an answer"},
		{"a transport that tells nothing", nil, func(c *oauth.Client) { c.HTTP.Transport = mute{} }, oauth.Ambiguous, "the connection ended without an answer"},
		{"a connection closed without an answer", hijack(""), nil, oauth.Ambiguous, "the connection ended without an answer"},
		{"an answer that is not HTTP", hijack("the-refresh-token/+ 1 garbage\r\n\r\n"), nil, oauth.Ambiguous, "the connection ended without an answer"},
		{"an answer that breaks off", hijack("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"access_token\":\"a\"}"), nil, oauth.Ambiguous, "the reply broke off"},
		{"an answer that never comes", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, quick, oauth.Ambiguous, "no answer in time"},
		{"a body that never ends", func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"access_token":"a`))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, quick, oauth.Ambiguous, "the reply broke off"},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := serve(t, &transcript{handle: test.handle})
			if test.client != nil {
				test.client(&client)
			}
			_, err := client.Refresh(t.Context(), refreshToken)
			e := wantError(t, err, test.kind)
			equal(t, "reason", e.Reason, test.reason)
			equal(t, "written", e.Written, test.kind == oauth.Ambiguous)
			wantSilence(t, err, refreshToken.Reveal(), oddSecret)
		})
	}
}

func TestAGoneCallerWritesNothing(t *testing.T) {
	server := &transcript{body: granted}
	client := serve(t, server)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := client.Refresh(ctx, refreshToken)
	if e := wantError(t, err, oauth.Transient); e.Written || !errors.Is(err, context.Canceled) || len(server.requests) != 0 {
		t.Fatalf("%+v after %d requests", e, len(server.requests))
	}
}

func TestCredentialsDoNotFollowRedirects(t *testing.T) {
	thief := &transcript{body: granted}
	elsewhere := httptest.NewServer(thief)
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		client := serve(t, &transcript{status: status, header: http.Header{"Location": {elsewhere.URL}}})
		_, err := client.Exchange(t.Context(), code, attempt)
		wantError(t, err, oauth.ClientFault)
		_, err = client.Userinfo(t.Context(), secret.New("a"), "")
		wantError(t, err, oauth.ClientFault)
		wantError(t, client.Revoke(t.Context(), refreshToken, ""), oauth.ClientFault)
	}
	if len(thief.requests) != 0 {
		t.Fatal("a redirect was followed")
	}
}

func TestAWrongConfigAsksNobody(t *testing.T) {
	for name, change := range map[string]func(*oauth.Config){
		"a relative token URL":   func(c *oauth.Config) { c.TokenURL = "/canary" },
		"a broken token URL":     func(c *oauth.Config) { c.TokenURL = "http://canary\x7f/" },
		"an unknown client auth": func(c *oauth.Config) { c.ClientAuth = "canary" },
	} {
		t.Run(name, func(t *testing.T) {
			server := &transcript{body: granted}
			client := serve(t, server)
			change(&client.Config)
			_, err := client.Exchange(t.Context(), code, attempt)
			if e := wantError(t, err, oauth.ClientFault); e.Written || len(server.requests) != 0 || strings.Contains(err.Error(), "canary") {
				t.Fatal(err)
			}
		})
	}
}

func TestErrorsNeverEchoASecret(t *testing.T) {
	secrets := []string{oddSecret, code.Reveal(), attempt.CodeVerifier.Reveal(), refreshToken.Reveal()}
	echo := func(w http.ResponseWriter, r *http.Request) {
		words := "you sent " + r.Form.Encode() + " and " + r.Header.Get("Authorization") + " and " + strings.Join(secrets, ", ") +
			" as " + url.PathEscape(oddSecret) + " and " + base64.StdEncoding.EncodeToString([]byte(oddSecret))
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_grant " + code.Reveal() + refreshToken.Reveal(), "error_description": words, "error_uri": "https://as.example/?" + r.Form.Encode()})
	}
	for _, auth := range []oauth.ClientAuth{oauth.Basic, oauth.Post} {
		client := serve(t, &transcript{handle: echo})
		client.ClientAuth = auth
		client.TokenURL += "?pin=pin-canary"
		client.Secrets = []secret.Text{secret.New("pin-canary")}
		basic, _, _ := strings.Cut(base64.StdEncoding.EncodeToString([]byte("client%3A1:s3cr%3At%2F%2B+%25x")), "=")
		_, err := client.Exchange(t.Context(), code, attempt)
		wantSilence(t, err, oddSecret, code.Reveal(), attempt.CodeVerifier.Reveal(), basic, "pin-canary")
		_, err = client.Refresh(t.Context(), refreshToken)
		wantSilence(t, err, oddSecret, refreshToken.Reveal(), basic)
		err = client.Revoke(t.Context(), refreshToken, "refresh_token")
		wantSilence(t, err, oddSecret, refreshToken.Reveal(), basic)
	}
	client := serve(t, &transcript{})
	client.TokenURL = "http://127.0.0.1:1/?pin=pin-canary"
	_, err := client.Exchange(t.Context(), code, attempt)
	wantSilence(t, err, "pin-canary")
	if e := wantError(t, err, oauth.Transient); strings.Contains(e.Err.Error(), "pin-canary") {
		t.Fatal(e.Err)
	}
}

func TestWordsAreBounded(t *testing.T) {
	long := strings.Repeat("ä", 2000)
	client := serve(t, &transcript{status: 400, body: `{"error":"` + long + `","error_description":"\u001b[31m` + long + `","error_uri":"javascript:alert(1)"}`})
	_, err := client.Refresh(t.Context(), refreshToken)
	e := wantError(t, err, oauth.Ambiguous)
	equal(t, "lengths", []int{len([]rune(e.Code)), len([]rune(e.Description)), len(e.URI)}, []int{100, 500, 0})
	if strings.ContainsRune(e.Description, 0x1b) {
		t.Fatal("a control character is in the words")
	}
}

func TestRevoke(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		body   string
		kind   oauth.Kind // "": revoked
	}{
		{"an empty 200", 200, "", ""},
		{"a 204", 204, "", ""},
		{"a page with 200", 200, "<p>bye</p>", ""},
		{"true", 200, `{"ok":true}`, ""},
		{"an error with 200", 200, `{"error":"invalid_client"}`, oauth.ClientFault},
		{"a kind of token that is not revoked here", 400, `{"error":"unsupported_token_type"}`, oauth.ClientFault},
		{"a busy server", 429, "", oauth.Limited},
		{"a broken server", 500, "", oauth.Ambiguous},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &transcript{status: test.status, body: test.body}
			err := serve(t, server).Revoke(t.Context(), refreshToken, "refresh_token")
			if test.kind != "" {
				wantError(t, err, test.kind)
			} else if err != nil {
				t.Fatal(err)
			}
			equal(t, "request", server.last(t).URL.Path+" "+server.sent, "/revoke token=the-refresh-token%2F%2B+1&token_type_hint=refresh_token")
		})
	}
}
