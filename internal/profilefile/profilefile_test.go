package profilefile

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/behalf-dev/behalf"
)

const serviceNow = `type: oauth2
name: ServiceNow
provider: ServiceNow
description: |-
  Incidents
  for the support bot
client_id: 0a1b2c
client_secret: env:SERVICENOW_SECRET
authorization_url: "https://{tenant}.service-now.com/oauth_auth.do"
token_url: "https://{tenant}.service-now.com/oauth_token.do"
scope:
  - key: scope
    value: useraccount
    required: true
tenancy:
  base_url: "https://{tenant}.service-now.com"
  pattern: "[a-z0-9-]+"
  label: Your ServiceNow instance
additional_fields:
  - key: pin
    title: PIN
    type: password
    value: file:/run/secrets/pin
authorization_fields:
  - in: header
    key: Authorization
    value: "Bearer {{accessToken}}"
  - in: query
    key: sysparm_pin
    value: env:SYSPARM_PIN
    secret: true
auth_error:
  - status: 403
    json: /error/message
    equals: expired
send_token: false
oauth:
  client_auth: post
  scope_separator: " "
  token_lifetime: 1800
  refresh:
    rotates: "yes"
    method: PUT
  authorize:
    rename:
      client_id: client_key
      state: customField
  after_token:
    - name: exchange
      url: https://api.example.com/exchange
      token: true
      headers:
        - key: X-Version
          value: "2024"
`

func TestAFileIsReadWithItsReferencesAndWrittenTheSame(t *testing.T) {
	docs, err := Parse("servicenow.yaml", []byte(serviceNow))
	require.NoError(t, err)
	require.Len(t, docs, 1)
	d := docs[0].Definition
	require.Equal(t, "0a1b2c", d.ClientID)
	require.Equal(t, "env:SERVICENOW_SECRET", d.ClientSecretFrom)
	require.Equal(t, "file:/run/secrets/pin", d.AdditionalFields[0].ValueFrom)
	require.Empty(t, d.AdditionalFields[0].Value)
	require.Equal(t, "env:SYSPARM_PIN", d.AuthorizationFields[1].ValueFrom)
	require.Equal(t, "Incidents\nfor the support bot", d.Description)
	require.Equal(t, "PUT", d.OAuth.Refresh.Method, "an embedded member")
	require.Equal(t, map[string]string{"client_id": "client_key", "state": "customField"}, d.OAuth.Authorize.Rename)

	var again strings.Builder
	out, err := Format(d)
	require.NoError(t, err)
	again.Write(out)
	docs, err = Parse("again.yaml", out)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(d, docs[0].Definition))
	twice, err := Format(docs[0].Definition)
	require.NoError(t, err)
	require.Equal(t, again.String(), string(twice))
	require.NotContains(t, again.String(), "value_from")
}

