package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/simulator"
	"github.com/behalf-dev/behalf/internal/storetest"
)

// This file proves that what providers do differently is said in data. The
// rules are:
//
//   - rows.yaml lists what is known of providers; each row has a case, or a
//     reason why it has none.
//   - A case is a dialect of the simulator, which refuses everybody who does
//     not speak it, and a profile. The whole way is gone with it: connect, call,
//     refresh, disconnect.
//   - The profile without one of its knobs must fail where the case says, or
//     the knob proves nothing.

// quirk is one case.
type quirk struct {
	Row     string         `json:"row"`
	Name    string         `json:"name"`
	Dialect map[string]any `json:"dialect"`
	Sim     map[string]any `json:"sim"`     // other switches
	Profile map[string]any `json:"profile"` // what is not as in any profile (RFC 7386)
	Knobs   []knob         `json:"knobs"`
	// NoKnob says why a profile needs nothing for this.
	NoKnob string `json:"no_knob"`

	Tenant string            `json:"tenant"`
	Form   map[string]string `json:"form"`   // what the person enters
	Choose map[string]string `json:"choose"` // what the person chooses after the login
	Twice  bool              `json:"twice"`  // the person connects again
	Calls  []call            `json:"calls"`
	Renew  renewal           `json:"renew"`
	Outcome
}

// Outcome is how a person's way ends where it does not end connected.
type Outcome struct {
	Status string `json:"status"` // declined, failed
	Says   string `json:"says"`   // in the problem's detail
}

type knob struct {
	Set     map[string]any `json:"set"`
	Fails   string         `json:"fails"`   // connect, call, refresh, disconnect
	Because string         `json:"because"` // in what the simulator refused
}

// call is a proxied request.
type call struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Body   any    `json:"body"`
	Holds  string `json:"holds"`
}

// renewal is how the tokens end, and what becomes of it.
type renewal struct {
	// By is time (the default), answer (the API takes the token no longer),
	// lost (the answer to a refresh is lost), early (the API takes the token no
	// longer, too early for another), gone (the person has taken access away),
	// limited (the provider asks to come later), revisit (they connect again),
	// or never.
	By    string `json:"by"`
	After string `json:"after"` // of time: how long; several, separated by spaces
	Wait  string `json:"wait"`  // of limited: what Retry-After says then
	// Answer is the provider's instead, of limited.
	Answer *simulator.Answer `json:"answer"`
	// Disconnect: revoked (the default where there is a revocation URL) or kept.
	Disconnect string `json:"disconnect"`
}

