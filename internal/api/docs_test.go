package api

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/behalf-dev/behalf"
)

func docsAPI() *API { return New(Config{Version: "1.2.3"}) }

// docsHTML returns the page as it is served.
func docsHTML(t *testing.T) (*http.Response, string) {
	t.Helper()
	server := httptest.NewServer(Docs(docsAPI()))
	defer server.Close()
	res, err := http.Get(server.URL)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res, string(body)
}

func TestTheDocumentationIsOneSmallPageThatRunsNothing(t *testing.T) {
	res, page := docsHTML(t)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, "text/html; charset=utf-8", res.Header.Get("Content-Type"))
	require.Contains(t, res.Header.Get("Content-Security-Policy"), "default-src 'none'")
	require.Less(t, len(page), 200_000)
	require.NotContains(t, page, "<script")
	require.NotContains(t, page, "style=")
	require.Contains(t, page, "1.2.3")
	require.Contains(t, page, `href="/openapi.json"`)
}

func TestEveryLinkOfTheDocumentationLeadsSomewhere(t *testing.T) {
	_, page := docsHTML(t)
	doc, err := html.Parse(strings.NewReader(page))
	require.NoError(t, err)
	ids, links := map[string]bool{}, []string{}
	for n := range doc.Descendants() {
		for _, a := range n.Attr {
			switch name, inside := strings.CutPrefix(a.Val, "#"); {
			case a.Key == "id":
				require.False(t, ids[a.Val], "the id %s stands twice", a.Val)
				ids[a.Val] = true
			case a.Key == "href" && inside:
				links = append(links, name)
			}
		}
	}
	require.Greater(t, len(links), 30)
	for _, name := range links {
		require.True(t, ids[name], "nothing has the id %s", name)
	}
}

func TestTheDocumentationShowsEveryOperationWithItsFields(t *testing.T) {
	a := docsAPI()
	page := docsOf(a.OpenAPI())
	calls := map[string]docsCall{} // by method and path
	fields := map[string]bool{}    // that stand anywhere
	for _, g := range page.Groups {
		require.NotEmpty(t, g.Calls, g.Name)
		for _, c := range g.Calls {
			for _, m := range c.Methods {
				calls[m+" "+c.Path] = c
			}
			for _, f := range append(append(c.Params.Fields, c.Body.Fields...), c.Answer.Fields...) {
				fields[f.Name[strings.LastIndexByte(f.Name, '.')+1:]] = true
			}
		}
	}
	for _, o := range docsOperations(a.OpenAPI()) {
		require.Contains(t, calls, o.Method+" "+o.Path)
		if o.RequestBody != nil {
			require.True(t, calls[o.Method+" "+o.Path].Body.any(), o.OperationID)
		}
	}
	for name, schema := range a.OpenAPI().Components.Schemas.Map() {
		if strings.HasPrefix(name, "List") || strings.HasPrefix(name, "Problem") {
			continue // told in the page's words
		}
		for field := range schema.Properties {
			require.True(t, fields[field], "%s of %s is not on the page", field, name)
		}
	}
}

func TestTheDocumentationMarksWhatIsRequired(t *testing.T) {
	page := docsOf(docsAPI().OpenAPI())
	marks := map[string]string{}
	for _, g := range page.Groups {
		for _, c := range g.Calls {
			if c.ID == "create-connect-session" {
				for _, f := range c.Body.Fields {
					marks[f.Name] = f.Mark
				}
			}
		}
	}
	require.Equal(t, "required", marks["profile"])
	require.Empty(t, marks["user"])
	require.Empty(t, marks["tenant"])
}

func TestTheDocumentationExplainsEveryCode(t *testing.T) {
	explained := map[behalf.Code]bool{}
	for _, p := range docsOf(docsAPI().OpenAPI()).Problems {
		require.Equal(t, statuses[behalf.Code(p.Code)], p.Status)
		explained[behalf.Code(p.Code)] = true
	}
	for code := range statuses {
		require.True(t, explained[code], string(code))
	}
}

// The bodies of the examples are read as the API reads them.
func TestTheExamplesAreWhatTheAPITakes(t *testing.T) {
	bodies := regexp.MustCompile(`(?s)--json '(.*?\n})'`)
	for name, c := range map[string]struct {
		example string
		into    []any
	}{
		"an assistant and its key": {exampleAssistant, []any{&AssistantBody{}, &KeyBody{}}},
		"a profile":                {exampleProfile, []any{&ProfileBody{}}},
		"a connect session":        {exampleSession, []any{&SessionBody{}}},
		"finish":                   {exampleFinish, []any{&FinishBody{}}},
	} {
		t.Run(name, func(t *testing.T) {
			found := bodies.FindAllStringSubmatch(c.example, -1)
			require.Len(t, found, len(c.into))
			for i, into := range c.into {
				body := strings.NewReplacer(`'"$`, "", `"'`, "").Replace(found[i][1]) // the shell's quotes
				require.NoError(t, decode(strings.NewReader(body), into))
				if p, ok := into.(*ProfileBody); ok {
					_, err := behalf.Compile(p.Definition)
					require.NoError(t, err)
				}
			}
		})
	}
	problem := exampleProblem[strings.Index(exampleProblem, "{"):]
	require.NoError(t, json.Unmarshal([]byte(problem), &Problem{}))
}
