package expand

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestAllows(t *testing.T) {
	hosts := mustHosts(t, "api.example.com", "*.service-now.com", "b.example.com:8443", "c.example.com:443", "kelvin.example", "Bücher.example", "[0::1]:80", "127.0.0.1", "a.*.b.example")
	for _, u := range []string{
		"https://api.example.com", "https://API.EXAMPLE.com/x", "https://api.example.com:443", "http://api.example.com:80", "http://api.example.com",
		"https://acme.service-now.com", "https://ACME.service-now.com", "https://b.example.com:8443", "https://c.example.com", "http://c.example.com:443",
		"https://xn--bcher-kva.example", "http://[::1]", "https://[::1]:80", "https://127.0.0.1", "https://a.x.b.example",
	} {
		if !hosts.Allows(mustURL(t, u)) {
			t.Errorf("%s is refused", u)
		}
	}
	for _, u := range []string{
		"https://example.com", "https://evil.example", "https://api.example.com.evil.example", "https://xapi.example.com", "https://api.example.com.",
		"https://api.example.com:444", "http://api.example.com:443", "https://api.example.com:80", "https://service-now.com", "https://a.b.service-now.com",
		"https://.service-now.com", "https://*.service-now.com", "https://a_b.service-now.com", "https://аcme.service-now.com", "https://-a.service-now.com",
		"https://b.example.com", "http://c.example.com", "https://\u212aelvin.example", "https://[::1]", "https://[::2]:80", "https://127.0.0.2",
		"https://user@api.example.com", "ftp://api.example.com", "//api.example.com", "https:api.example.com", "/x", "https://", "https://a.b.example", "https://a.x.y.b.example",
	} {
		if hosts.Allows(mustURL(t, u)) {
			t.Errorf("%s is allowed", u)
		}
	}
	if (Hosts{}).Allows(mustURL(t, "https://api.example.com")) {
		t.Error("no entries allow a host")
	}
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestAnAllowedHostThatIsTooWideIsRefused(t *testing.T) {
	for _, entry := range []string{
		"", "*", "*.com", "*.*", "a.*", "a.*.com", "example.*", "a*.example.com", "**.example.com", "*.localhost", "*.0.0.1", "*:443", "api.example.com:*",
		"https://api.example.com", "api.example.com/", "api.example.com:0", "user@api.example.com", "api..com", ".example.com", "api.example.com.", "a b.example.com",
		"{tenant}.example.com", "2130706433", "::1", "[::1", "*.example.com:", "a\x00.example.com", "a\xff.example.com",
	} {
		_, err := ParseHosts([]string{"api.example.com", entry})
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || !strings.HasPrefix(err.Error(), "allowed host 2: ") {
			t.Errorf("%q: %v", entry, err)
		}
	}
}