func loadQuirks(t *testing.T) []quirk {
	t.Helper()
	files, err := filepath.Glob("testdata/quirks/[0-9]*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	var all []quirk
	for _, f := range files {
		var some []quirk
		fromYAML(t, f, &some)
		all = append(all, some...)
	}
	return all
}

func fromYAML(t *testing.T, file string, to any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	strictly(t, file, raw, to)
}

func strictly(t *testing.T, what string, raw []byte, to any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// row is something that is known of providers.
type row struct {
	Row     string `json:"row"`
	Title   string `json:"title"`
	LeftOut string `json:"left_out"` // why there is no case
}

func TestEveryRowOfWhatProvidersDoHasACaseOrAReason(t *testing.T) {
	var rows []row
	fromYAML(t, "testdata/quirks/rows.yaml", &rows)
	cases := map[string]int{}
	for _, q := range loadQuirks(t) {
		cases[q.Row]++
		if q.Name == "" || len(q.Knobs) == 0 && q.NoKnob == "" {
			t.Errorf("row %s, %q: a case has a name, and knobs or a reason why it needs none", q.Row, q.Name)
		}
	}
	for _, r := range rows {
		switch {
		case r.Title == "":
			t.Errorf("row %s has no title", r.Row)
		case cases[r.Row] == 0 && r.LeftOut == "":
			t.Errorf("row %s (%s) has neither a case nor a reason", r.Row, r.Title)
		case cases[r.Row] > 0 && r.LeftOut != "":
			t.Errorf("row %s (%s) has a case and a reason for having none", r.Row, r.Title)
		}
		delete(cases, r.Row)
	}
	for unknown := range cases {
		t.Errorf("there is no row %s", unknown)
	}
}

func TestWhatProvidersDoDifferentlyIsSaidInData(t *testing.T) {
	for _, q := range loadQuirks(t) {
		t.Run(q.Row+" "+q.Name, func(t *testing.T) {
			if stage, why := q.travel(t, -1); stage != "" {
				t.Fatalf("the %s failed: %s", stage, why)
			}
			for i, k := range q.Knobs {
				t.Run("and without "+strings.Join(paths("", k.Set), ", "), func(t *testing.T) {
					stage, why := q.travel(t, i)
					if stage != k.Fails || !strings.Contains(why, k.Because) {
						t.Errorf("what failed is %q, want %q because of %q: %s", stage, k.Fails, k.Because, why)
					}
				})
			}
		})
	}
}

// paths are the leaves of a patch.
func paths(at string, v any) []string {
	m, ok := v.(map[string]any)
	if !ok {
		return []string{strings.TrimPrefix(at, ".")}
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, paths(at+"."+name, m[name])...)
	}
	return out
}

// way is one case on its way.
type way struct {
	*stage
	q       quirk
	browser *browser
	profile behalf.Profile
	user    string
	tokens  int // issued so far
}

// travel goes the whole way with a profile that lacks one of the case's knobs,
// or none of them. It returns where it failed, and all that is known of why.
func (q quirk) travel(t *testing.T, without int) (stage, why string) {
	t.Helper()
	s := newStage(t, servertest.Setup{})
	defer func() { // while the server still runs: what it says is a part of it
		if t.Failed() {
			t.Logf("refused: %q", s.Sim.Stats().Refused)
		}
	}()
	w := &way{stage: s, q: q, user: "quirky"}
	fill := w.addresses()
	w.browser = s.browser()
	sw := simulator.Switches{}
	strictly(t, "sim", fill(q.Sim), &sw)
	if len(q.Dialect) > 0 {
		sw.Dialect = &simulator.Dialect{}
		strictly(t, "dialect", fill(q.Dialect), sw.Dialect)
	}
	s.behaves(sw)
	profile := merge(base(), q.Profile)
	for i, k := range q.Knobs {
		if i != without {
			profile = merge(profile, k.Set)
		}
	}
	var d behalf.Definition
	strictly(t, "profile", fill(profile), &d)
	made, err := s.System.CreateProfile(t.Context(), behalf.Profile{Assistant: s.Assistant.ID, Definition: d,
		Secrets: behalf.ProfileSecrets{Client: []behalf.ClientSecret{{Value: secret.New(storetest.ClientSecret), CreatedAt: s.DB.Now()}}}})
	if err != nil {
		return "profile", fmt.Sprintf("%+v", err)
	}
	w.profile = made
	s.register(made)
	strictly(t, "case", fill(q.Calls), &w.q.Calls)
	for _, step := range []struct {
		name string
		do   func() string
	}{{"connect", w.connect}, {"call", w.callAll}, {"refresh", w.renew}, {"disconnect", w.disconnect}} {
		why := step.do()
		if refused := s.Sim.Stats().Refused; len(refused) > 0 {
			why += "\nrefused: " + strings.Join(refused, "\n")
		}
		if why != "" {
			return step.name, why
		}
	}
	return "", ""
}

// base is what every profile here has.
func base() map[string]any {
	return map[string]any{
		"type": "oauth2", "name": "Quirky", "provider": "Acorn Notes", "client_id": "bot",
		"authorization_url": "${provider}/authorize", "token_url": "${provider}/token",
		"scope": []any{map[string]any{"key": "scope", "value": "profile notes:read"}},
		"api":   map[string]any{"base_url": "${provider}/api"},
		"oauth": map[string]any{"revocation_url": "${provider}/revoke"},
	}
}

// merge patches a JSON object (RFC 7386).
func merge(into map[string]any, patch map[string]any) map[string]any {
	out := maps.Clone(into)
	if out == nil {
		out = map[string]any{}
	}
	for name, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(out, name)
		case map[string]any:
			was, _ := out[name].(map[string]any)
			out[name] = merge(was, v)
		default:
			out[name] = v
		}
	}
	return out
}

// addresses starts two more doors to the simulator, one of them with TLS, and
// returns what fills ${provider}, ${other}, ${secure} and the like.
func (w *way) addresses() func(any) []byte {
	w.t.Helper()
	other := httptest.NewServer(w.Sim)
	w.t.Cleanup(other.Close)
	secure := httptest.NewTLSServer(w.Sim)
	w.t.Cleanup(secure.Close)
	host := func(u string) string { return u[strings.Index(u, "//")+2:] }
	_, port, _ := net.SplitHostPort(host(w.Provider))
	replace := strings.NewReplacer("${provider}", w.Provider, "${provider_host}", host(w.Provider), "${port}", port,
		"${other}", other.URL, "${other_host}", host(other.URL), "${secure}", secure.URL, "${secure_host}", host(secure.URL),
		"${secret}", storetest.ClientSecret, "${secret_8}", storetest.ClientSecret[:8])
	return func(v any) []byte {
		raw, err := json.Marshal(v)
		if err != nil {
			w.t.Fatal(err)
		}
		if string(raw) == "null" {
			raw = []byte("{}")
			if _, list := v.([]call); list {
				raw = []byte("[]")
			}
		}
		return []byte(replace.Replace(string(raw)))
	}
}

