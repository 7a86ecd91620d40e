package connect

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"
)

const attack = `"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;{person}`

type pageWriter func(w http.ResponseWriter, r *http.Request)

func askWith(text string) askPage {
	return askPage{
		Assistant: text, Provider: text, Person: text, Action: "/connect/link", Problem: text, ExpiresIn: text,
		Scopes: []string{text, "read"},
		Inputs: []input{
			{Name: "tenant", Label: text, Hint: text, Value: text, Error: text, Required: true},
			{Name: "field.region", Label: text, Hint: text, Value: text, Options: listed([]string{text, "eu"})},
			{Name: "field.pin", Label: text, Value: text, Password: true},
			{Name: "field." + text, Label: text, Value: text, ReadOnly: true, Options: listed([]string{text})},
		},
	}
}

// everyPage holds each page, with the text wherever a page takes one.
func everyPage(text string) map[string]pageWriter {
	pages := map[string]pageWriter{
		"ask": func(w http.ResponseWriter, r *http.Request) { renderAsk(w, r, askWith(text), 422, text) },
		"ask for nothing": func(w http.ResponseWriter, r *http.Request) {
			renderAsk(w, r, askPage{Assistant: text, Provider: text, Person: text, Action: "/connect/link"}, 200, "en")
		},
		"go": func(w http.ResponseWriter, r *http.Request) {
			renderGo(w, r, goPage{Provider: text, URL: "https://login.example/authorize?x=" + text}, "en")
		},
		"fragment": func(w http.ResponseWriter, r *http.Request) {
			renderFragment(w, r, fragmentPage{Action: "/callback/" + text}, "en")
		},
	}
	for kind := range outcomeLooks {
		pages[string(kind)] = func(w http.ResponseWriter, r *http.Request) {
			renderOutcome(w, r, outcomePage{Kind: kind, Assistant: text, Provider: text, Person: text, Account: text, Detail: text, Fix: text, ReturnURL: "https://bot.example/done?x=" + text}, "en")
		}
		pages[string(kind)+" of whom nothing is known"] = func(w http.ResponseWriter, r *http.Request) {
			renderOutcome(w, r, outcomePage{Kind: kind}, "")
		}
	}
	return pages
}

func answerOf(t *testing.T, write pageWriter) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	write(w, httptest.NewRequest(http.MethodGet, "/connect/link", nil))
	return w.Result()
}

func parsePage(t *testing.T, resp *http.Response) *html.Node {
	t.Helper()
	doc, err := html.Parse(resp.Body)
	require.NoError(t, err)
	return doc
}

// elements returns the elements of one of the names, or every element.
func elements(doc *html.Node, names ...string) []*html.Node {
	var found []*html.Node
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && (len(names) == 0 || slices.Contains(names, n.Data)) {
			found = append(found, n)
		}
	}
	return found
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func elementByID(doc *html.Node, id string) *html.Node {
	for _, n := range elements(doc) {
		if attribute(n, "id") == id {
			return n
		}
	}
	return nil
}

// messageID finds the id that stands where a message is missing.
var messageID = regexp.MustCompile(`\b(ask|go|fragment|outcome|connected|declined|expired|failed|wrong_account|used|other_browser|unknown|busy|finish_pending|unavailable)\.[a-z]`)

func TestEveryPageIsSound(t *testing.T) {
	for name, write := range everyPage("Acme & Söhne") {
		t.Run(name, func(t *testing.T) {
			resp := answerOf(t, write)
			require.Equal(t, "text/html; charset=utf-8", resp.Header.Get("Content-Type"))
			require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
			require.Contains(t, resp.Header.Get("Content-Security-Policy"), "default-src 'none'")
			doc := parsePage(t, resp)

			require.Len(t, elements(doc, "h1"), 1, "headings of the first level")
			require.Len(t, elements(doc, "main"), 1)
			require.Equal(t, "en", attribute(elements(doc, "html")[0], "lang"))
			require.NotEmpty(t, textOf(elements(doc, "title")[0]))

			ids := map[string]bool{}
			for _, n := range elements(doc) {
				id := attribute(n, "id")
				require.False(t, id != "" && ids[id], "id %q stands twice", id)
				ids[id] = true
			}
			for _, n := range elements(doc, "input", "select") {
				if attribute(n, "type") == "hidden" {
					continue
				}
				labelled := slices.ContainsFunc(elements(doc, "label"), func(l *html.Node) bool {
					return attribute(l, "for") == attribute(n, "id") && textOf(l) != ""
				})
				require.True(t, labelled, "input %q has no label", attribute(n, "name"))
				for id := range strings.FieldsSeq(attribute(n, "aria-describedby")) {
					require.NotNil(t, elementByID(doc, id), "input %q is described by %q", attribute(n, "name"), id)
				}
			}
			said := textOf(elements(doc, "body")[0])
			require.NotContains(t, said, "{", "a placeholder without a value")
			require.NotRegexp(t, messageID, said, "a message that does not exist")
		})
	}
}