func TestWhatIsWrongIsToldWithItsPlace(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"an unknown key", "name: A\nclientid: x\n", "f.yaml:2:1: clientid: There is no such key; client_id is one."},
		{"an unknown key far from all", "name: A\nwhatever_it_is: x\n", "f.yaml:2:1: whatever_it_is: There is no such key."},
		{"an unknown key below", "oauth:\n  refresh:\n    rotate: x\n", "f.yaml:3:5: oauth.refresh.rotate: There is no such key; rotates is one."},
		{"an unknown key in a list", "scope:\n  - key: scope\n    valu: x\n", "f.yaml:3:5: scope[0].valu: There is no such key; value is one."},
		{"a key twice", "name: A\nname: B\n", "f.yaml:2:1: name: This key stands here twice."},
		{"a list for a text", "name: [a]\n", "f.yaml:1:7: name: Expected one value."},
		{"a text for a list", "scope: a\n", "f.yaml:1:8: scope: Expected a list."},
		{"a text for an object", "oauth: a\n", "f.yaml:1:8: oauth: Expected keys with values."},
		{"a text for a number", "oauth:\n  token_lifetime: soon\n", "f.yaml:2:19: oauth.token_lifetime: Expected a whole number."},
		{"a text for a flag", "send_token: maybe\n", "f.yaml:1:13: send_token: Expected true or false."},
		{"an anchor", "name: &a A\n", "f.yaml:1:7: name: Anchors, aliases and tags are not taken here: write the value itself."},
		{"a client secret", "name: A\nclient_secret: hunter2\n", "f.yaml:2:1: client_secret: Expected env:NAME or file:/path: secrets do not stand in profile files."},
		{"a secret value", "authorization_fields:\n  - {in: header, key: X-Key, secret: true, value: hunter2}\n", "f.yaml:2:44: authorization_fields[0].value: Expected env:NAME or file:/path: secrets do not stand in profile files."},
		{"a password", "additional_fields:\n  - key: pin\n    type: password\n    value: hunter2\n", "f.yaml:4:5: additional_fields[0].value: Expected env:NAME or file:/path: secrets do not stand in profile files."},
		{"no YAML", "name: [a\n", "f.yaml:1:7: "},
		{"nothing", "# only a comment\n", "f.yaml:1:1: The file holds no profile."},
		{"a scalar", "hello\n", "f.yaml:1:1: Expected keys with values."},
		{"other bytes", "name: \xff\n", "f.yaml:1:1: The file is not valid UTF-8."},
		{"a large file", "# " + strings.Repeat("x", 1<<20), "f.yaml:1:1: The file is larger than 1 MiB."},
		{"a member's own name", "client_secret_from: env:X\n", "f.yaml:1:1: client_secret_from: There is no such key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("f.yaml", []byte(c.file))
			require.Error(t, err)
			require.Contains(t, err.Error(), c.want)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

// TestAFileThatWouldTakeHoursIsRefused: the parser's time grows with the square
// of how deep and how wide a file is.
func TestAFileThatWouldTakeHoursIsRefused(t *testing.T) {
	for name, file := range map[string]string{
		"brackets":      strings.Repeat("[", 200_000),
		"braces":        strings.Repeat("{a: ", 100_000),
		"dashes":        strings.Repeat("- ", 200_000),
		"keys":          strings.Repeat("a: x\n", 100_000),
		"complex keys":  strings.Repeat("? a\n", 100_000),
		"anchored keys": strings.Repeat("&a b: c\n", 50_000),
		"items":         "scope:\n" + strings.Repeat(" -\n", 200_000),
		"flow":          "scope: [" + strings.Repeat("a,", 200_000) + "]",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("f.yaml", []byte(file))
			require.ErrorContains(t, err, "it is nested too deeply, or has too much beside each other")
		})
	}
	allowed := behalf.Definition{Name: "A", Tenancy: &behalf.Tenancy{Allowed: strings.Split(strings.Repeat("a ", 1000)+"a", " ")}}
	out, err := Format(allowed)
	require.NoError(t, err)
	_, err = Parse("f.yaml", out)
	require.NoError(t, err, "what a definition may have is read")
}

func TestAPartOfAFileDoesNotGrow(t *testing.T) {
	v, err := Value("method: GET\nheaders: [{key: A, value: 'b'}]\n")
	require.NoError(t, err)
	require.Equal(t, map[string]any{"method": "GET", "headers": []any{map[string]any{"key": "A", "value": "b"}}}, v)
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 10; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	for _, text := range []string{bomb, "a: &a b\n", "a: *a\n", "a: !!str b\n", "<<: *a\n"} {
		_, err := Value(text)
		require.Error(t, err, text)
	}
}

func TestTheProblemsOfADefinitionAreToldWithTheirPlaces(t *testing.T) {
	file := "type: oauth2\nname: A\nprovider: A\nclient_id: x\nauthorization_url: https://a.example/authorize\ntoken_url: nonsense\nadditional_fields:\n  - key: pin\n    pattern: '['\n"
	docs, err := Parse("a.yaml", []byte(file))
	require.NoError(t, err)
	_, err = behalf.Compile(docs[0].Definition)
	problems := docs[0].Problems(err)
	require.Len(t, problems, 2)
	require.Contains(t, problems[0].Error(), "a.yaml:6:1: token_url: ")
	require.Contains(t, problems[1].Error(), "a.yaml:9:5: additional_fields[0].pattern: ")
}

