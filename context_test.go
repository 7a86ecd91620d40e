package behalf_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/expand"
	"github.com/behalf-dev/behalf/internal/secret"
)

func TestVariablesThatAreSentAreNamedAsPlaceholdersNameThem(t *testing.T) {
	got, err := behalf.ParseVariables([]byte(`{"region":"eu","depth":2,"trial":true,"order":{"id":"o-1"},"session":{"BotContext":{"plan":"gold","a":{"b":"c"}},"UserSession":{"cart":"7"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := behalf.Variables{"context.region": "eu", "context.depth": "2", "context.trial": "true", "context.order.id": "o-1",
		"context.session.BotContext.plan": "gold", "context.session.BotContext.a.b": "c", "context.session.UserSession.cart": "7"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v", got)
	}
}

func TestVariablesThatCannotBeAreRefusedByTheirNames(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 12) + `"x"` + strings.Repeat("}", 12)
	many := "{"
	for i := range 201 {
		many += fmt.Sprintf(`"v%d":"x",`, i)
	}
	for name, tt := range map[string]struct{ sent, field string }{
		"no object":                  {`["secret-value"]`, "variables"},
		"two objects":                {`{"a":"secret-value"}{}`, "variables"},
		"null":                       {`null`, "variables"},
		"broken":                     {`{"a":"secret-value`, "variables"},
		"1 MB":                       {`{"a":"` + strings.Repeat("x", 1<<20) + `"}`, "variables"},
		"a value too long":           {`{"a":"` + strings.Repeat("x", 4001) + `"}`, "variables.a"},
		"NUL":                        {`{"a":"secret-value\u0000"}`, "variables.a"},
		"a line break":               {`{"a":{"b":"secret-value\r\nX: y"}}`, "variables.a.b"},
		"invalid UTF-8":              {"{\"a\":\"secret-value\xff\"}", "variables"},
		"an empty value":             {`{"a":""}`, "variables.a"},
		"a list":                     {`{"a":["secret-value"]}`, "variables.a"},
		"a null":                     {`{"a":null}`, "variables.a"},
		"a name with a dot":          {`{"a.b":"secret-value"}`, "variables"},
		"a name with braces":         {`{"a}}{{accessToken":"secret-value"}`, "variables"},
		"too many":                   {strings.TrimSuffix(many, ",") + "}", "variables"},
		"too deep":                   {deep, "variables" + strings.Repeat(".a", 9)},
		"what we know of the user":   {`{"session":{"UserContext":{"user":"admin"}}}`, "variables.session.UserContext"},
		"a namespace that is not":    {`{"session":{"Bots":{"plan":"secret-value"}}}`, "variables.session.Bots"},
		"an administrator's own":     {`{"session":{"env":{"REGION":"secret-value"}}}`, "variables.session.env"},
		"a namespace without a name": {`{"session":{"BotContext":"secret-value"}}`, "variables.session.BotContext"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := behalf.ParseVariables([]byte(tt.sent))
			e := (*behalf.Error)(nil)
			if !errors.As(err, &e) || e.Code != behalf.CodeInvalid || e.Field != tt.field {
				t.Fatalf("%+v", err)
			}
			if strings.Contains(fmt.Sprintf("%+v", e), "secret-value") {
				t.Errorf("the value is in %+v", e)
			}
		})
	}
	for _, header := range []string{"not base64!", base64.RawURLEncoding.EncodeToString([]byte("[]"))} {
		if _, err := behalf.DecodeVariables(header); behalf.CodeOf(err) != behalf.CodeInvalid {
			t.Errorf("%q: %v", header, err)
		}
	}
}

func TestAVariableThatIsKeptHasAPlace(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	good := behalf.Variable{Namespace: behalf.NamespaceEnv, Name: "REGION", Value: secret.New("eu")}
	if err := good.Validate(now); err != nil {
		t.Error(err)
	}
	for name, tt := range map[string]struct {
		change func(*behalf.Variable)
		field  string
	}{
		"no namespace":          {func(v *behalf.Variable) { v.Namespace = "" }, "namespace"},
		"what we fill":          {func(v *behalf.Variable) { v.Namespace = "UserContext" }, "namespace"},
		"a user of all":         {func(v *behalf.Variable) { v.User = "jane" }, "user"},
		"no user":               {func(v *behalf.Variable) { v.Namespace = behalf.NamespaceUser }, "user"},
		"no name":               {func(v *behalf.Variable) { v.Name = "" }, "name"},
		"a name of a function":  {func(v *behalf.Variable) { v.Name = "lower x" }, "name"},
		"no value":              {func(v *behalf.Variable) { v.Value = secret.Text{} }, "value"},
		"a line break":          {func(v *behalf.Variable) { v.Value = secret.New("a\r\nb") }, "value"},
		"NUL":                   {func(v *behalf.Variable) { v.Value = secret.New("a\x00") }, "value"},
		"invalid UTF-8":         {func(v *behalf.Variable) { v.Value = secret.New("\xff") }, "value"},
		"1 MB":                  {func(v *behalf.Variable) { v.Value = secret.New(strings.Repeat("x", 1<<20)) }, "value"},
		"an end in the past":    {func(v *behalf.Variable) { v.ExpiresAt = now }, "expires_in"},
		"an end in ten years":   {func(v *behalf.Variable) { v.ExpiresAt = now.AddDate(10, 0, 0) }, "expires_in"},
		"a name of a megabyte ": {func(v *behalf.Variable) { v.Name = strings.Repeat("x", 1<<20) }, "name"},
	} {
		t.Run(name, func(t *testing.T) {
			v := good
			tt.change(&v)
			e := (*behalf.Error)(nil)
			if err := v.Validate(now); !errors.As(err, &e) || e.Field != tt.field {
				t.Errorf("%v", err)
			}
		})
	}
}

// variables is a profile with a variable at every hop.
func variables(change ...func(*behalf.Definition)) behalf.Definition {
	d := behalf.Definition{Type: behalf.OAuth2, Name: "a", Provider: "b", ClientID: "c",
		AuthorizationURL: "https://b.example/{{context.session.BotContext.realm}}/authorize", TokenURL: "https://{{env.REGION}}.b.example/token",
		RefreshURL: "https://b.example/{{context.renewal}}/refresh",
		Scope:      []behalf.ScopeParam{{Key: "scope", Value: "read"}}, API: behalf.API{BaseURL: "https://b.example/api"},
		AuthorizationFields: []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-Order", Value: "{{context.order.id}}"}}}
	d.OAuth.RevocationURL = "https://b.example/{{context.session.UserSession.end}}/revoke"
	for _, c := range change {
		c(&d)
	}
	return d
}

func TestAVariableIsTakenFromTheNearestWhoSaysIt(t *testing.T) {
	p, err := behalf.Compile(variables())
	if err != nil {
		t.Fatal(err)
	}
	const plan, rule, cart, told = "context.session.BotContext.plan", "context.session.EnterpriseContext.rule", "context.session.UserSession.cart", "context.session.UserContext.user_name"
	v := behalf.Values{Plan: p, User: "jane",
		Sent:   behalf.Variables{plan: "of the call", rule: "of the call", "context.session.UserContext.user": "of the call"},
		Inputs: behalf.Inputs{Fields: map[string]secret.Text{plan: secret.New("of the session"), cart: secret.New("of the session"), told: secret.New("Jane Birch"), "context.order": secret.New("of the session")}},
		Stored: behalf.Stored{plan: {Text: "kept"}, rule: {Text: "kept"}, cart: {Text: "kept"}, "env.REGION": {Text: "kept"}}}
	all := func(v behalf.Values, names ...string) string {
		var out []string
		for _, n := range names {
			found, _ := v.Lookup(n)
			out = append(out, found.Text)
		}
		return strings.Join(out, ", ")
	}
	if got := all(v, plan, rule, cart, told, "context.order", "env.REGION", "context.session.UserContext.user", "env.OTHER"); got != "of the call, kept, of the session, Jane Birch, of the session, kept, jane, " {
		t.Error(got)
	}
	v.Serves = true
	if got := all(v, cart, told, "context.order"); got != "kept, , of the session" {
		t.Errorf("of a connection that serves all: %s", got)
	}
}

func TestAVariableThatIsMissingIsNamedWhereItIsNeededAndNowhereElse(t *testing.T) {
	p, err := behalf.Compile(variables())
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
	realm, region, renewal, end := behalf.Variables{"context.session.BotContext.realm": "r"}, behalf.Stored{"env.REGION": {Text: "eu"}}, behalf.Variables{"context.renewal": "r"}, behalf.Variables{"context.session.UserSession.end": "e"}
	for name, tt := range map[string]struct {
		hop    behalf.Hop
		sent   behalf.Variables
		stored behalf.Stored
		says   string // "" where all is well
	}{
		"connecting needs no renewal and no end": {behalf.HopConnect, realm, region, ""},
		"connecting needs the realm":             {behalf.HopConnect, nil, region, "{{context.session.BotContext.realm}} has no value"},
		"connecting needs the region":            {behalf.HopConnect, realm, nil, "{{env.REGION}} has no value: an administrator sets it"},
		"a refresh needs no realm":               {behalf.HopRefresh, renewal, region, ""},
		"a refresh needs what only a call gave":  {behalf.HopRefresh, nil, region, "{{context.renewal}} has no value: the assistant sends it"},
		"a revocation needs its own":             {behalf.HopRevoke, end, nil, ""},
		"a revocation without it":                {behalf.HopRevoke, nil, nil, "{{context.session.UserSession.end}} has no value"},
	} {
		t.Run(name, func(t *testing.T) {
			v := behalf.Values{Plan: p, User: "jane", Hop: tt.hop, Sent: tt.sent, Stored: tt.stored}
			_, err := p.Config(v, "https://c.example/callback", secret.New("s"), now)
			missing := p.MissingVariables(v)
			if tt.says == "" {
				if err != nil || missing != nil {
					t.Errorf("%v, %v", err, missing)
				}
				return
			}
			if err == nil || missing == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(missing.Error(), tt.says) {
				t.Errorf("%v, %v", err, missing)
			}
		})
	}
}

func TestAVariableCannotMoveAHostOrSmuggleALine(t *testing.T) {
	now := func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
	for name, tt := range map[string]struct {
		url, value string
		good       bool
	}{
		"a label":             {"https://{{env.X}}.b.example/t", "eu", true},
		"a whole host":        {"https://{{env.X}}.b.example/t", "evil.example/#", false},
		"userinfo":            {"https://{{env.X}}.b.example/t", "evil.example@", false},
		"a dot":               {"https://{{env.X}}.b.example/t", "a.b", false},
		"a port":              {"https://{{env.X}}.b.example/t", "a:80", false},
		"a path of two dots":  {"https://b.example/{{env.X}}/t", "..", false},
		"a way up":            {"https://b.example/{{env.X}}/t", "../../x", false},
		"a segment's slash":   {"https://b.example/{{env.X}}/t", "a/b", true}, // it is encoded
		"a query's ampersand": {"https://b.example/t?a={{env.X}}", "1&client_id=evil", true},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := behalf.Compile(variables(func(d *behalf.Definition) { d.TokenURL = tt.url }))
			if err != nil {
				t.Fatal(err)
			}
			v := behalf.Values{Plan: p, Hop: behalf.HopRefresh, Sent: behalf.Variables{"context.renewal": "r"}, Stored: behalf.Stored{"env.X": {Text: tt.value}}}
			c, err := p.Config(v, "", secret.New("s"), now)
			switch {
			case tt.good && err != nil:
				t.Error(err)
			case tt.good && (strings.Contains(c.TokenURL, "&client_id") || strings.Contains(c.TokenURL, "a/b")):
				t.Error(c.TokenURL)
			case !tt.good && (err == nil || tt.value != ".." && strings.Contains(err.Error(), tt.value)):
				t.Errorf("%s, %v", c.TokenURL, err)
			}
		})
	}
	for _, url := range []string{"https://{{env.X}}/t", "{{context.x}}/t", "https://{{context.x}}example/t"} {
		if _, err := behalf.Compile(variables(func(d *behalf.Definition) { d.TokenURL = url })); behalf.CodeOf(err) != behalf.CodeInvalid {
			t.Errorf("%s: %v", url, err)
		}
	}
	p, err := behalf.Compile(variables())
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Authorize(behalf.Values{Plan: p, Sent: behalf.Variables{"context.order.id": "1\r\nX-Admin: yes"}}, behalf.Call{Method: "GET", Path: "/me"}, now)
	if behalf.CodeOf(err) != behalf.CodeInvalid || strings.Contains(err.Error(), "X-Admin") {
		t.Errorf("a header of two lines: %v", err)
	}
}

