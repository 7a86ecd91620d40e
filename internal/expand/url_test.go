package expand

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// anyHost allows the hosts of the tests, and evil.example wherever one would
// expect the allowed hosts to be what stops it.
func anyHost(t testing.TB) Hosts {
	t.Helper()
	return mustHosts(t, "*.service-now.com", "api.example.com", "api.example.com:8443", "localhost:8080", "127.0.0.1:80", "[::1]:8080",
		"*.example.com", "accounts.zoho.com", "accounts.zoho.com.au", "xn--bcher-kva.example", "evil.example", "*.evil.example")
}

func mustHosts(t testing.TB, entries ...string) Hosts {
	t.Helper()
	h, err := ParseHosts(entries)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestFillURL(t *testing.T) {
	lookup := func(name string) (Value, bool) {
		switch name {
		case "tenant":
			return Value{Text: "Acme-1"}, true
		case "region":
			return Value{Text: "com", Enumerated: true}, true
		case "tld":
			return Value{Text: ".com.au", Enumerated: true}, true
		case "datacentre":
			return Value{Text: "accounts.zoho.com.au", Enumerated: true}, true
		case "instance_url":
			return Value{Text: "https://acme.service-now.com", Origin: true}, true
		case "instance_slash":
			return Value{Text: "https://api.example.com:8443/", Origin: true}, true
		case "pass":
			return Value{Text: "s3cr:t/+ %x&=#?ü"}, true
		case "slash":
			return Value{Text: "a/b"}, true
		}
		return Value{}, false
	}
	const encoded = "s3cr%3At%2F%2B%20%25x%26%3D%23%3F%C3%BC"
	for _, tt := range []struct{ name, text, want string }{
		{"a literal URL stays", "https://api.example.com/a?b=c&b=d#e", "https://api.example.com/a?b=c&b=d#e"},
		{"a URL without a path", "https://api.example.com", "https://api.example.com"},
		{"an empty query stays, an empty fragment does not", "https://api.example.com/?#", "https://api.example.com/?"},
		{"scheme and host are folded", "HTTPS://API.Example.COM/Path", "https://api.example.com/Path"},
		{"an internationalized host", "https://Bücher.example/", "https://xn--bcher-kva.example/"},
		{"a local host over http", "http://localhost:8080/x", "http://localhost:8080/x"},
		{"an IPv4 address", "http://127.0.0.1/", "http://127.0.0.1/"},
		{"an IPv6 address", "http://[0:0::1]:8080/", "http://[::1]:8080/"},
		{"a port is normalized", "https://api.example.com:08443/", "https://api.example.com:8443/"},
		{"the tenant is a label, folded", "https://{tenant}.service-now.com/oauth_auth.do", "https://acme-1.service-now.com/oauth_auth.do"},
		{"the tenant is a part of a label", "https://login-{tenant}.example.com/", "https://login-acme-1.example.com/"},
		{"two hyphens in the third place", "https://ab--{tenant}.example.com/", "https://ab--acme-1.example.com/"},
		{"a region of a closed list", "https://accounts.zoho.{{region}}/", "https://accounts.zoho.com/"},
		{"a top-level domain of a closed list with dots", "https://accounts.zoho{{tld}}/", "https://accounts.zoho.com.au/"},
		{"a whole host of a closed list", "https://{{datacentre}}/", "https://accounts.zoho.com.au/"},
		{"a whole host by default", `https://{{default none "api.example.com"}}/`, "https://api.example.com/"},
		{"a captured origin", "{{instance_url}}/services?x={{slash}}", "https://acme.service-now.com/services?x=a%2Fb"},
		{"a captured origin with a slash", "{{instance_slash}}/services", "https://api.example.com:8443/services"},
		{"a captured origin alone", "{{instance_url}}", "https://acme.service-now.com"},
		{"an origin by default", `{{default none "https://api.example.com"}}/x`, "https://api.example.com/x"},
		{"a path segment", "https://api.example.com/a/{{pass}}/b", "https://api.example.com/a/" + encoded + "/b"},
		{"a part of a path segment", "https://api.example.com/~{{slash}}.json", "https://api.example.com/~a%2Fb.json"},
		{"the documented example", "https://api.example.com/sap/opu/odata/sap/{{slash}}/?$format=json", "https://api.example.com/sap/opu/odata/sap/a%2Fb/?$format=json"},
		{"path parameters survive, encoded", "https://api.example.com/{key}/x", "https://api.example.com/%7Bkey%7D/x"},
		{"empty segments survive", "https://api.example.com//a//{{slash}}/", "https://api.example.com//a//a%2Fb/"},
		{"a query name and value", "https://api.example.com/?a=1&{{slash}}={{pass}}&a=2&b&c=&=d", "https://api.example.com/?a=1&a%2Fb=" + encoded + "&a=2&b&c=&=d"},
		{"what literal queries hold stays", "https://api.example.com/?q=a:b/c?d[0]=e=f;g,%20+(h)*!'@$", "https://api.example.com/?q=a:b/c?d[0]=e=f;g,%20+(h)*!'@$"},
		{"what no URL holds is encoded", "https://api.example.com/ü|\"?<ö>={x}#ä#", "https://api.example.com/%C3%BC%7C%22?%3C%C3%B6%3E=%7Bx%7D#%C3%A4%23"},
		{"a hash route", "https://api.example.com/#/login?org={tenant}&x={{pass}}", "https://api.example.com/#/login?org=Acme-1&x=" + encoded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, err := ParseURL(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			got, err := u.Fill(lookup, anyHost(t), fixedFuncs)
			if err != nil || got.String() != tt.want {
				t.Fatalf("got %v, %v; want %s", got, err, tt.want)
			}
			if u.String() != tt.text {
				t.Fatalf("String is %s", u)
			}
		})
	}
}

func TestAURLThatCannotBeParsedSaysWhereAndWhat(t *testing.T) {
	for _, tt := range []struct {
		text   string
		offset int
		want   string
	}{
		{"", 0, `"https://"`},
		{"api.example.com", 0, `"https://"`},
		{"//api.example.com", 0, `"https://"`},
		{"ftp://a.example", 0, `"https://"`},
		{"file:///etc/passwd", 0, `"https://"`},
		{"gopher://a.example", 0, `"https://"`},
		{"javascript:alert(1)", 0, `"https://"`},
		{" https://a.example", 0, `"https://"`},
		{"https:{{x}}//a.example", 0, `"https://"`},
		{"{tenant}/x", 0, `"https://"`},
		{"{tenant}://a.example", 0, `"https://"`},
		{"{{x}}://a.example", 5, `"/"`},
		{"{{x}}{{y}}/", 5, `"/"`},
		{"{{x}}.example.com/", 5, `"/"`},
		{"{{x}}@evil.example/", 5, `"/"`},
		{"https://", 8, "empty labels"},
		{"https:///x", 8, "empty labels"},
		{"https://?x", 8, "empty labels"},
		{"https://a..example", 8, "empty labels"},
		{"https://a.example./", 8, "empty labels"},
		{"https://.{tenant}.example.com", 8, "empty labels"},
		{"https://user@a.example", 12, "no user information"},
		{"https://user:pw@a.example", 15, "no user information"},
		{"https://{tenant}@a.example", 16, "no user information"},
		{"https://api.example.com:pw@{tenant}.evil.example", 26, "no user information"},
		{`https://a.example\b`, 10, "a DNS label"},
		{"https://a b.example", 8, "a DNS label"},
		{"https://a%2eb.example", 8, "a DNS label"},
		{"https://a_b.example", 8, "a DNS label"},
		{"https://-a.example", 8, "a DNS label"},
		{"https://a。example", 8, "a DNS label"},
		{"https://ü{tenant}.example.com", 8, "a DNS label"},
		{"https://" + strings.Repeat("a", 64) + ".example", 8, "a DNS label"},
		{"https://" + strings.Repeat("a.", 130) + "example", 8, "a host name of at most 253"},
		{"https://a.example:", 8, "a literal port"},
		{"https://a.example:0", 18, "a literal port"},
		{"https://a.example:65536", 18, "a literal port"},
		{"https://a.example:+1", 18, "a literal port"},
		{"https://a.example:{{port}}", 8, "a literal port"},
		{"https://a.example:8{{port}}", 8, "a literal port"},
		{"https://a.example:1:2", 18, "a literal port"},
		{"https://{tenant}.0.0.1", 8, "no placeholder in an IP address"},
		{"https://{tenant}.localhost", 8, "no placeholder in an IP address"},
		{"https://2130706433/", 8, "an IPv4 address"},
		{"https://0177.0.0.1/", 8, "an IPv4 address"},
		{"https://0x7f.1/", 8, "an IPv4 address"},
		{"https://127.1/", 8, "an IPv4 address"},
		{"https://[::1/", 8, "a literal IPv6"},
		{"https://[::1%25eth0]/", 8, "a literal IPv6"},
		{"https://[::{{x}}]/", 8, "a literal IPv6"},
		{"https://[::1].example.com/", 13, "a port"},
		{"https://[::1]:/", 14, "a literal port"},
		{"https://a.example/b c", 19, "percent-encoded"},
		{"https://a.example/b\tc", 19, "percent-encoded"},
		{`https://a.example/b\c`, 19, "percent-encoded"},
		{"https://a.example/%zz", 18, "two hexadecimal digits"},
		{"https://a.example/%2{{x}}", 18, "two hexadecimal digits"},
		{"https://a.example/../b", 18, "a path without"},
		{"https://a.example/a/./b", 20, "a path without"},
		{"https://a.example/%2e%2e/b", 18, "a path without"},
		{"https://a.example/a/..;/b", 20, "a path without"},
		{"https://a.example/?a=%", 21, "two hexadecimal digits"},
		{"https://a.example/?a=\n", 21, "percent-encoded"},
		{"https://a.example/#a b", 20, "percent-encoded"},
		{"https://a.example/\x00", 18, "UTF-8 without NUL"},
		{"https://a.example/{{", 20, "a name, a function"},
	} {
		t.Run(fmt.Sprintf("%.60q", tt.text), func(t *testing.T) {
			_, err := ParseURL(tt.text)
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Offset != tt.offset || !strings.Contains(syntax.Expected, tt.want) {
				t.Fatalf("got %v; want byte %d: %s", err, tt.offset, tt.want)
			}
		})
	}
}

// hostile are values that somebody would like to see in a host.
var hostile = map[string]string{
	"a fragment after a host":    "evil.example/#",
	"a query after a host":       "evil.example?",
	"a host":                     "evil.example",
	"user information":           "a.b@c",
	"user information, no dot":   "a@c",
	"a path":                     "evil/",
	"an encoded slash":           "a%2fb",
	"an encoded dot":             "a%2eb",
	"a port":                     "x:443",
	"a colon":                    "x:",
	"a backslash":                `evil\`,
	"a dot":                      ".",
	"a trailing dot":             "a.",
	"a leading dot":              ".a",
	"an ideographic full stop":   "evil。example",
	"a fullwidth full stop":      "evil．example",
	"a halfwidth full stop":      "evil｡example",
	"fullwidth letters":          "ａｃｍｅ",
	"a letter of another script": "аcme",
	"the Kelvin sign":            "\u212aelvin",
	"a long s":                   "acme\u017f",
	"a soft hyphen":              "ac\u00adme",
	"a zero-width space":         "ac\u200bme",
	"a right-to-left override":   "ac\u202eme",
	"a fraction slash":           "a⁄b",
	"a space":                    "a b",
	"a line break":               "a\r\nHost: evil.example",
	"a tab":                      "a\tb",
	"a NUL":                      "a\x00b",
	"invalid UTF-8":              "a\xffb",
	"a hyphen first":             "-a",
	"a hyphen last":              "a-",
	"an underscore":              "a_b",
	"an asterisk":                "*",
	"brackets":                   "[::1]",
	"another placeholder":        "{{accessToken}}",
	"the tenant itself":          "{tenant}",
	"bad Punycode":               "xn--a",
	"Punycode of ASCII":          "xn--acme-",
	"64 characters":              strings.Repeat("a", 64),
	"a megabyte":                 strings.Repeat("a", 1<<20),
	"a megabyte of dots":         strings.Repeat(".", 1<<20),
}

func TestAHostileValueNeverReachesAHost(t *testing.T) {
	for name, value := range hostile {
		for _, template := range []string{"https://{tenant}.example.com/x", "https://{tenant}.service-now.com:443", "https://{{default tenant \"x\"}}.example.com"} {
			t.Run(name+" in "+template, func(t *testing.T) {
				u, err := ParseURL(template)
				if err != nil {
					t.Fatal(err)
				}
				got, err := u.Fill(one(Value{Text: value}), anyHost(t), Funcs{})
				var refused *ValueError
				if !errors.As(err, &refused) || refused.Name != "tenant" || refused.Position != Host || refused.Expected == "" {
					t.Fatalf("got %v, %v", got, err)
				}
				if len(value) > 1 && value != "{tenant}" && strings.Contains(err.Error(), value) {
					t.Fatalf("the error holds the value: %v", err)
				}
			})
		}
	}
}

func TestAFreeValueNeverFormsTheRegistrablePart(t *testing.T) {
	for _, template := range []string{
		"https://{tenant}", "https://{tenant}.com", "https://evil.{tenant}", "https://a.b.{tenant}", "https://{tenant}.{tenant}",
		"https://x{tenant}.example", "https://api.x{tenant}.example", "https://a.{tenant}x", "https://{{default tenant \"x\"}}.example",
		"https://{{base64 tenant}}.example", `https://{{lower "evil"}}.example`,
	} {
		for _, value := range []string{"evil", "evil.example", "example"} {
			u, err := ParseURL(template)
			if err != nil {
				t.Fatal(template, err)
			}
			got, err := u.Fill(one(Value{Text: value}), anyHost(t), Funcs{})
			var refused *ValueError
			if !errors.As(err, &refused) || refused.Position != Host || refused.Expected != expectedListed {
				t.Errorf("%s with %q: %v, %v", template, value, got, err)
			}
		}
	}
}