func TestSeveralDocumentsStandInOneFile(t *testing.T) {
	docs, err := Parse("all.yaml", []byte("name: A\n---\nname: B\n---\n"))
	require.NoError(t, err)
	require.Len(t, docs, 2)
	require.Equal(t, "B", docs[1].Definition.Name)
	require.Equal(t, 3, docs[1].At("name").Line)
}

func TestSecretsAreFetchedAndPutWhereTheyBelong(t *testing.T) {
	docs, err := Parse("servicenow.yaml", []byte(serviceNow))
	require.NoError(t, err)
	d, client, err := Fill(docs[0].Definition, func(from string) (string, string) { return "value of " + from, "" })
	require.NoError(t, err)
	require.Equal(t, "value of env:SERVICENOW_SECRET", client)
	require.Equal(t, "value of file:/run/secrets/pin", d.AdditionalFields[0].Value)
	require.Equal(t, "value of env:SYSPARM_PIN", d.AuthorizationFields[1].Value)
	require.Empty(t, docs[0].Definition.AdditionalFields[0].Value, "the document stays as it was")

	_, _, err = Fill(docs[0].Definition, func(string) (string, string) { return "", "It is not set." })
	require.Equal(t, []Problem{{File: "servicenow.yaml", Place: Place{8, 1}, Field: "client_secret", Message: "It is not set."}}, []Problem(docs[0].Problems(err)))

	out, err := Format(d)
	require.NoError(t, err)
	require.NotContains(t, string(out), "value of", "what was filled in is not written")
}

func TestEveryTextComesBackAsItWas(t *testing.T) {
	for _, s := range []string{"yes", "No", "012", "1e3", "0x1F", "~", "null", "- a", "a: b", "a #b", " lead", "trail ", "tab\tx", "cr\r\nlf", "two\nlines", "\n", "a\n\nb", "a\n  b\n", "{{x}}", "{tenant}",
		"&a", "*a", "!t", "%d", "@a", "`a", "|", ">", "'q'", `"d"`, `a\b`, "é", "日本", "\u2028", "\x07", "\ufeff", "<<", "=", ".inf", "NaN", "2020-01-01", "1:30", "env:X", "file:/x", "https://a.example/b?c=d&e=f", "?", ":", "a:", "---", "...", "😀", strings.Repeat("long ", 100)} {
		d := behalf.Definition{Name: "A", Description: s, Scope: []behalf.ScopeParam{{Key: s, Value: s}}}
		d.OAuth.Token.Rename = map[string]string{"a": s}
		out, err := Format(d)
		require.NoError(t, err, "%q", s)
		docs, err := Parse("", out)
		require.NoError(t, err, "%q\n%s", s, out)
		require.Empty(t, cmp.Diff(d, docs[0].Definition), "%q", s)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(serviceNow))
	f.Add([]byte("name: A\n---\n{\"name\": \"B\", \"oauth\": {\"token\": {\"rename\": {\"a\": \"b\"}}}}\n"))
	f.Add([]byte("scope: [{key: scope, value: 'a b'}]\nsend_token: true\n"))
	f.Add([]byte("name: &a A\nprovider: *a\n<<: {x: y}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, err := Parse("f.yaml", data)
		if err != nil {
			if problems := Problems(nil); !errors.As(err, &problems) || len(problems) == 0 || problems[0].Line < 1 {
				t.Fatalf("an error without a place: %v", err)
			}
			return
		}
		for _, d := range docs {
			_, _ = behalf.Compile(d.Definition)
			out, err := Format(d.Definition)
			if err != nil && err.Error() != "profilefile: the definition is empty" {
				t.Fatalf("it does not come back: %v\n%s", err, out)
			}
		}
	})
}