func TestNoPageHasStyleOrScriptInItself(t *testing.T) {
	for name, write := range everyPage("Acme") {
		t.Run(name, func(t *testing.T) {
			resp := answerOf(t, write)
			policy := resp.Header.Get("Content-Security-Policy")
			doc := parsePage(t, resp)
			require.Empty(t, elements(doc, "style"))
			for _, s := range elements(doc, "script") {
				require.True(t, strings.HasPrefix(attribute(s, "src"), "/assets/"))
				require.Nil(t, s.FirstChild)
				require.Contains(t, policy, "script-src 'self'")
			}
			require.Equal(t, len(elements(doc, "script")) > 0, strings.Contains(policy, "script-src"))
			require.Equal(t, len(elements(doc, "form")) > 0, strings.Contains(policy, "form-action 'self'"))
			for _, n := range elements(doc) {
				for _, a := range n.Attr {
					require.NotEqual(t, "style", a.Key)
					require.False(t, strings.HasPrefix(a.Key, "on"), "%s has %s", n.Data, a.Key)
				}
			}
		})
	}
}

// What text makes of a page must not depend on what the text is.
func TestNoTextBecomesMarkup(t *testing.T) {
	shape := func(doc *html.Node) []string {
		var s []string
		for _, n := range elements(doc) {
			keys := make([]string, len(n.Attr))
			for i, a := range n.Attr {
				keys[i] = a.Key
			}
			s = append(s, n.Data+" "+strings.Join(keys, " "))
		}
		return s
	}
	harmless, hostile := everyPage("Acme"), everyPage(attack)
	for name := range harmless {
		t.Run(name, func(t *testing.T) {
			want := shape(parsePage(t, answerOf(t, harmless[name])))
			got := shape(parsePage(t, answerOf(t, hostile[name])))
			require.Empty(t, cmp.Diff(want, got))
		})
	}
}

func TestNoPageLinksToAnythingButHTTP(t *testing.T) {
	const hostile = "javascript:alert(1)"
	for name, write := range map[string]pageWriter{
		"go": func(w http.ResponseWriter, r *http.Request) {
			renderGo(w, r, goPage{Provider: "Asana", URL: hostile}, "")
		},
		"connected": func(w http.ResponseWriter, r *http.Request) {
			renderOutcome(w, r, outcomePage{Kind: connected, ReturnURL: hostile}, "")
		},
		"ask":      func(w http.ResponseWriter, r *http.Request) { renderAsk(w, r, askPage{Action: hostile}, 200, "") },
		"fragment": func(w http.ResponseWriter, r *http.Request) { renderFragment(w, r, fragmentPage{Action: hostile}, "") },
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range elements(parsePage(t, answerOf(t, write))) {
				for _, a := range n.Attr {
					require.NotContains(t, a.Val, "javascript:")
				}
			}
		})
	}
}

func TestThePageThatAsks(t *testing.T) {
	page := askPage{
		Assistant: "Support Bot", Provider: "Asana", Person: "Jane Doe", Action: "/connect/link",
		Inputs: []input{
			{Name: "tenant", Label: "Your workspace", Value: "acme", Required: true},
			{Name: "field.pin", Label: "PIN", Hint: "Four digits", Value: "1234", Error: "Enter four digits.", Password: true, Required: true},
			{Name: "field.region", Label: "Region", Value: "eu", Options: listed([]string{"us", "eu"})},
			{Name: "field.plan", Label: "Plan", Value: "basic", ReadOnly: true},
		},
	}
	resp := answerOf(t, func(w http.ResponseWriter, r *http.Request) {
		renderAsk(w, r, page, http.StatusUnprocessableEntity, "en-GB")
	})
	require.Equal(t, http.StatusUnprocessableEntity, resp.StatusCode)
	doc := parsePage(t, resp)

	require.Equal(t, "Connect Asana to Support Bot", textOf(elements(doc, "h1")[0]))
	require.Contains(t, textOf(doc), "You are connecting as Jane Doe.")
	require.Contains(t, textOf(doc), "Not you? Close this page")
	form := elements(doc, "form")[0]
	require.Equal(t, "post", attribute(form, "method"))
	require.Equal(t, "/connect/link", attribute(form, "action"))

	t.Run("an error is said above with a way to its input, and at the input", func(t *testing.T) {
		var alert *html.Node
		for _, n := range elements(doc) {
			if attribute(n, "role") == "alert" {
				alert = n
			}
		}
		require.NotNil(t, alert)
		link := elements(alert, "a")
		require.Len(t, link, 1)
		require.Equal(t, "PIN: Enter four digits.", textOf(link[0]))
		pin := elementByID(doc, strings.TrimPrefix(attribute(link[0], "href"), "#"))
		require.Equal(t, "field.pin", attribute(pin, "name"))
		require.Equal(t, "true", attribute(pin, "aria-invalid"))
		var described []string
		for id := range strings.FieldsSeq(attribute(pin, "aria-describedby")) {
			described = append(described, textOf(elementByID(doc, id)))
		}
		require.Equal(t, []string{"Four digits", "Enter four digits."}, described)
		require.Contains(t, textOf(elements(doc, "title")[0]), "Please check")
	})
	t.Run("an input without an error does not claim one", func(t *testing.T) {
		for _, n := range elements(doc, "input", "select") {
			if attribute(n, "name") != "field.pin" {
				require.False(t, slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return strings.HasPrefix(a.Key, "aria-") }), "%v", n.Attr)
			}
		}
	})
	t.Run("a password is never sent back", func(t *testing.T) {
		for _, n := range elements(doc, "input") {
			if attribute(n, "type") == "password" {
				require.Empty(t, attribute(n, "value"))
			}
		}
		require.NotContains(t, textOf(doc), "1234")
	})
	t.Run("what was typed or chosen stands there again", func(t *testing.T) {
		got := map[string]string{}
		for _, n := range elements(doc, "input") {
			got[attribute(n, "name")] = attribute(n, "value")
		}
		for _, n := range elements(doc, "option") {
			if slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "selected" }) {
				got["field.region"] = attribute(n, "value")
			}
		}
		require.Equal(t, map[string]string{"tenant": "acme", "field.pin": "", "field.region": "eu", "field.plan": "basic"}, got)
	})
	t.Run("Enter continues and does not decline", func(t *testing.T) {
		buttons := elements(doc, "button")
		require.Len(t, buttons, 2)
		require.Empty(t, attribute(buttons[0], "name"))
		require.Equal(t, "decline", attribute(buttons[1], "name"))
	})
}

