package catalog

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/expand"
	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
)

// A transcript is what is said between us and one provider: what we must send,
// what it answers, and what we then have. In every text $STATE, $VERIFIER and
// $BASIC stand for what the run made, $CALLBACK for the redirect URI.
type transcript struct {
	Provider string            `json:"provider"`
	Variant  string            `json:"variant"`
	About    string            `json:"about"`
	Tenant   string            `json:"tenant"`
	Fields   map[string]string `json:"fields"`
	Again    bool              `json:"again"`

	Authorize *sent             `json:"authorize"`
	Callback  string            `json:"callback"` // its query; code=c0de&state=$STATE by default
	Exchange  []talk            `json:"exchange"` // with the steps around it
	Token     *have             `json:"token"`
	Fails     string            `json:"fails"` // the kind of error that the exchange ends with
	Connected []talk            `json:"connected"`
	Learned   map[string]string `json:"learned"`
	Choices   []string          `json:"choices"` // "cloud_id: 1 Acme, 2 Other"
	API       string            `json:"api"`
	Refresh   []talk            `json:"refresh"`
	Refreshed *have             `json:"refreshed"`
	Lapses    string            `json:"lapses"` // the kind of error that the refresh ends with
	Revoke    []talk            `json:"revoke"`
}

// sent is a request as we must send it, to the letter: a parameter or an
// Authorization header that is not listed must not be there.
type sent struct {
	Method  string            `json:"method"` // POST by default
	URL     string            `json:"url"`
	Query   map[string]string `json:"query"`
	Headers map[string]string `json:"headers"`
	Form    map[string]string `json:"form"`
	JSON    map[string]any    `json:"json"`
	Raw     string            `json:"raw"` // a part of the URL as it must stand
}

type talk struct {
	sent
	Status int               `json:"status"` // 200 by default
	Header map[string]string `json:"header"`
	Reply  json.RawMessage   `json:"reply"`
}

type have struct {
	AccessToken  string            `json:"access_token"`
	RefreshToken string            `json:"refresh_token"`
	ExpiresIn    int64             `json:"expires_in"`
	Scopes       []string          `json:"scopes"`
	Captured     map[string]string `json:"captured"`
	Slots        map[string]string `json:"slots"`
}

var then = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func transcripts(t *testing.T) map[string]transcript {
	t.Helper()
	files, err := filepath.Glob("testdata/transcripts/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	all := map[string]transcript{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		asJSON, err := toJSON(raw)
		if err != nil {
			t.Fatal(file, err)
		}
		var x transcript
		if err := strict(asJSON, &x); err != nil {
			t.Fatal(file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".yaml")] = x
	}
	return all
}

func TestEachQuirkIsSpokenAsTheProviderWantsIt(t *testing.T) {
	c := open(t)
	for name, x := range transcripts(t) {
		t.Run(name, func(t *testing.T) {
			e, err := c.Get(x.Provider)
			if err != nil {
				t.Fatal(err)
			}
			d, err := e.Draft(x.Variant, "client-id")
			if err != nil {
				t.Fatal(err)
			}
			plan, err := behalf.Compile(d)
			if err != nil {
				t.Fatal(explain(err))
			}
			newRun(t, x, plan).all()
		})
	}
}

// run plays one transcript over real HTTP: every host is a server of ours.
type run struct {
	*testing.T
	x       transcript
	values  behalf.Values
	attempt oauth.Attempt
	http    *http.Client
	left    []talk // what is still to be said
}

func newRun(t *testing.T, x transcript, plan *behalf.Plan) *run {
	r := &run{T: t, x: x, attempt: oauth.NewAttempt(), values: behalf.Values{Plan: plan, User: "42", Tenant: x.Tenant, Again: x.Again}}
	r.values.Inputs.Fields = map[string]secret.Text{}
	for key, v := range x.Fields {
		r.values.Inputs.Fields[key] = secret.New(v)
	}
	provider := httptest.NewTLSServer(http.HandlerFunc(r.answer))
	t.Cleanup(provider.Close)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // it plays all hosts
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, provider.Listener.Addr().String())
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	r.http = &http.Client{Transport: transport}
	return r
}

func (r *run) all() {
	r.authorize()
	t, ok := r.exchange()
	if !ok {
		return
	}
	t = r.connected(t)
	r.refresh(t)
	if r.x.Revoke != nil {
		r.left = r.x.Revoke
		token, hint := t.RefreshToken, "refresh_token"
		if want := r.values.Plan.OAuth.Revoke.Tokens; token.Empty() || len(want) > 0 && want[0] == "access_token" {
			token, hint = t.AccessToken, "access_token"
		}
		if err := r.client().RevokeOf(r.Context(), t, token, hint); err != nil {
			r.Errorf("revoke: %v", err)
		}
		r.said("revoke")
	}
}

func (r *run) client() oauth.Client {
	cfg, err := r.values.Plan.Config(r.values, "https://behalf.example/callback/prf_1", secret.New("client-secret"), func() time.Time { return then })
	if err != nil {
		r.Fatal(err)
	}
	return oauth.Client{Config: cfg, HTTP: r.http}
}

