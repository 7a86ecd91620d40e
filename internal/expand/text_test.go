package expand

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// values is a Lookup of public values.
func values(m map[string]string) Lookup {
	return func(name string) (Value, bool) {
		s, ok := m[name]
		return Value{Text: s}, ok
	}
}

// one is a Lookup that gives every name the same value.
func one(v Value) Lookup { return func(string) (Value, bool) { return v, true } }

var fixedFuncs = Funcs{
	Now:  func() time.Time { return time.Date(2026, 2, 3, 4, 5, 6, 7, time.FixedZone("", 3600)) },
	UUID: func() string { return "0194c9e0-0000-7000-8000-000000000000" },
}

func TestFillText(t *testing.T) {
	lookup := values(map[string]string{
		"tenant": "acme", "pin": "12 34", "env.REGION": "EU", "context.session.BotContext.x": "y",
		"user": "ann", "pass": "s3cr:t/+ %x", "empty": "", "quote": `a"b\c`, "Ünï": "never",
	})
	for _, tt := range []struct {
		name, text string
		pos        Position
		want       string
	}{
		{"a text without placeholders stays", "Bearer abc", Header, "Bearer abc"},
		{"an empty text stays", "", Header, ""},
		{"the tenant in single braces", "org={tenant}", Plain, "org=acme"},
		{"the tenant as a field", "org={{tenant}}", Plain, "org=acme"},
		{"other names in single braces are literal", "{key} {Tenant} {tenant } {", Plain, "{key} {Tenant} {tenant } {"},
		{"dotted names", "{{env.REGION}}/{{context.session.BotContext.x}}", Plain, "EU/y"},
		{"spaces inside the braces", "{{ \tpin }}", Plain, "12 34"},
		{"a value is not expanded again", "{{default none \"{{pin}} {tenant}\"}}", Plain, "{{pin}} {tenant}"},
		{"literal braces", `{{"{{"}}x}}`, Plain, "{{x}}"},
		{"escapes in a literal", `{{"a\"b\\c"}}`, Plain, `a"b\c`},
		{"closing braces inside a literal", `{{default none "}}"}}`, Plain, "}}"},
		{"a default for a name without value", `{{default none "x"}}`, Plain, "x"},
		{"a default for an empty value", `{{default empty "x"}}`, Plain, "x"},
		{"a default that is empty", `a{{default none ""}}b`, Plain, "ab"},
		{"a value wins over its default", `{{default tenant "x"}}`, Plain, "acme"},
		{"a default of a default", `{{default none (default empty tenant)}}`, Plain, "acme"},
		{"a default for a function", `{{default (lower none) "x"}}`, Plain, "x"},
		{"lower", "{{lower env.REGION}}", Plain, "eu"},
		{"urlencode", "{{urlencode pass}}", Plain, "s3cr%3At%2F%2B%20%25x"},
		{"base64 joins its arguments", `Basic {{base64 user ":" pass}}`, Header, "Basic YW5uOnMzY3I6dC8rICV4"},
		{"base64 of a function", "{{base64 (lower env.REGION)}}", Plain, "ZXU="},
		{"sha256", `{{sha256 "abc"}}`, Plain, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"hmac in base64", `{{hmac_base64 "Jefe" "what do ya want for nothing?"}}`, Plain, "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM="},
		{"md5", `{{md5 "abc"}}`, Plain, "900150983cd24fb0d6963f7d28e17f72"},
		{"hex", `{{hex "a/Z"}}`, Plain, "612f5a"},
		{"upper", "{{upper tenant}}", Plain, "ACME"},
		{"a part of a text", "{{substr tenant 1 2}}|{{substr tenant 1}}|{{substr tenant 9 9}}|{{substr user 0 99}}", Plain, "cm|cme||ann"},
		{"a part is counted in characters", `{{substr "äöü" "1" "1"}}`, Plain, "ö"},
		{"functions within functions", `{{md5 (substr (upper "abc") 0 2)}}`, Plain, "b86fc6b051f63d73de262d4c34e3a0a9"},
		{"hmac, RFC 4231 case 2", `{{hmac "Jefe" "what do ya want " "for nothing?"}}`, Plain, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
		{"now", "{{now}}", Plain, "2026-02-03T03:05:06Z"},
		{"uuid as an argument", "{{base64 uuid}}", Plain, "MDE5NGM5ZTAtMDAwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDAw"},
		{"two placeholders side by side", "{tenant}{{user}}", Plain, "acmeann"},
		{"a query value is percent-encoded, its literal text is not", "$a=b,{{pass}}", Query, "$a=b,s3cr%3At%2F%2B%20%25x"},
		{"a query value's literal text that no URL holds is encoded", "{key}|ü{{user}}", Query, "%7Bkey%7D%7C%C3%BCann"},
		{"a path segment", "v1-{{pass}}", Path, "v1-s3cr%3At%2F%2B%20%25x"},
		{"a JSON string is escaped by the encoder, not here", "{{quote}}", JSON, `a"b\c`},
		{"a form value is encoded later", "{{pass}}", Form, "s3cr:t/+ %x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text, err := ParseText(tt.text, tt.pos)
			if err != nil {
				t.Fatal(err)
			}
			got, secret, err := text.Fill(lookup, fixedFuncs)
			if err != nil || got != tt.want || secret {
				t.Fatalf("got %q, %v, %v; want %q", got, secret, err, tt.want)
			}
			if text.String() != tt.text {
				t.Fatalf("String is %q", text.String())
			}
		})
	}
}