func TestThePageThatSendsOn(t *testing.T) {
	const target = "https://login.example/authorize?client_id=a&state=b'c%22;d"
	resp := answerOf(t, func(w http.ResponseWriter, r *http.Request) {
		renderGo(w, r, goPage{Provider: "Asana", URL: target}, "")
	})
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "no-referrer", resp.Header.Get("Referrer-Policy"))
	doc := parsePage(t, resp)
	var refresh string
	for _, n := range elements(doc, "meta") {
		if attribute(n, "http-equiv") == "refresh" {
			refresh = attribute(n, "content")
		}
	}
	require.Equal(t, "0;url="+target, refresh)
	links := elements(doc, "a")
	require.Len(t, links, 1)
	require.Equal(t, target, attribute(links[0], "href"))
	require.Equal(t, "noreferrer", attribute(links[0], "rel"))
	require.Contains(t, textOf(doc), "login.example")
}

func TestEachOutcomeHasItsOwnStatusAndWords(t *testing.T) {
	titles := map[string]outcomeKind{}
	for kind, status := range map[outcomeKind]int{
		connected: 200, declined: 200, finishPending: 200, otherBrowser: 403, unknown: 404, wrongAccount: 409, busy: 409,
		expired: 410, used: 410, failed: 422, unavailable: 503, tested: 200, testFailed: 422,
	} {
		t.Run(string(kind), func(t *testing.T) {
			page := outcomePage{Kind: kind, Assistant: "Support Bot", Provider: "Asana", Account: "jane@example.com", Detail: "invalid_grant: code is spent", Fix: "Mend the profile."}
			resp := answerOf(t, func(w http.ResponseWriter, r *http.Request) { renderOutcome(w, r, page, "") })
			require.Equal(t, status, resp.StatusCode)
			doc := parsePage(t, resp)
			title := textOf(elements(doc, "h1")[0])
			require.Empty(t, titles[title], "the same heading")
			titles[title] = kind
			require.Contains(t, textOf(doc), "What to do now")
			require.Equal(t, kind == failed || kind == testFailed, strings.Contains(textOf(doc), "invalid_grant: code is spent"), "what is meant for an administrator")
			require.Equal(t, kind == connected || kind == wrongAccount, strings.Contains(textOf(doc), "jane@example.com"))
		})
	}
	require.Len(t, titles, len(outcomeLooks))
}

// A translation may say less than the English file, but nothing of its own.
func TestEveryLanguageHasTheSameTextsAndValues(t *testing.T) {
	placeholder := regexp.MustCompile(`\{[a-z]+\}`)
	english := words.In("en")
	for _, language := range words {
		require.Equal(t, english.IDs(), language.IDs(), language.Tag)
		for _, id := range english.IDs() {
			want := placeholder.FindAllString(english.Text(id, nil), -1)
			got := placeholder.FindAllString(language.Text(id, nil), -1)
			slices.Sort(want)
			slices.Sort(got)
			require.Equal(t, slices.Compact(want), slices.Compact(got), "%s: %s", language.Tag, id)
		}
	}
}
