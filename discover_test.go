package behalf_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/oauth"
)

// openServer is what a server publishes that offers all that we speak.
func openServer() oauth.Metadata {
	return oauth.Metadata{
		Issuer: "https://as.example", AuthorizationEndpoint: "https://as.example/authorize", TokenEndpoint: "https://as.example/token",
		UserinfoEndpoint: "https://as.example/me", JWKSURI: "https://as.example/keys", RevocationEndpoint: "https://as.example/revoke",
		Scopes: []string{"openid", "email", "profile", "offline_access", "notes"}, ResponseTypes: []string{"code", "code id_token"},
		GrantTypes: []string{"authorization_code", "refresh_token"}, TokenAuthMethods: []string{"client_secret_post", "client_secret_basic"},
		ChallengeMethods: []string{"plain", "S256"}, IDTokenAlgs: []string{"HS256", "RS256"}, IssParameter: true,
	}
}

func TestMetadataMakesADraftThatNeedsOnlyAClient(t *testing.T) {
	draft := behalf.Drafted(openServer())
	want := behalf.Definition{
		Type: behalf.OAuth2, Name: "as.example", Provider: "as.example",
		AuthorizationURL: "https://as.example/authorize", TokenURL: "https://as.example/token",
		Scope: []behalf.ScopeParam{{Key: "scope", Value: "email offline_access openid"}},
		OAuth: behalf.OAuthSettings{
			ClientAuth: behalf.ClientAuthBasic, PKCE: behalf.PKCERequired, Issuer: "https://as.example", RequireIss: true,
			JWKSURL: "https://as.example/keys", UserinfoURL: "https://as.example/me", RevocationURL: "https://as.example/revoke",
			AuthorizationParams: []behalf.Param{{Key: "prompt", Value: "consent"}},
		},
	}
	if diff := cmp.Diff(want, draft.Definition); diff != "" {
		t.Errorf("the draft (-want +got):\n%s", diff)
	}
	if got := notedFields(draft); !slices.Equal(got, []string{"oauth.authorization_params", "api.base_url"}) {
		t.Errorf("notes on %q", got)
	}
	d := draft.Definition
	d.ClientID = "id"
	if _, err := behalf.Compile(d); err != nil {
		t.Errorf("the draft is no profile: %v", err)
	}
	if w := behalf.Lint(d, behalf.Known{ScopesSupported: draft.ScopesSupported}); len(w) != 1 || w[0].Code != behalf.WarnNoAPI {
		t.Errorf("the draft is warned of: %+v", w)
	}
}

func notedFields(d behalf.Draft) []string {
	var fields []string
	for _, n := range d.Notes {
		fields = append(fields, n.Field)
	}
	return fields
}

