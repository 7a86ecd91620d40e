package connect

import (
	"encoding/json"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
)

func TestEveryLanguageSaysEverything(t *testing.T) {
	files, err := fs.Glob(messages, "messages/*.json")
	require.NoError(t, err)
	require.Len(t, files, 6)
	want := words.In("en").IDs()
	for _, file := range files {
		raw, err := fs.ReadFile(messages, file)
		require.NoError(t, err)
		var texts map[string]string
		require.NoError(t, json.Unmarshal(raw, &texts))
		require.Equal(t, want, slices.Sorted(maps.Keys(texts)), "%s: a text that is missing would be shown in English", file)
	}
}

func TestThePageSpeaksTheLanguageOfTheSessionElseOfTheBrowser(t *testing.T) {
	for _, c := range []struct{ name, locale, accept, want string }{
		{"the session's", "de-AT", "fr", "de"},
		{"an underscore", "pt_BR", "", "pt"},
		{"the session's that we do not speak", "nl", "fr", "en"},
		{"the browser's", "", "ja,en;q=0.5", "ja"},
		{"the browser's best", "", "nl, en;q=0.3, es-MX;q=0.8", "es"},
		{"none that we speak", "", "nl", "en"},
		{"no word of it", "", "", "en"},
		{"nonsense", "", ";;;,=", "en"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Accept-Language", c.accept)
			require.Equal(t, c.want, spoken(r, c.locale).Tag)
		})
	}
}

// Every sentence with which the vocabulary refuses what a person typed is said
// in their language.
func TestRefusalsAreSaidInTheReadersLanguage(t *testing.T) {
	d := behalf.Definition{Type: behalf.OAuth2, Name: "A", Provider: "A", ClientID: "x", AuthorizationURL: "https://{tenant}.a.example/authorize", TokenURL: "https://{tenant}.a.example/token",
		Tenancy:          &behalf.Tenancy{BaseURL: "https://{tenant}.a.example"},
		AdditionalFields: []behalf.AdditionalField{{Key: "pin", Required: true, Pattern: "[0-9]{4}"}, {Key: "code", Pattern: "[0-9]{4}", Hint: "Four digits."}}}
	plan := func(change func(*behalf.Definition)) *behalf.Plan {
		d := d
		tenancy := *d.Tenancy
		d.Tenancy = &tenancy
		change(&d)
		p, err := behalf.Compile(d)
		require.NoError(t, err)
		return p
	}
	open := plan(func(*behalf.Definition) {})
	listed := plan(func(d *behalf.Definition) { d.Tenancy.Allowed = []string{"acme", "umbrella"} })
	patterned := plan(func(d *behalf.Definition) { d.Tenancy.Pattern = "[a-z]+" })
	for name, err := range map[string]error{
		"no tenant":             open.CheckTenant(""),
		"a long tenant":         open.CheckTenant(strings.Repeat("a", 300)),
		"a tenant for no host":  open.CheckTenant("a/b"),
		"no choice":             listed.CheckTenant(""),
		"another choice":        listed.CheckTenant("initech"),
		"a tenant of no form":   patterned.CheckTenant("A1"),
		"no field":              open.CheckField("pin", secret.New("")),
		"a field of no form":    open.CheckField("pin", secret.New("12")),
		"a field with a hint":   open.CheckField("code", secret.New("12")),
		"a field of many lines": open.CheckField("pin", secret.New("1\n2")),
	} {
		t.Run(name, func(t *testing.T) {
			e := fieldError(err, "x")
			require.NotEmpty(t, e.Message)
			for _, l := range words {
				if l.Tag != "en" {
					require.NotEqual(t, e.Message, said(l, e.Message), l.Tag)
				}
			}
			require.NotContains(t, said(words.In("de"), e.Message), "{")
		})
	}
}