func (r *run) authorize() {
	raw, _, err := r.client().AuthorizationRequest(r.attempt)
	if err != nil {
		r.Fatal(err)
	}
	if r.x.Authorize == nil {
		return
	}
	u, err := url.Parse(raw)
	if err != nil {
		r.Fatal(err)
	}
	base, query := strings.SplitN(raw, "?", 2)[0], u.Query()
	if u.Fragment != "" {
		_, q, _ := strings.Cut(u.EscapedFragment(), "?")
		query, _ = url.ParseQuery(q)
	}
	for _, fresh := range []string{"code_challenge", "nonce"} {
		if query.Has(fresh) {
			query.Set(fresh, "$FRESH")
		}
	}
	r.same("authorization URL", base, r.x.Authorize.URL)
	r.same("authorization parameters", flat(query), r.filled(r.x.Authorize.Query))
	if !strings.Contains(raw, r.fill(r.x.Authorize.Raw)) {
		r.Errorf("%s does not hold %s", raw, r.x.Authorize.Raw)
	}
}

// exchange returns the token, and whether there is one.
func (r *run) exchange() (oauth.Token, bool) {
	callback := r.x.Callback
	if callback == "" {
		callback = "code=c0de&state=$STATE"
	}
	query, err := url.ParseQuery(r.fill(callback))
	if err != nil {
		r.Fatal(err)
	}
	client := r.client()
	cb, err := client.ParseCallback(query)
	if err == nil {
		err = client.CheckCallback(cb)
	}
	if err != nil {
		r.Fatal(err)
	}
	r.same("state", cb.State.Reveal(), r.attempt.State.Reveal())
	kept, err := client.Kept(query)
	if err == nil {
		r.learn(kept)
		r.left = r.x.Exchange
		var t oauth.Token
		client = r.client()
		if t, err = client.Exchange(r.Context(), cb.Code, r.attempt); err == nil {
			t, err = client.Settle(r.Context(), t, client.AfterToken)
		}
		if err == nil && r.x.Fails == "" {
			r.learn(t.Captured)
			r.said("exchange")
			r.has("token", t, r.x.Token)
			return t, true
		}
	}
	if err == nil || r.x.Fails == "" || string(oauth.KindOf(err)) != r.x.Fails {
		r.Errorf("the exchange ends with %v (%s), expected %q", err, oauth.KindOf(err), r.x.Fails)
	}
	r.said("exchange")
	return oauth.Token{}, false
}

func (r *run) learn(facts oauth.Facts) {
	all := maps.Clone(r.values.Inputs.Captured)
	if all == nil {
		all = map[string]string{}
	}
	for name, f := range facts {
		all[name] = f.Text
	}
	r.values.Inputs.Captured = all
}

func (r *run) connected(t oauth.Token) oauth.Token {
	r.left = r.x.Connected
	facts, choices := oauth.Facts{}, []string(nil)
	for _, s := range r.client().PostConnect {
		done, err := r.client().Step(r.Context(), s, t, facts)
		if err != nil {
			r.Fatalf("%s: %v", s.Name, err)
		}
		maps.Copy(facts, done.Facts)
		for _, c := range done.Choices {
			var options []string
			for _, o := range c.Options {
				options = append(options, o.Value+" "+o.Label)
			}
			choices = append(choices, c.Name+": "+strings.Join(options, ", "))
			facts[c.Name] = oauth.Fact{Text: c.Options[0].Value}
		}
	}
	r.said("connected")
	r.learn(facts)
	r.same("choices", choices, r.x.Choices)
	if len(r.x.Learned) > 0 {
		r.same("learned", r.values.Inputs.Captured, r.x.Learned)
	}
	if r.x.API != "" {
		u, err := r.values.Plan.APIURL().Fill(r.values.Lookup, r.values.Plan.AllowedHosts, expand.Funcs{})
		if err != nil || u.String() != r.x.API {
			r.Errorf("API at %v, %v, expected %s", u, err, r.x.API)
		}
	}
	return t
}

func (r *run) refresh(old oauth.Token) {
	if r.x.Refresh == nil {
		return
	}
	r.left = r.x.Refresh
	client := r.client()
	t, err := client.Renew(r.Context(), old)
	if err == nil {
		t, err = client.Settle(r.Context(), t.Merge(old), client.AfterRefresh)
	}
	r.said("refresh")
	switch {
	case r.x.Lapses != "" && string(oauth.KindOf(err)) != r.x.Lapses:
		r.Errorf("the refresh ends with %v (%s), expected %q", err, oauth.KindOf(err), r.x.Lapses)
	case r.x.Lapses == "" && err != nil:
		r.Errorf("refresh: %v", err)
	case r.x.Lapses == "":
		r.has("refreshed", t, r.x.Refreshed)
	}
}

