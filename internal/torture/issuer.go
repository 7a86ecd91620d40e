//go:build linux

package torture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"golang.org/x/net/html"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
)

// Issuer is a provider that runs already, in place of the simulator. Its pages
// are filled in as a person would. It must say what it has issued: at Stats it
// answers as the simulator does, of each grant at least subject, generation,
// committed_us, duplicates, revoked, issued_sha256 and by.
type Issuer struct {
	URL          string
	Stats        string
	ClientID     string
	ClientSecret secret.Text
	RedirectURI  string // one that the client has; nobody need listen there
}

// endpoints are where a provider is asked.
type endpoints struct{ Authorization, Token, JWKS string }

func (t *torture) discover(ctx context.Context) error {
	m, err := oauth.Discover(ctx, t.client, t.cfg.Issuer.URL)
	t.asked = endpoints{m.AuthorizationEndpoint, m.TokenEndpoint, m.JWKSURI}
	t.stats = t.cfg.Issuer.Stats
	return err
}

// oauthConfig is of our client at the issuer.
func (t *torture) oauthConfig() oauth.Config {
	i := t.cfg.Issuer
	return oauth.Config{ClientID: i.ClientID, ClientSecret: i.ClientSecret, AuthorizationURL: t.asked.Authorization, TokenURL: t.asked.Token, RedirectURI: i.RedirectURI,
		Scopes: issuerScopes, AuthorizationParams: []oauth.Param{{Name: "prompt", Value: "consent"}}, Now: t.cfg.Now}
}

var issuerScopes = []string{"openid", "offline_access"}

// authorize lets a person authorize our client, and redeems the code.
func (t *torture) authorize(ctx context.Context, n int) (behalf.Import, error) {
	client, attempt := oauth.Client{Config: t.oauthConfig(), HTTP: t.client}, oauth.NewAttempt()
	begin, _, err := client.AuthorizationRequest(attempt)
	if err != nil {
		return behalf.Import{}, err
	}
	code, err := t.browse(ctx, begin, person(n))
	if err != nil {
		return behalf.Import{}, fmt.Errorf("%s authorizes: %w", person(n), err)
	}
	got, err := client.Exchange(ctx, code, attempt)
	return behalf.Import{User: person(n), Account: behalf.Account{Subject: person(n)}, Credential: behalf.Credential{AccessToken: got.AccessToken, RefreshToken: got.RefreshToken,
		IDToken: got.IDToken, TokenType: got.Type, Scopes: got.Scopes, ObtainedAt: t.db.Now(), ExpiresAt: got.ExpiresAt}}, err
}

// browse fills in every form on the way from an address to our redirect URI, and
// returns the code that comes there.
func (t *torture) browse(ctx context.Context, address, name string) (secret.Text, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return secret.Text{}, err
	}
	home := func(u *url.URL) bool { return strings.HasPrefix(u.String(), t.cfg.Issuer.RedirectURI) }
	browser := &http.Client{Jar: jar, Timeout: t.client.Timeout, Transport: t.client.Transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if home(next.URL) || len(via) > 10 {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	for range 10 {
		if err != nil {
			return secret.Text{}, err
		}
		res, err := browser.Do(req)
		if err != nil {
			return secret.Text{}, err
		}
		if to, err := res.Location(); err == nil && home(to) {
			_ = res.Body.Close()
			return codeIn(to)
		}
		req, err = nextForm(ctx, res, name)
		if err != nil {
			return secret.Text{}, err
		}
	}
	return secret.Text{}, errors.New("the provider's pages do not come to an end")
}

func codeIn(u *url.URL) (secret.Text, error) {
	if code := u.Query().Get("code"); code != "" {
		return secret.New(code), nil
	}
	return secret.Text{}, fmt.Errorf("the provider answers %q", u.Query().Get("error"))
}

// nextForm fills in the first form of a page.
func nextForm(ctx context.Context, res *http.Response, name string) (*http.Request, error) {
	defer func() { _ = res.Body.Close() }()
	page, err := html.Parse(http.MaxBytesReader(nil, res.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	var form *html.Node
	values := url.Values{}
	for n := range page.Descendants() {
		switch {
		case n.Type != html.ElementNode:
		case n.Data == "form" && form == nil:
			form = n
		case n.Data == "input" && form != nil:
			fill := map[string]string{"text": name, "email": name, "password": password}[attribute(n, "type")]
			values.Set(attribute(n, "name"), cmp.Or(attribute(n, "value"), fill))
		}
	}
	if form == nil {
		return nil, fmt.Errorf("a page of the provider without a form, status %d", res.StatusCode)
	}
	to, err := res.Request.URL.Parse(attribute(form, "action"))
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), strings.NewReader(values.Encode()))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req, err
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