// connect is the person's way. It returns what went wrong.
func (w *way) connect() string {
	w.t.Helper()
	of, p := w.visit()
	if why := w.ended(of, p); why != "" || w.q.Status != "" {
		return why
	}
	if w.q.Twice {
		if why := w.ended(w.visit()); why != "" {
			return why
		}
	}
	w.tokens = w.issued()
	return ""
}

// visit goes from the link to the last page.
func (w *way) visit() (session, page) {
	w.t.Helper()
	of := w.begin(w.profile, func(b *api.SessionBody) { b.User, b.Tenant = w.user, w.q.Tenant })
	form := url.Values{}
	for name, value := range w.q.Form {
		form.Set(name, value)
	}
	p := w.browser.post(of.link, form)
	if p.onward() == "" {
		return of, p
	}
	back := w.atProvider(p.onward())
	if back.Header.Get("Location") == "" {
		return of, back
	}
	p = w.browser.get(back.Header.Get("Location"))
	if len(w.q.Choose) > 0 && len(p.elements("form")) > 0 {
		form := url.Values{}
		for name, value := range w.q.Choose {
			form.Set(name, value)
		}
		for _, in := range p.elements("input") {
			if attribute(in, "type") == "hidden" {
				form.Set(attribute(in, "name"), attribute(in, "value"))
			}
		}
		action, err := url.Parse(attribute(p.elements("form")[0], "action"))
		if err != nil {
			w.t.Fatal(err)
		}
		here, _ := url.Parse(back.Header.Get("Location"))
		p = w.browser.post(here.ResolveReference(action).String(), form)
	}
	return of, p
}

// atProvider is the person at the provider. A route behind # is followed as the
// page's script does it.
func (w *way) atProvider(address string) page {
	w.t.Helper()
	before, hash, ok := strings.Cut(address, "#")
	if !ok {
		return w.browser.get(address)
	}
	p := w.browser.get(before)
	body := p.elements("body")
	if p.Status != http.StatusOK || len(body) == 0 || attribute(body[0], "data-to") == "" {
		return p
	}
	_, query, _ := strings.Cut(hash, "?")
	return w.browser.get(w.Provider + attribute(body[0], "data-to") + "?" + query)
}

// ended compares how the session stands with how it should.
func (w *way) ended(of session, p page) string {
	w.t.Helper()
	got := w.status(of)
	want := w.q.Status
	if want == "" {
		want = "connected"
	}
	problem := behalf.Outcome{}
	if got.Problem != nil {
		problem = *got.Problem
	}
	if got.Status != want || !strings.Contains(problem.Detail, w.q.Says) {
		return fmt.Sprintf("the session is %s: %s %s\npage %d: %.700s", got.Status, problem.Code, problem.Detail, p.Status, p.text)
	}
	return ""
}

// issued is how many access tokens the provider has issued.
func (w *way) issued() int {
	n := 0
	for _, g := range w.Sim.Stats().Grants {
		n += g.Generation
	}
	return n
}

// generation is that of the credentials that are kept.
func (w *way) generation() int64 {
	w.t.Helper()
	var all api.List[api.Connection]
	w.Do(w.Key, http.MethodGet, w.api("/connections?user="+url.QueryEscape(w.user)), nil).Into(w.t, &all)
	n := int64(0)
	for _, c := range all.Items {
		n += c.Generation
	}
	return n
}

func (w *way) callAll() string {
	w.t.Helper()
	if w.q.Status != "" {
		return ""
	}
	calls := w.q.Calls
	if len(calls) == 0 {
		calls = []call{{Path: "/me", Holds: `"username":"hazel"`}}
	}
	for _, c := range calls {
		a := w.calls(c)
		if a.Status >= 300 || !strings.Contains(a.Body, c.Holds) || a.Header.Get("Behalf-Error") != "" {
			return fmt.Sprintf("%s: status %d, want %q: %.900s", c.Path, a.Status, c.Holds, a.Body)
		}
	}
	return ""
}

func (w *way) calls(c call) servertest.Answer {
	w.t.Helper()
	method := c.Method
	if method == "" {
		method = http.MethodGet
	}
	return w.Do(w.Key, method, w.api("/proxy/"+w.profile.Slug+c.Path), c.Body, "Behalf-User", w.user)
}