// answer is the provider.
func (r *run) answer(w http.ResponseWriter, req *http.Request) {
	if len(r.left) == 0 {
		r.Errorf("a request that nobody expected: %s https://%s%s", req.Method, req.Host, req.URL)
		w.WriteHeader(http.StatusTeapot)
		return
	}
	next := r.left[0]
	r.left = r.left[1:]
	at := next.URL
	method := next.Method
	if method == "" {
		method = http.MethodPost
	}
	r.same(at+": request", req.Method+" https://"+req.Host+req.URL.Path, method+" "+at)
	r.same(at+": query", flat(req.URL.Query()), r.filled(next.Query))
	headers := r.filled(next.Headers)
	for name, want := range headers {
		r.same(at+": header "+name, req.Header.Get(name), want)
	}
	if got := req.Header.Get("Authorization"); got != "" && headers["Authorization"] == "" {
		r.Errorf("%s: Authorization: %s, which nobody expected", at, got)
	}
	r.body(at, req, next.sent)
	for name, v := range next.Header {
		w.Header().Set(name, v)
	}
	w.Header().Set("Content-Type", "application/json")
	if next.Status != 0 {
		w.WriteHeader(next.Status)
	}
	reply := next.Reply
	var text string
	if json.Unmarshal(reply, &text) == nil {
		reply = json.RawMessage(text)
	}
	_, _ = w.Write(reply)
}

func (r *run) body(at string, req *http.Request, want sent) {
	raw, err := io.ReadAll(req.Body)
	if err != nil {
		r.Error(err)
	}
	switch {
	case want.JSON != nil:
		var got map[string]any
		if err := json.Unmarshal(raw, &got); err != nil || !strings.HasPrefix(req.Header.Get("Content-Type"), "application/json") {
			r.Errorf("%s: %s is no JSON: %v", at, raw, err)
		}
		filled := map[string]any{}
		for name, v := range want.JSON {
			filled[name] = v
			if s, ok := v.(string); ok {
				filled[name] = r.fill(s)
			}
		}
		r.same(at+": JSON", got, filled)
	default:
		got, err := url.ParseQuery(string(raw))
		if err != nil {
			r.Error(err)
		}
		r.same(at+": form", flat(got), r.filled(want.Form))
	}
}

func flat(v url.Values) map[string]string {
	out := map[string]string{}
	for name, values := range v {
		out[name] = strings.Join(values, "|")
	}
	return out
}

func (r *run) filled(in map[string]string) map[string]string {
	out := map[string]string{}
	for name, v := range in {
		out[name] = r.fill(v)
	}
	return out
}

func (r *run) fill(s string) string {
	return strings.NewReplacer("$STATE", r.attempt.State.Reveal(), "$VERIFIER", r.attempt.CodeVerifier.Reveal(), "$CALLBACK", "https://behalf.example/callback/prf_1",
		"$BASIC", "Basic "+base64.StdEncoding.EncodeToString([]byte("client-id:client-secret"))).Replace(s)
}

func (r *run) same(what string, got, want any) {
	r.Helper()
	if !reflect.DeepEqual(got, want) {
		r.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

func (r *run) said(when string) {
	r.Helper()
	for _, t := range r.left {
		r.Errorf("%s: %s was not asked for", when, t.URL)
	}
	r.left = nil
}

func (r *run) has(what string, t oauth.Token, want *have) {
	r.Helper()
	if want == nil {
		return
	}
	got := have{AccessToken: t.AccessToken.Reveal(), RefreshToken: t.RefreshToken.Reveal(), Captured: map[string]string{}, Slots: map[string]string{}}
	if !t.ExpiresAt.IsZero() {
		got.ExpiresIn = int64(t.ExpiresAt.Sub(then).Seconds())
	}
	for name, f := range t.Captured {
		got.Captured[name] = f.Text
	}
	for name, s := range t.Slots {
		got.Slots[name] = s.AccessToken.Reveal()
	}
	if want.Scopes != nil {
		got.Scopes = t.Scopes
	}
	full := *want
	if full.Captured == nil {
		full.Captured = map[string]string{}
	}
	if full.Slots == nil {
		full.Slots = map[string]string{}
	}
	r.same(what, got, full)
}

// policies are quirks that are no words between us and the provider: when a
// token is renewed, what calls carry, what an answer of the API means.
var policies = []string{"authorization_fields", "send_token", "auth_error", "oauth.refresh.rotates", "oauth.refresh.replay_window", "oauth.refresh.min_age", "oauth.refresh.buffer",
	"oauth.refresh.max_age", "oauth.refresh.idle"}

func TestEachQuirkOfTheCatalogueHasATranscript(t *testing.T) {
	c := open(t)
	played := map[string]bool{}
	for _, x := range transcripts(t) {
		e, err := c.Get(x.Provider)
		if err != nil {
			t.Fatal(err)
		}
		quirks(played, "", e.raw)
	}
	for _, e := range c.List() {
		knobs := map[string]bool{}
		quirks(knobs, "", e.raw)
		for _, k := range slices.Sorted(maps.Keys(knobs)) {
			if !played[k] && !slices.ContainsFunc(policies, func(p string) bool { return covers(p, k) }) {
				t.Errorf("%s: no transcript has %s", e.Slug, k)
				played[k] = true
			}
		}
	}
}