func TestATextThatCannotBeParsedSaysWhereAndWhat(t *testing.T) {
	for _, tt := range []struct {
		text   string
		pos    Position
		offset int
		want   string
	}{
		{"ab{{", Plain, 4, "a name, a function"},
		{"{{}}", Plain, 2, "a name, a function"},
		{"{{ }}", Plain, 3, "a name, a function"},
		{"{{pin", Plain, 5, `"}}"`},
		{"{{pin}", Plain, 5, `"}}"`},
		{"{{pin pan}}", Plain, 6, `"}}"`},
		{"{{{tenant}}}", Plain, 2, "a name, a function"},
		{"{{-a}}", Plain, 2, "a name, a function"},
		{"{{a..b}}", Plain, 2, "a name, a function"},
		{"{{a.}}", Plain, 2, "a name, a function"},
		{"{{ü}}", Plain, 2, "a name, a function"},
		{"{{" + strings.Repeat("a", 256) + "}}", Plain, 2, "a name, a function"},
		{"{{lower}}", Plain, 7, "an argument"},
		{"{{default a}}", Plain, 11, "an argument"},
		{"{{hmac a}}", Plain, 8, "an argument"},
		{"{{default a b c}}", Plain, 14, "no further argument"},
		{"{{now a}}", Plain, 6, "no further argument"},
		{"{{base64 lower a}}", Plain, 9, "parentheses around"},
		{"{{exec a}}", Plain, 7, `"}}"`},
		{"{{a | lower}}", Plain, 4, `"}}"`},
		{"{{(a}}", Plain, 4, `")"`},
		{"{{a)}}", Plain, 3, `"}}"`},
		{"{{lower a)}}", Plain, 9, `"}}"`},
		{`{{"a}}`, Plain, 6, "a closing double quote"},
		{`{{"a\n"}}`, Plain, 5, `\" or \\`},
		{`{{"a\`, Plain, 5, `\" or \\`},
		{"{{" + strings.Repeat("(", 17) + "a", Plain, 19, "fewer parentheses"},
		{"a\x00", Plain, 1, "UTF-8 without NUL"},
		{"a\xff", Plain, 1, "UTF-8 without NUL"},
		{"Bearer\r\n{{pin}}", Header, 6, "without line breaks"},
		{"a\u0085", Header, 1, "without line breaks"},
		{"a&b", Query, 1, "percent-encoded"},
		{"a#b", Query, 1, "percent-encoded"},
		{"a b", Query, 1, "percent-encoded"},
		{"100%", Query, 3, "two hexadecimal digits"},
		{"{{pin}}%{{pin}}", Query, 7, "two hexadecimal digits"},
		{"a=b", QueryName, 1, "percent-encoded"},
		{"a/b", Path, 1, "percent-encoded"},
		{`a\b`, Path, 1, "percent-encoded"},
		{"..", Path, 0, "a path without"},
		{"%2e%2E", Path, 0, "a path without"},
		{"a", Host, 0, "a position other than a host"},
	} {
		t.Run(fmt.Sprintf("%.40q in %s", tt.text, tt.pos), func(t *testing.T) {
			_, err := ParseText(tt.text, tt.pos)
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Offset != tt.offset || !strings.HasPrefix(syntax.Expected, tt.want) && !strings.Contains(syntax.Expected, tt.want) {
				t.Fatalf("got %v; want byte %d: %s", err, tt.offset, tt.want)
			}
		})
	}
}

func TestAValueThatBreaksItsPositionIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name, text, value string
		pos               Position
	}{
		{"a line break in a header", "Bearer {{pin}}", "a\r\nX-Admin: 1", Header},
		{"a line feed in a header", "{{pin}}", "a\nb", Header},
		{"a carriage return in a header", "{{pin}}", "a\rb", Header},
		{"a NUL in a header", "{{pin}}", "a\x00b", Header},
		{"a tab in a header", "{{pin}}", "a\tb", Header},
		{"a DEL in a header", "{{pin}}", "a\x7fb", Header},
		{"a C1 control in a header", "{{pin}}", "a\u0085b", Header},
		{"a line break after lower in a header", "{{lower pin}}", "a\nb", Header},
		{"invalid UTF-8 in a header", "{{pin}}", "a\xc0\x8ab", Header},
		{"a NUL in JSON", "{{pin}}", "a\x00", JSON},
		{"invalid UTF-8 in JSON", "{{pin}}", "\xed\xa0\x80", JSON},
		{"a NUL in a form", "{{pin}}", "\x00", Form},
		{"a NUL in a plain value", "{{pin}}", "\x00", Plain},
		{"a NUL in a query value", "{{pin}}", "\x00", Query},
		{"a dot segment", "{{pin}}", ".", Path},
		{"two dots", "{{pin}}", "..", Path},
		{"two dots after a slash", "{{pin}}", "a/../b", Path},
		{"two dots after a backslash", "{{pin}}", `a\..`, Path},
		{"two dots with a path parameter", "{{pin}}", "..;x", Path},
		{"dots made together with literal text", ".{{pin}}", ".", Path},
		{"dots made together with encoded literal text", "%2e{{pin}}", ".", Path},
		{"dots before a literal path parameter", "{{pin}};v=1", "..", Path},
		{"a line break in a path", "{{pin}}", "a\nb", Path},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text, err := ParseText(tt.text, tt.pos)
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := text.Fill(one(Value{Text: tt.value}), fixedFuncs)
			var refused *ValueError
			if !errors.As(err, &refused) || refused.Name != "pin" || refused.Position != tt.pos || got != "" {
				t.Fatalf("got %q, %v", got, err)
			}
			if len(tt.value) > 2 && strings.Contains(err.Error(), tt.value) {
				t.Fatalf("the error holds the value: %v", err)
			}
		})
	}
}

