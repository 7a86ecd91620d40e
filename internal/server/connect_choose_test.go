package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/server/servertest"
)

// oddity is a provider that does everything in its own way.
type oddity struct {
	mu     sync.Mutex
	asked  []string
	prompt []string // what each authorization request asked for
	sites  string   // what the person may use
}

func (o *oddity) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, r.Method+" "+r.URL.Path)
	switch r.URL.Path {
	case "/authorize":
		o.prompt = append(o.prompt, r.Form.Get("prompt"))
		back := r.Form.Get("redirect_uri") + "?" + url.Values{"own_code": {"c%2F1"}, "customField": {r.Form.Get("customField")}, "realmId": {"r7"}}.Encode()
		http.Redirect(w, r, back, http.StatusFound)
	case "/token":
		if r.Form.Get("code") != "c/1" || r.Form.Get("realm") != "r7" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, `{"ok":true,"data":{"token":"short"},"me":{"token":"mine"}}`)
	case "/extend":
		fmt.Fprintf(w, `{"access_token":"long-of-%s","refresh_token":"r1","expires_in":3600}`, r.Form.Get("old"))
	case "/introspect":
		fmt.Fprint(w, `{"active":true}`)
	case "/sites":
		if r.Header.Get("Authorization") != "Bearer long-of-short" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, o.sites)
	case "/site":
		fmt.Fprintf(w, `{"region":"eu-%s"}`, r.Form.Get("id"))
	case "/api/x":
		fmt.Fprint(w, r.Header.Get("Authorization"), "|", r.Header.Get("X-Site"), "|", r.Header.Get("X-Region"), "|", r.Header.Get("X-User"))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (o *oddity) differs(base string) func(*behalf.Definition) {
	return func(d *behalf.Definition) {
		d.AuthorizationURL, d.TokenURL, d.CheckURL = base+"/authorize", base+"/token", ""
		d.API = behalf.API{BaseURL: base + "/api"}
		d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "Authorization", Value: "Bearer {{accessToken}}"}, {In: behalf.InHeader, Key: "X-Site", Value: "{{site}}"},
			{In: behalf.InHeader, Key: "X-Region", Value: "{{region}}"}, {In: behalf.InHeader, Key: "X-User", Value: "{{slots.user.accessToken}}"}}
		d.OAuth = behalf.OAuthSettings{ClientAuth: behalf.ClientAuthPost, IntrospectionURL: base + "/introspect",
			Authorize:   behalf.Authorize{Rename: map[string]string{"state": "customField"}, ReconnectParams: []behalf.Param{{Key: "prompt", Value: "consent"}}},
			Callback:    behalf.Callback{CodeParam: "own_code", StateParam: "customField", Decode: true, Capture: []behalf.Capture{{Name: "realm", Param: "realmId", Required: true, Pattern: "[a-z0-9]+"}}},
			TokenParams: []behalf.Param{{Key: "realm", Value: "{{realm}}"}},
			Token:       behalf.Shape{Success: []behalf.Rule{{JSON: "/ok", Equals: "true"}}, Reply: behalf.Reply{AccessToken: "/data/token"}},
			Slots:       []behalf.Slot{{Name: "user", Reply: behalf.Reply{AccessToken: "/me/token"}}},
			AfterToken:  []behalf.Step{{Name: "extend", URL: base + "/extend", Token: true, Params: []behalf.Param{{Key: "old", Value: "{{accessToken}}"}, {Key: "secret", Value: "{{clientSecret}}"}}}},
			PostConnect: []behalf.Step{
				{Name: "sites", URL: base + "/sites", Shape: behalf.Shape{Method: "GET", Auth: behalf.ClientAuthBearer, Capture: []behalf.Capture{{Name: "site", Required: true, Choose: &behalf.Choose{Items: "/", Value: "/id", Label: "/name", Title: "Which <b>site</b>?"}}}}},
				{Name: "site", URL: base + "/site?id={{site}}", Shape: behalf.Shape{Method: "GET", Capture: []behalf.Capture{{Name: "region", JSON: "/region", Required: true}}}},
			},
		}
	}
}

func newOddity(t *testing.T, sites string) (*stage, *oddity, behalf.Profile) {
	t.Helper()
	o := &oddity{sites: sites}
	provider := httptest.NewServer(o)
	t.Cleanup(provider.Close)
	s := newStage(t, servertest.Setup{})
	return s, o, s.profile(o.differs(provider.URL))
}