func TestAResourceMakesADraftForItself(t *testing.T) {
	m := openServer()
	m.Scopes = []string{"openid", "notes:read"}
	m.Resource = oauth.Resource{Identifier: "https://mcp.example/mcp", Name: "Acorn Notes", Servers: []string{"https://as.example", "https://as2.example"},
		Scopes: []string{"notes:write", "notes:read"}, Methods: []string{"body"}}
	draft := behalf.Drafted(m)
	d, resource := draft.Definition, []behalf.Param{{Key: "resource", Value: "https://mcp.example/mcp"}}
	got := []any{d.Name, d.Provider, d.API.BaseURL, d.Scope, d.OAuth.AuthorizationParams, d.OAuth.TokenParams, d.OAuth.RefreshParams, draft.ScopesSupported, notedFields(draft)}
	want := []any{"Acorn Notes", "Acorn Notes", "https://mcp.example/mcp", []behalf.ScopeParam{{Key: "scope", Value: "notes:read notes:write openid"}}, resource, resource, resource,
		[]string{"notes:write", "notes:read", "openid"}, []string{"scope", "oauth.authorization_params", "authorization_fields", "oauth.issuer"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the draft (-want +got):\n%s", diff)
	}
	m.Resource.Asked = []string{"notes:read"}
	if got := behalf.Drafted(m).Definition.Scope[0].Value; got != "notes:read openid" {
		t.Errorf("of a resource that asks for one scope: %q", got)
	}
}

func TestWhatMetadataLeavesOutOrDiffersIn(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*oauth.Metadata)
		check  func(behalf.Definition) bool
		note   string // "field: piece of the message", or "!field" for none
	}{
		{"no client authentication is told: Basic", func(m *oauth.Metadata) { m.TokenAuthMethods = nil }, func(d behalf.Definition) bool { return d.OAuth.ClientAuth == behalf.ClientAuthBasic }, "!oauth.client_auth"},
		{"only the body", func(m *oauth.Metadata) { m.TokenAuthMethods = []string{"client_secret_post"} }, func(d behalf.Definition) bool { return d.OAuth.ClientAuth == behalf.ClientAuthPost }, ""},
		{"only public clients", func(m *oauth.Metadata) { m.TokenAuthMethods = []string{"none"} }, func(d behalf.Definition) bool { return d.OAuth.ClientAuth == behalf.ClientAuthNone }, ""},
		{"a secret before a public client", func(m *oauth.Metadata) { m.TokenAuthMethods = []string{"none", "client_secret_post"} }, func(d behalf.Definition) bool { return d.OAuth.ClientAuth == behalf.ClientAuthPost }, ""},
		{"no way that we speak", func(m *oauth.Metadata) { m.TokenAuthMethods = []string{"tls_client_auth", "a\nb"} }, nil, "oauth.client_auth: tls_client_auth, …"},
		{"private_key_jwt too", func(m *oauth.Metadata) { m.TokenAuthMethods = []string{"client_secret_basic", "private_key_jwt"} }, nil, "oauth.client_auth: private_key_jwt"},
		{"PKCE is not told", func(m *oauth.Metadata) { m.ChallengeMethods = nil }, func(d behalf.Definition) bool { return d.OAuth.PKCE == behalf.PKCERequired }, "oauth.pkce: does not say"},
		{"PKCE without S256 is never a reason to switch it off", func(m *oauth.Metadata) { m.ChallengeMethods = []string{"plain"} }, func(d behalf.Definition) bool { return d.OAuth.PKCE == behalf.PKCERequired }, "oauth.pkce: S256"},
		{"iss is not told", func(m *oauth.Metadata) { m.IssParameter = false }, func(d behalf.Definition) bool { return !d.OAuth.RequireIss }, ""},
		{"no openid", func(m *oauth.Metadata) { m.Scopes = []string{"notes"} }, func(d behalf.Definition) bool {
			return d.Scope == nil && d.OAuth.UserinfoURL == "" && d.OAuth.JWKSURL == "" && d.OAuth.AuthorizationParams == nil
		}, ""},
		{"no scopes are told, and userinfo is there", func(m *oauth.Metadata) { m.Scopes = nil }, func(d behalf.Definition) bool { return d.Scope[0].Value == "openid" }, ""},
		{"no scopes are told at all", func(m *oauth.Metadata) { m.Scopes, m.UserinfoEndpoint = nil, "" }, func(d behalf.Definition) bool { return d.Scope == nil }, ""},
		{"openid without keys", func(m *oauth.Metadata) { m.JWKSURI = "" }, func(d behalf.Definition) bool {
			return d.Scope[0].Value == "offline_access" && d.OAuth.UserinfoURL == ""
		}, "oauth.jwks_url: could not be checked"},
		{"openid by shared secrets only", func(m *oauth.Metadata) { m.IDTokenAlgs = []string{"HS256"} }, func(d behalf.Definition) bool {
			return d.Scope[0].Value == "offline_access" && d.OAuth.AuthorizationParams == nil
		}, "scope: HS256"},
		{"no prompt consent", func(m *oauth.Metadata) { m.Prompts = []string{"login"} }, func(d behalf.Definition) bool { return d.OAuth.AuthorizationParams == nil }, ""},
		{"prompt consent", func(m *oauth.Metadata) { m.Prompts = []string{"login", "consent"} }, func(d behalf.Definition) bool { return len(d.OAuth.AuthorizationParams) == 1 }, "oauth.authorization_params: §11"},
		{"no refresh tokens", func(m *oauth.Metadata) { m.GrantTypes = []string{"authorization_code"} }, nil, "scope: refresh tokens"},
		{"no code", func(m *oauth.Metadata) { m.ResponseTypes = []string{"token"} }, nil, "oauth.response_type: code"},
		{"no revocation", func(m *oauth.Metadata) { m.RevocationEndpoint = "" }, nil, "oauth.revocation_url: live on"},
		{"pushed requests are required", func(m *oauth.Metadata) { m.PushedEndpoint, m.RequirePushed = "https://as.example/par", true }, nil, "authorization_url: will be refused"},
		{"pushed requests are possible", func(m *oauth.Metadata) { m.PushedEndpoint = "https://as.example/par" }, nil, "authorization_url: RFC 9126"},
		{"signed requests are required", func(m *oauth.Metadata) { m.RequireRequest = true }, nil, "authorization_url: RFC 9101"},
		{"DPoP", func(m *oauth.Metadata) { m.DPoPAlgs = []string{"ES256"} }, nil, "oauth: DPoP"},
		{"registration", func(m *oauth.Metadata) { m.RegistrationEndpoint = "https://as.example/register" }, nil, "client_id: RFC 7591"},
		{"certificates", func(m *oauth.Metadata) { m.CertificateBinding = true }, nil, "oauth: RFC 8705"},
		{"a device flow beside", func(m *oauth.Metadata) { m.DeviceEndpoint = "https://as.example/device" }, nil, "type: RFC 8628"},
		{"a token endpoint elsewhere, which receives the secret", func(m *oauth.Metadata) { m.TokenEndpoint = "https://honest.example/token" }, nil, "token_url: honest.example"},
		{"an authorization endpoint elsewhere", func(m *oauth.Metadata) { m.AuthorizationEndpoint = "https://honest.example/authorize" }, nil, "authorization_url: honest.example"},
		{"userinfo elsewhere, which receives tokens", func(m *oauth.Metadata) { m.UserinfoEndpoint = "https://evil.example/me" }, nil, "oauth.userinfo_url: evil.example"},
		{"no authorization endpoint", func(m *oauth.Metadata) { m.AuthorizationEndpoint = "" }, nil, "authorization_url: by hand"},
		{"no token endpoint", func(m *oauth.Metadata) { m.TokenEndpoint = "" }, nil, "token_url: by hand"},
		{"clients only", func(m *oauth.Metadata) { m.AuthorizationEndpoint, m.GrantTypes = "", []string{"client_credentials"} }, func(d behalf.Definition) bool {
			return d.Type == behalf.OAuth2ClientCredentials && d.Scope == nil
		}, "type: client credentials"},
		{"devices only", func(m *oauth.Metadata) {
			m.AuthorizationEndpoint, m.GrantTypes = "", []string{"urn:ietf:params:oauth:grant-type:device_code"}
		}, func(d behalf.Definition) bool { return d.Type == behalf.OAuth2Device }, "type: device"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := openServer()
			test.change(&m)
			draft := behalf.Drafted(m)
			if test.check != nil && !test.check(draft.Definition) {
				t.Errorf("the draft is %+v", draft.Definition)
			}
			if field, not := strings.CutPrefix(test.note, "!"); not {
				if slices.Contains(notedFields(draft), field) {
					t.Errorf("a note on %s among %q", field, draft.Notes)
				}
				return
			}
			field, text, _ := strings.Cut(test.note, ": ")
			if test.note != "" && !slices.ContainsFunc(draft.Notes, func(n behalf.Note) bool { return n.Field == field && strings.Contains(n.Message, text) }) {
				t.Errorf("no note %q among %q", test.note, draft.Notes)
			}
		})
	}
}

func TestEveryScopeOfAServerMayBeOffered(t *testing.T) {
	m := openServer()
	m.Scopes = nil
	for range 2000 {
		m.Scopes = append(m.Scopes, "s"+strings.Repeat("x", len(m.Scopes)%200))
	}
	d := behalf.Drafted(m).Definition
	d.ClientID = "id"
	if _, err := behalf.Compile(d); err != nil {
		t.Error(err)
	}
}