func TestASegmentThatBecomesEmptyIsRefused(t *testing.T) {
	text, err := ParseText(`{{default pin ""}}`, Path)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = text.Fill(values(nil), Funcs{})
	var refused *ValueError
	if !errors.As(err, &refused) || refused.Name != "" || !strings.HasPrefix(err.Error(), "literal text in a path segment") {
		t.Fatal(err)
	}
}

func TestAMissingValueIsNamedBeforeAnythingElse(t *testing.T) {
	for _, tt := range []struct {
		name, text, missing, message string
	}{
		{"a name", "{{pin}}", "pin", "{{pin}} has no value"},
		{"an empty value", "{{empty}}", "empty", "{{empty}} has no value"},
		{"the tenant", "{tenant}", "tenant", "{tenant} has no value"},
		{"after a value that is refused", "{{bad}}{{pin}}", "pin", "{{pin}} has no value"},
		{"the first of two", "{{b}}{{a}}", "b", "{{b}} has no value"},
		{"in a function", `{{base64 "x" pin}}`, "pin", "{{pin}} has no value"},
		{"the key of an HMAC", `{{hmac pin "x"}}`, "pin", "{{pin}} has no value"},
		{"a default without value either", "{{default a b}}", "b", "{{b}} has no value"},
		{"a clock that nobody gave", "{{now}}", "now", "{{now}} has no value"},
		{"a UUID that nobody gave", "{{uuid}}", "uuid", "{{uuid}} has no value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text, err := ParseText(tt.text, Header)
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = text.Fill(values(map[string]string{"empty": "", "bad": "\n"}), Funcs{})
			var missing *MissingError
			if !errors.As(err, &missing) || missing.Name != tt.missing || err.Error() != tt.message {
				t.Fatal(err)
			}
		})
	}
}

func TestWhatASecretTouchesIsSecret(t *testing.T) {
	lookup := func(name string) (Value, bool) { return Value{Text: name, Secret: name == "pin"}, name != "none" }
	for text, want := range map[string]bool{
		"x":                      false,
		"{{user}}":               false,
		"{{user}}{{pin}}":        true,
		"{{pin}}{{user}}":        true,
		"{{sha256 user pin}}":    true,
		"{{hmac pin user}}":      true,
		"{{default user pin}}":   false,
		"{{default none pin}}":   true,
		"{{lower (lower pin) }}": true,
	} {
		parsed, err := ParseText(text, Plain)
		if err != nil {
			t.Fatal(text, err)
		}
		if _, got, err := parsed.Fill(lookup, Funcs{}); err != nil || got != want {
			t.Errorf("%s: secret is %v, %v", text, got, err)
		}
	}
	v := Value{Text: "canary", Secret: true}
	if s := fmt.Sprintf("%v %+v %#v %s %q %v", v, v, v, v, v, []Value{v}); strings.Contains(s, "canary") {
		t.Error("a secret value was printed: " + s)
	}
	v.Secret = false
	if s := fmt.Sprint(v); s != "canary" {
		t.Error(s)
	}
}