func TestAValueOfAClosedListIsStillAHost(t *testing.T) {
	for _, value := range []string{"evil.example/#", "a@evil.example", "a..b", ".a", "a.", "evil:1", "127.0.0.1", "localhost", "intranet", "1", "0x7f", "a.0x", "xn--a.example", strings.Repeat("a.", 150) + "a"} {
		u, err := ParseURL("https://{{region}}/")
		if err != nil {
			t.Fatal(err)
		}
		got, err := u.Fill(one(Value{Text: value, Enumerated: true}), anyHost(t), Funcs{})
		var refused *ValueError
		if !errors.As(err, &refused) || refused.Position != Host || refused.Name != "region" {
			t.Errorf("%.30q: %v, %v", value, got, err)
		}
	}
}

func TestACapturedValueThatPointsElsewhereIsRefused(t *testing.T) {
	allowed := mustHosts(t, "*.my.salesforce.com")
	for name, v := range map[string]Value{
		"another host":               {Text: "https://evil.example", Origin: true},
		"another host's port":        {Text: "https://a.my.salesforce.com:8443", Origin: true},
		"a deeper host":              {Text: "https://a.b.my.salesforce.com", Origin: true},
		"the parent":                 {Text: "https://my.salesforce.com", Origin: true},
		"a host that ends alike":     {Text: "https://a.my.salesforce.com.evil.example", Origin: true},
		"plain http":                 {Text: "http://a.my.salesforce.com", Origin: true},
		"another scheme":             {Text: "file://a.my.salesforce.com", Origin: true},
		"no scheme":                  {Text: "a.my.salesforce.com", Origin: true},
		"upper-case scheme":          {Text: "HTTPS://a.my.salesforce.com", Origin: true},
		"user information":           {Text: "https://a.my.salesforce.com@evil.example", Origin: true},
		"user information, allowed":  {Text: "https://evil@a.my.salesforce.com", Origin: true},
		"a path":                     {Text: "https://a.my.salesforce.com/x", Origin: true},
		"a query":                    {Text: "https://a.my.salesforce.com?x", Origin: true},
		"a fragment":                 {Text: "https://a.my.salesforce.com#", Origin: true},
		"a backslash":                {Text: `https://evil.example\.my.salesforce.com`, Origin: true},
		"letters of another width":   {Text: "https://ａ.my.salesforce.com", Origin: true},
		"an address":                 {Text: "https://127.0.0.1", Origin: true},
		"a decimal address":          {Text: "https://2130706433", Origin: true},
		"a metadata address":         {Text: "https://[::ffff:169.254.169.254]", Origin: true},
		"a line break":               {Text: "https://a.my.salesforce.com\r\n", Origin: true},
		"a unicode dot":              {Text: "https://evil。my.salesforce.com", Origin: true},
		"a placeholder":              {Text: "https://{{x}}.my.salesforce.com", Origin: true},
		"nothing but the scheme":     {Text: "https://", Origin: true},
		"a megabyte":                 {Text: "https://" + strings.Repeat("a", 1<<20), Origin: true},
		"not from the provider":      {Text: "https://a.my.salesforce.com"},
		"not from the provider, two": {Text: "https://a.my.salesforce.com", Enumerated: true},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := ParseURL("{{instance_url}}/services")
			if err != nil {
				t.Fatal(err)
			}
			got, err := u.Fill(one(v), allowed, Funcs{})
			var refused *ValueError
			if !errors.As(err, &refused) || refused.Name != "instance_url" || strings.Contains(err.Error(), strings.TrimPrefix(v.Text, "https://")) && v.Text != "https://" {
				t.Fatalf("got %v, %v", got, err)
			}
		})
	}
}