func TestASecretVariableGoesThroughNoBrowser(t *testing.T) {
	p, err := behalf.Compile(variables())
	if err != nil {
		t.Fatal(err)
	}
	v := behalf.Values{Plan: p, Stored: behalf.Stored{"env.REGION": {Text: "eu", Secret: true}, "context.session.BotContext.realm": {Text: "hidden-realm", Secret: true}}}
	if err := p.MissingVariables(v); err == nil || !strings.Contains(err.Error(), "goes through the browser") || strings.Contains(err.Error(), "hidden-realm") {
		t.Error(err)
	}
}

func TestAVariableOfANamespaceThatIsNotIsNoProfile(t *testing.T) {
	for _, name := range []string{"context.session.Bots.plan", "context.session.BotContext", "context.session.env.REGION", "context.session.UserContext.password"} {
		_, err := behalf.Compile(variables(func(d *behalf.Definition) { d.TokenURL = "https://b.example/{{" + name + "}}" }))
		e := (*behalf.Error)(nil)
		if !errors.As(err, &e) || e.Field != "token_url" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzVariables(f *testing.F) {
	for _, s := range []string{`{"a":"b"}`, `{"session":{"BotContext":{"a":1}}}`, `{"session":{"UserContext":{"user":"x"}}}`, `[]`, "{\"a\":\"\xff\"}", `{"a":{"b":{}}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := behalf.ParseVariables(raw)
		if err != nil {
			if behalf.CodeOf(err) != behalf.CodeInvalid {
				t.Errorf("%v", err)
			}
			return
		}
		for name, value := range v {
			if !expand.IsName(name) || !strings.HasPrefix(name, "context.") || strings.HasPrefix(name, "context.session.UserContext") || !utf8.ValidString(value) || strings.ContainsAny(value, "\x00\r\n") {
				t.Errorf("%q", name)
			}
		}
	})
}