func TestNamesAreListed(t *testing.T) {
	text, err := ParseText(`{{pin}}{tenant}{{base64 (lower pin) user}}{{default opt (default alt "x")}}{{now}}{{"lit"}}`, Plain)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"pin", "tenant", "user", "opt", "alt"}; !slices.Equal(text.Names(), want) {
		t.Errorf("names %q", text.Names())
	}
	if want := []string{"pin", "tenant", "user"}; !slices.Equal(text.Needs(), want) {
		t.Errorf("needs %q", text.Needs())
	}
	if text.Literal() {
		t.Error("not literal")
	}
}

func TestIsName(t *testing.T) {
	for _, name := range []string{"pin", "env.NAME", "authfield1", "2fa", "a-b_c", "context.session.UserContext.1", "__proto__", "Lower"} {
		if !IsName(name) {
			t.Errorf("%q is a name", name)
		}
	}
	for _, name := range []string{"", ".", "a.", ".a", "a..b", "-a", "a.-b", "a b", "ü", "a}", "lower", "default", "now", "uuid", "hmac", strings.Repeat("a", 256)} {
		if IsName(name) {
			t.Errorf("%q is no name", name)
		}
	}
}

func TestALiteralTextFillsWithoutAllocating(t *testing.T) {
	text, err := ParseText("Bearer literal", Header)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _, _ = text.Fill(nil, Funcs{}) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestALongTextParsesInLinearTime(t *testing.T) {
	const size = 1 << 18
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	begun := time.Now()
	for _, s := range []string{
		fill("{"), fill("{{"), fill("}"), fill("{tenant}"), fill("{{a}}"), fill("a"), fill("{{a}}/"), fill("%41"), fill("a=b&"), fill("ü"),
		"{{" + fill("("), "{{base64 " + fill("a "), `{{"` + fill(`\"`), "{{" + fill("a."), fill("{{default a b}}."), fill("a."), fill("{a"), fill("{a}/"),
	} {
		for p := Plain; p <= Fragment; p++ {
			if text, err := ParseText(s, p); err == nil {
				_, _, _ = text.Fill(one(Value{Text: "a"}), Funcs{})
			}
		}
		for _, prefix := range []string{"https://", "https://a.example/", "https://a.example/?", "https://a.example/#", "https://[", "{{a}}/"} {
			if u, err := ParseURL(prefix + s); err == nil {
				_, _ = u.Fill(one(Value{Text: "a"}), Hosts{}, Funcs{})
			}
		}
		_, _ = ParseHosts([]string{s})
		_, _, _ = FillPathParams(s, map[string]string{"a": "b"})
		_, _, _ = FillPathParams(s, nil)
	}
	if took := time.Since(begun); took > 30*time.Second {
		t.Fatalf("took %v", took)
	}
}

func FuzzParseText(f *testing.F) {
	for _, s := range []string{"", "Bearer {{accessToken}}", "{tenant}", `{{default a "b\"c"}}`, "{{base64 (lower x)}}", "{{hmac key x}}", "{{", "{key}", "a%2fb", "..", "\xff", "{{((a))}}"} {
		f.Add(s, "value", 1)
	}
	f.Fuzz(func(t *testing.T, s, value string, pos int) {
		p := Position(pos)
		text, err := ParseText(s, p)
		var syntax *SyntaxError
		if err != nil {
			if !errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset > len(s) {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, name := range text.Names() {
			if !IsName(name) {
				t.Fatalf("%q is no name", name)
			}
		}
		lookup := one(Value{Text: value, Secret: true})
		got, secret, err := text.Fill(lookup, fixedFuncs)
		var missing *MissingError
		var refused *ValueError
		if err != nil {
			if got != "" || !errors.As(err, &missing) && !errors.As(err, &refused) {
				t.Fatalf("%q, %v", got, err)
			}
			return
		}
		if len(text.Needs()) > 0 && !secret {
			t.Fatal("a secret became public")
		}
		if invalid(got) >= 0 {
			t.Fatalf("%q", got)
		}
		switch p {
		case Header:
			if strings.ContainsAny(got, "\r\n") {
				t.Fatalf("%q", got)
			}
		case Query:
			if strings.ContainsAny(got, "&# \r\n") {
				t.Fatalf("%q", got)
			}
		case Path:
			if strings.ContainsAny(got, "/?# \r\n\\") || dotted(got) {
				t.Fatalf("%q", got)
			}
		}
	})
}

func BenchmarkFillText(b *testing.B) {
	for _, s := range []string{"Bearer literal", "Bearer {{accessToken}}", `Basic {{base64 user ":" password}}`} {
		text, err := ParseText(s, Header)
		if err != nil {
			b.Fatal(err)
		}
		lookup := one(Value{Text: strings.Repeat("t", 100), Secret: true})
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := text.Fill(lookup, Funcs{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