// renew lets the tokens end, and looks whether there are new ones.
func (w *way) renew() string {
	w.t.Helper()
	if w.q.Status != "" {
		return ""
	}
	r := w.q.Renew
	switch r.By {
	case "never":
		return ""
	case "answer":
		w.Clock.Advance(time.Minute) // what was obtained just now is not refreshed
		w.Sim.Expire()
		return w.renewed()
	case "early":
		w.Clock.Advance(30 * time.Second)
		w.Sim.Expire()
		w.calls(call{Path: "/me"})
		w.Clock.Advance(2 * time.Minute)
		return w.renewed()
	case "lost":
		w.Clock.Advance(57 * time.Minute) // due, and good for a while yet
		w.Sim.Update(func(sw *simulator.Switches) { sw.Times, sw.CommitThenClose = 1, true })
		before := w.generation()
		w.calls(call{Path: "/me"})
		w.Clock.Advance(100 * time.Second)
		if why := w.callAll(); why != "" || w.generation() > before {
			return why
		}
		return "the lost answer was not asked for again"
	case "gone":
		w.Sim.Disconnect("bot", "hazel")
		w.Clock.Advance(2 * time.Hour)
		a := w.calls(call{Path: "/me"})
		if a.Header.Get("Behalf-Error") != string(behalf.CodeAuthorizationRequired) {
			return fmt.Sprintf("not lapsed: status %d: %.600s", a.Status, a.Body)
		}
		return ""
	case "limited":
		w.Clock.Advance(2 * time.Hour)
		now := w.Clock.Now()
		answer := *r.Answer
		answer.Headers = maps.Clone(answer.Headers)
		times := strings.NewReplacer("{in_40_s}", fmt.Sprint(now.Add(40*time.Second).Unix()), "{in_40_s_ms}", fmt.Sprint(now.Add(40*time.Second).UnixMilli()), "{in_40_s_date}", now.Add(40*time.Second).UTC().Format(time.RFC3339))
		for name, v := range answer.Headers {
			answer.Headers[name] = times.Replace(v)
		}
		answer.Body = times.Replace(answer.Body)
		w.Sim.Update(func(sw *simulator.Switches) { sw.Times, sw.Answer = 1, &answer })
		if a := w.calls(call{Path: "/me"}); a.Header.Get("Retry-After") != r.Wait {
			return fmt.Sprintf("Retry-After is %q, want %q: status %d: %.600s", a.Header.Get("Retry-After"), r.Wait, a.Status, a.Body)
		}
		w.Clock.Advance(45 * time.Second)
		return w.renewed()
	case "", "time":
		for after := range strings.FieldsSeq(or(r.After, "2h")) {
			d, err := time.ParseDuration(after)
			if err != nil {
				w.t.Fatal(err)
			}
			w.Clock.Advance(d)
			if why := w.callAll(); why != "" {
				return why
			}
		}
		return w.renewed()
	}
	w.t.Fatalf("renew.by: %q", r.By)
	return ""
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (w *way) renewed() string {
	w.t.Helper()
	if why := w.callAll(); why != "" {
		return why
	}
	if w.issued() <= w.tokens {
		return "the provider has issued no new token"
	}
	return ""
}

// disconnect ends the connections, and looks whether their grants have ended.
func (w *way) disconnect() string {
	w.t.Helper()
	if w.q.Status != "" || w.q.Renew.By == "gone" {
		return ""
	}
	var all api.List[api.Connection]
	w.Do(w.Key, http.MethodGet, w.api("/connections?status=active&user="+url.QueryEscape(w.user)), nil).Into(w.t, &all)
	for _, c := range all.Items {
		if a := w.Do(w.Key, http.MethodDelete, w.api("/connections/"+c.ID), nil); a.Status >= 300 {
			return fmt.Sprintf("status %d: %.600s", a.Status, a.Body)
		}
	}
	if w.q.Renew.Disconnect == "kept" {
		return ""
	}
	kept := 0
	for _, g := range w.Sim.Stats().Grants {
		if !g.Revoked {
			kept++
		}
	}
	if kept > 0 {
		return fmt.Sprintf("the provider keeps %d grants", kept)
	}
	return ""
}

// trustTestServers makes the certificate of httptest's servers one that this
// process trusts, as an operator does with an authority of their own. It
// returns the file that the certificate is in.
func trustTestServers() (string, error) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	f, err := os.CreateTemp("", "behalf-test-*.pem")
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	if err := pem.Encode(f, &pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}); err != nil {
		return "", err
	}
	return f.Name(), os.Setenv("SSL_CERT_FILE", f.Name())
}

// nameTestServers makes every *.acorn.example a name of this machine, for this
// process. Other names do not exist.
func nameTestServers() error {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go answerNames(conn)
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	return nil
}

func answerNames(conn net.PacketConn) {
	buffer := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buffer[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		q := m.Questions[0]
		m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
		switch {
		case !strings.HasSuffix(q.Name.String(), ".acorn.example."):
			m.RCode = dnsmessage.RCodeNameError
		case q.Type == dnsmessage.TypeA:
			m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
		}
		if answer, err := m.Pack(); err == nil {
			_, _ = conn.WriteTo(answer, from)
		}
	}
}