func TestAHostThatIsNotAllowedIsRefused(t *testing.T) {
	for _, tt := range []struct{ text, name string }{
		{"https://api.other.com/", ""},
		{"https://api.example.com:444/", ""},
		{"https://{tenant}.other.com/", "tenant"},
		{"https://{tenant}.api.example.com/", "tenant"},
	} {
		u, err := ParseURL(tt.text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = u.Fill(one(Value{Text: "acme"}), anyHost(t), Funcs{})
		var refused *ValueError
		if !errors.As(err, &refused) || refused.Name != tt.name || refused.Position != Host || strings.Contains(err.Error(), "acme") {
			t.Errorf("%s: %v", tt.text, err)
		}
		if _, err = u.Fill(one(Value{Text: "acme"}), Hosts{}, Funcs{}); err == nil {
			t.Errorf("%s: no hosts allow every host", tt.text)
		}
	}
}

func TestAHostileValueStaysInItsComponent(t *testing.T) {
	u, err := ParseURL("https://api.example.com/a/{{x}}/b?c={{x}}&{{x}}=d#e{{x}}")
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range hostile {
		got, err := u.Fill(one(Value{Text: value}), anyHost(t), Funcs{})
		var refused *ValueError
		if err != nil {
			if !errors.As(err, &refused) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		again, err := url.Parse(got.String())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		segments := strings.Split(again.EscapedPath(), "/")
		query, err := url.ParseQuery(again.RawQuery)
		if err != nil || again.Host != "api.example.com" || len(segments) != 4 || len(query) != 2 || query.Get("c") != value || query.Get(value) != "d" || again.Fragment != "e"+value {
			t.Errorf("%s: %.200s, %v", name, got, err)
		}
		if s, _ := url.PathUnescape(segments[2]); s != value {
			t.Errorf("%s: segment %.200q", name, s)
		}
	}
}

func TestPathValuesThatClimbAreRefused(t *testing.T) {
	for _, text := range []string{"https://api.example.com/a/{{x}}/b", "https://api.example.com/a/{{x}};v=1", "https://api.example.com/a/{{x}}"} {
		u, err := ParseURL(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range []string{".", "..", "../admin", "a/../../b", `..\admin`, "..;/admin", "/..", "a\x00", "a\nb"} {
			_, err := u.Fill(one(Value{Text: value}), anyHost(t), Funcs{})
			var refused *ValueError
			if !errors.As(err, &refused) || refused.Position != Path || refused.Name != "x" {
				t.Errorf("%s with %q: %v", text, value, err)
			}
		}
	}
}

func TestAMissingValueInAURLIsNamedBeforeAnythingElse(t *testing.T) {
	u, err := ParseURL("https://{tenant}.service-now.com/{{pin}}")
	if err != nil {
		t.Fatal(err)
	}
	_, err = u.Fill(values(map[string]string{"tenant": "evil.example/#"}), Hosts{}, Funcs{})
	var missing *MissingError
	if !errors.As(err, &missing) || missing.Name != "pin" {
		t.Fatal(err)
	}
}

func TestWhatAURLTellsOfItself(t *testing.T) {
	for _, tt := range []struct {
		text, pattern                      string
		names, needs, enumerated, captured []string
	}{
		{text: "https://api.example.com:443/", pattern: "api.example.com:443"},
		{text: "https://[::1]:8443/", pattern: "[::1]:8443"},
		{text: "https://{tenant}.service-now.com/{{pin}}", pattern: "*.service-now.com", names: []string{"tenant", "pin"}, needs: []string{"tenant", "pin"}},
		{text: "https://login-{tenant}.example.com:8443/", pattern: "*.example.com:8443", names: []string{"tenant"}, needs: []string{"tenant"}},
		{text: "https://{{a}}.zoho.{{default tld alt}}/", names: []string{"a", "tld", "alt"}, needs: []string{"a"}, enumerated: []string{"tld", "alt"}},
		{text: "https://{tenant}", names: []string{"tenant"}, needs: []string{"tenant"}, enumerated: []string{"tenant"}},
		{text: "{{instance_url}}/{{pin}}", names: []string{"instance_url", "pin"}, needs: []string{"instance_url", "pin"}, captured: []string{"instance_url"}},
	} {
		u, err := ParseURL(tt.text)
		if err != nil {
			t.Fatal(err)
		}
		if u.HostPattern() != tt.pattern || !slices.Equal(u.Names(), tt.names) || !slices.Equal(u.Needs(), tt.needs) ||
			!slices.Equal(u.Enumerated(), tt.enumerated) || !slices.Equal(u.Captured(), tt.captured) || u.Literal() != (tt.names == nil) {
			t.Errorf("%s: %q %q %q %q %q", tt.text, u.HostPattern(), u.Names(), u.Needs(), u.Enumerated(), u.Captured())
		}
		if tt.pattern != "" {
			mustHosts(t, u.HostPattern())
		}
	}
}

func TestFillGivesEachCallerItsOwnURL(t *testing.T) {
	u, err := ParseURL("https://api.example.com/a")
	if err != nil {
		t.Fatal(err)
	}
	first, err := u.Fill(nil, anyHost(t), Funcs{})
	if err != nil {
		t.Fatal(err)
	}
	first.Host = "evil.example"
	if second, err := u.Fill(nil, anyHost(t), Funcs{}); err != nil || second.Host != "api.example.com" {
		t.Fatal(second, err)
	}
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"https://{tenant}.service-now.com/a?b={{c}}#d", "{{instance_url}}/x", "http://[::1]:80/", "https://a.b/%7Bkey%7D/..", "https://ü.example/", "https://user@h/", "https://127.0.0.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURL(s)
		var syntax *SyntaxError
		if err != nil {
			if !errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset > len(s) {
				t.Fatalf("%v", err)
			}
			return
		}
		pattern := u.HostPattern()
		if pattern == "" {
			return
		}
		hosts, err := ParseHosts([]string{pattern})
		if err != nil {
			t.Fatalf("%q gives the pattern %q: %v", s, pattern, err)
		}
		if !u.Literal() {
			return
		}
		filled, err := u.Fill(nil, hosts, Funcs{})
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		// What was filled once is a URL that stays as it is.
		again, err := ParseURL(strings.ReplaceAll(filled.String(), "{", "%7B"))
		if err != nil || again.fixed.String() != filled.String() {
			t.Fatalf("%q becomes %q: %v", s, filled, err)
		}
	})
}

func FuzzFillURL(f *testing.F) {
	for _, value := range hostile {
		if len(value) < 1000 {
			f.Add("https://{tenant}.example.com/{{x}}?{{y}}={{z}}#{{x}}", value, false, false)
			f.Add("https://a-{tenant}.{{x}}", value, true, false)
			f.Add("{{x}}/.{{y}}", "https://"+value, false, true)
		}
	}
	f.Add("https://accounts.zoho.{{x}}/", "com.au", true, false)
	f.Add("{{x}}/a/{{default y \"\"}}b", "https://a.example", true, true)
	f.Fuzz(func(t *testing.T, template, value string, enumerated, origin bool) {
		u, err := ParseURL(template)
		if err != nil {
			return
		}
		v := Value{Text: value, Enumerated: enumerated, Origin: origin}
		allowed, err := ParseHosts([]string{allowedFor(u, value)})
		if err != nil {
			return
		}
		filled, err := u.Fill(one(v), allowed, fixedFuncs)
		var missing *MissingError
		var refused *ValueError
		if err != nil {
			if filled != nil || !errors.As(err, &missing) && !errors.As(err, &refused) {
				t.Fatalf("%v, %v", filled, err)
			}
			return
		}
		again, err := url.Parse(filled.String())
		if err != nil || again.String() != filled.String() || again.Host != filled.Host {
			t.Fatalf("%q does not read back: %v", filled, err)
		}
		if !allowed.Allows(again) || again.User != nil || again.Opaque != "" {
			t.Fatalf("%q is not allowed", again)
		}
		checkHost(t, u, again, enumerated)
		checkRest(t, u, again)
	})
}

// allowedFor allows as much as can be, so that Fill itself has to refuse.
func allowedFor(u *URL, value string) string {
	if u.HostPattern() != "" {
		return u.HostPattern()
	}
	if u.origin != nil {
		return strings.TrimSuffix(strings.TrimPrefix(value, "https://"), "/")
	}
	var labels []string
	for _, l := range u.host.labels {
		s := ""
		for _, p := range l {
			if s += p.lit; p.expr != nil {
				s += value
			}
		}
		labels = append(labels, s)
	}
	s := strings.Join(labels, ".")
	if u.host.port != "" {
		s += ":" + u.host.port
	}
	return s
}

func checkHost(t *testing.T, u *URL, got *url.URL, enumerated bool) {
	if u.origin != nil {
		if got.Scheme != "https" {
			t.Fatalf("%q has not the scheme of an origin", got)
		}
		return
	}
	if got.Scheme != u.scheme || got.Port() != u.host.port {
		t.Fatalf("%q has another scheme or port than %q", got, u)
	}
	if enumerated || !onlyNames(u.host.labels) {
		return // lists and literal text in placeholders may form several labels
	}
	name := strings.TrimSuffix(got.Host, ":"+got.Port())
	if u.host.literal() {
		if name != u.host.name() {
			t.Fatalf("%q has not the host of %q", got, u)
		}
		return
	}
	labels := strings.Split(name, ".")
	if len(labels) != len(u.host.labels) || !areLiteral(u.host.listed()) {
		t.Fatalf("%q has not the labels of %q", got, u)
	}
	for i, l := range u.host.labels {
		if isLiteral(l) && l[0].lit != labels[i] {
			t.Fatalf("%q has not the literal labels of %q", got, u)
		}
	}
}

// onlyNames reports whether each placeholder is a plain name, not literal text in a default.
func onlyNames(labels [][]part) bool {
	for _, p := range slices.Concat(labels...) {
		if p.expr != nil && p.expr.op != opName {
			return false
		}
	}
	return true
}

func checkRest(t *testing.T, u *URL, got *url.URL) {
	segments := strings.Split(got.EscapedPath(), "/")[1:]
	if got.Path == "" {
		segments = nil
	}
	if len(segments) != len(u.path) {
		t.Fatalf("%q has not the path of %q", got, u)
	}
	for i, s := range segments {
		if dotted(s) || isLiteral(u.path[i]) && len(u.path[i]) == 1 && u.path[i][0].lit != s {
			t.Fatalf("%q has not the segments of %q", got, u)
		}
	}
	if n := strings.Count(got.RawQuery, "&") + 1; u.asks && n != len(u.query) || !u.asks && got.RawQuery != "" {
		t.Fatalf("%q has not the query of %q", got, u)
	}
	if strings.ContainsAny(got.String(), " \r\n\t\\\x00") {
		t.Fatalf("%q", got)
	}
}

func BenchmarkFillURL(b *testing.B) {
	for _, s := range []string{
		"https://api.example.com/oauth/token",
		"https://{tenant}.service-now.com/oauth_token.do",
		"https://{tenant}.service-now.com/api/{{x}}?sysparm_pin={{x}}&$format=json",
	} {
		u, err := ParseURL(s)
		if err != nil {
			b.Fatal(err)
		}
		allowed := mustHosts(b, "api.example.com", "*.service-now.com")
		lookup := one(Value{Text: "acme"})
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := u.Fill(lookup, allowed, Funcs{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