// toTheChoice goes from the link to the page behind the provider.
func toTheChoice(s *stage, p behalf.Profile) (*browser, session, page, string) {
	b := s.browser()
	of := s.begin(p)
	first := b.post(of.link, url.Values{})
	back := b.get(first.onward())
	address := back.Header.Get("Location")
	return b, of, b.get(address), address
}

// filledForm is the choosing form, filled.
func filledForm(s *stage, p page, value string) (action string, form url.Values) {
	form = url.Values{}
	for _, in := range p.elements("input") {
		if attribute(in, "type") == "hidden" {
			form.Set(attribute(in, "name"), attribute(in, "value"))
		}
	}
	form.Set("choice.site", value)
	return s.URL + attribute(p.elements("form")[0], "action"), form
}

const twoSites = `[{"id":"1","name":"One <i>site</i>"},{"id":"2","name":"Two"}]`

func TestThePersonChoosesWhatTheConnectionIsFor(t *testing.T) {
	s, o, p := newOddity(t, twoSites)
	b, of, asked, address := toTheChoice(s, p)
	if asked.Status != 200 || !strings.Contains(asked.Body, "Which &lt;b&gt;site&lt;/b&gt;?") || !strings.Contains(asked.Body, "One &lt;i&gt;site&lt;/i&gt;") || s.status(of).Status != "waiting" {
		t.Fatalf("status %d, %s: %s", asked.Status, s.status(of).Status, asked.Body)
	}
	if again := b.get(address); again.Status != 200 || len(again.elements("form")) != 1 {
		t.Fatal("the question does not survive a reload")
	}
	if again := b.get(of.link); again.Status != 200 || len(again.elements("form")) != 1 {
		t.Fatal("the question does not come back by the link")
	}
	if other := s.browser().get(of.link); other.Status != http.StatusForbidden {
		t.Fatal("another browser sees the question:", other.Status)
	}
	action, form := filledForm(s, asked, "3")
	if wrong := b.post(action, form); wrong.Status != 422 || len(wrong.elements("form")) != 1 {
		t.Fatal("what was not listed was taken:", wrong.Status)
	}
	if other := s.browser().post(action, form); other.Status != http.StatusForbidden {
		t.Fatal("another browser chose:", other.Status)
	}
	form.Set("choice.site", "2")
	if done := b.post(action, form); done.Status != 200 || s.status(of).Status != "connected" {
		t.Fatalf("status %d, %+v", done.Status, s.status(of))
	}
	if late := b.post(action, form); late.Status != http.StatusGone {
		t.Fatal("a second answer:", late.Status)
	}
	a := s.Do(s.Key, "GET", s.api("/proxy/"+p.Slug+"/x"), nil, "Behalf-User", of.User)
	if a.Body != "Bearer long-of-short|2|eu-2|mine" {
		t.Fatalf("status %d: %s", a.Status, a.Body)
	}
	want := "GET /authorize POST /token POST /extend GET /sites GET /site GET /api/x"
	if got := strings.Join(o.asked, " "); got != want {
		t.Fatalf("asked %s\nwant  %s", got, want)
	}
}

func TestOnlyOneToChooseFromIsNotAsked(t *testing.T) {
	s, o, p := newOddity(t, `[{"id":"7","name":"Only"}]`)
	_, of, done, _ := toTheChoice(s, p)
	if done.Status != 200 || s.status(of).Status != "connected" {
		t.Fatalf("status %d, %+v", done.Status, s.status(of))
	}
	again := s.begin(p, func(b *api.SessionBody) { b.User = of.User })
	b := s.browser()
	first := b.post(again.link, url.Values{})
	b.get(first.onward())
	if got := strings.Join(o.prompt, ","); got != ",consent" {
		t.Fatalf("prompts %q: who comes again is asked as the profile says", got)
	}
}

func TestAConnectionIsNotMadeWithoutItsLastStep(t *testing.T) {
	s, _, p := newOddity(t, `[]`)
	_, of, done, _ := toTheChoice(s, p)
	if got := s.status(of); done.Status == 200 || got.Status != "failed" || !strings.Contains(got.Problem.Detail, "step sites") {
		t.Fatalf("status %d, %+v", done.Status, got)
	}
}
