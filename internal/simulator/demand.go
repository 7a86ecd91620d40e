package simulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/behalf-dev/behalf/internal/secret"
)

// demanded is a request that has met a route's demands.
type demanded struct {
	http   *http.Request
	d      *Dialect
	route  Route
	body   []byte
	bound  map[string]string // what the names in braces were
	rest   string            // of the path, below a route that ends with a slash
	client *client           // nil where the route asks for none
	now    time.Time
}

var braces = regexp.MustCompile(`\{([a-z_]+)\}`)

// bind compares a value with a demanded text and files what its names were.
// It returns what is wrong, without the value.
func bind(text, value string, bound map[string]string) string {
	if text == "*" {
		if value == "" {
			return "must not be empty"
		}
		return ""
	}
	names := braces.FindAllStringSubmatch(text, -1)
	if names == nil {
		if value != text {
			return fmt.Sprintf("expected %q", text)
		}
		return ""
	}
	literal := braces.Split(text, -1)
	for i := range literal {
		literal[i] = regexp.QuoteMeta(literal[i])
	}
	found := regexp.MustCompile(`^` + strings.Join(literal, `(.+)`) + `$`).FindStringSubmatch(value)
	if found == nil {
		return fmt.Sprintf("expected %q", text)
	}
	for i, name := range names {
		if was, ok := bound[name[1]]; ok && was != found[i+1] {
			return name[1] + " is given twice, and not the same"
		}
		bound[name[1]] = found[i+1]
	}
	return ""
}

// matchPath reports whether a route is at the request's path, whatever its method.
func matchPath(at string, r *http.Request) (rest string, bound map[string]string, ok bool) {
	_, path, _ := strings.Cut(at, " ")
	bound = map[string]string{}
	want, got := strings.Split(path, "/"), strings.Split(r.URL.Path, "/")
	below := strings.HasSuffix(path, "/")
	if below {
		want = want[:len(want)-1]
	}
	if len(got) < len(want) || !below && len(got) != len(want) {
		return "", nil, false
	}
	for i := range want {
		if bind(want[i], got[i], bound) != "" {
			return "", nil, false
		}
	}
	return strings.Join(got[len(want):], "/"), bound, true
}

// demand checks a request against a route; no says what is wrong with it.
func (s *Simulator) demand(d *Dialect, route Route, r *http.Request, body []byte, bound map[string]string) (q demanded, no string) {
	q = demanded{http: r, d: d, route: route, body: body, bound: bound, now: s.cfg.Now()}
	if method, _, _ := strings.Cut(route.At, " "); method != "ANY" && method != r.Method {
		return q, "the method must be " + method
	}
	for _, check := range []func() string{q.place, q.params, q.headers, func() string { return q.authenticate(s) }, q.signed, func() string { return q.timely(s) }} {
		if no := check(); no != "" {
			return q, no
		}
	}
	if _, asks := q.bound["code"]; asks || route.Wants.Reusable {
		no = q.code(s)
	}
	return q, no
}

func (q *demanded) place() string {
	if h := q.route.Wants.Host; h != "" && q.http.Host != h {
		return "the host must be another"
	}
	for _, raw := range q.route.Wants.Raw {
		if !strings.Contains(q.http.URL.RawQuery, raw) {
			return fmt.Sprintf("the query must hold %q as it stands", raw)
		}
	}
	return ""
}

// params binds the parameters, wherever the route takes them from.
func (q *demanded) params() string {
	want, all := q.d.wanted(q.route)
	if len(want) == 0 && !all {
		return ""
	}
	got, no := q.sent()
	if no != "" {
		return no
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		text, optional := strings.CutPrefix(want[name], "?")
		values := got[name]
		switch {
		case len(values) == 0 && optional:
		case len(values) == 0:
			return "the parameter " + name + " is missing"
		case len(values) > 1:
			return "the parameter " + name + " occurs more than once"
		default:
			if no := bind(text, values[0], q.bound); no != "" {
				return "the parameter " + name + ": " + no
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, wanted := want[name]; !wanted && all {
			return "the parameter " + name + " is not wanted"
		}
	}
	return ""
}

// sent returns the parameters of the request; nothing may stand elsewhere.
func (q *demanded) sent() (url.Values, string) {
	query := q.http.URL.Query()
	kind, _, _ := mime.ParseMediaType(q.http.Header.Get("Content-Type"))
	api := q.route.Does == "api" || q.route.Does == "tell"
	inQuery := q.route.Wants.Body == "query" || q.route.Wants.Body == "" && (api || q.http.Method == http.MethodGet)
	switch {
	case len(query) == 0 && len(q.body) == 0:
		return nil, "" // for a route that wants none
	case inQuery && len(q.body) > 0 && !api:
		return nil, "the parameters stand in the query, and the body is empty"
	case inQuery:
		return query, ""
	case len(query) > 0 && !api:
		return nil, "the parameters stand in the body, not in the query"
	case q.route.Wants.Body == "json":
		if kind != "application/json" {
			return nil, "the body must be application/json"
		}
		return members(q.body)
	}
	if kind != "application/x-www-form-urlencoded" {
		return nil, "the body must be application/x-www-form-urlencoded"
	}
	form, err := url.ParseQuery(string(q.body))
	if err != nil {
		return nil, "the body is no form"
	}
	return form, ""
}

func members(body []byte) (url.Values, string) {
	var m map[string]any
	if json.Unmarshal(body, &m) != nil {
		return nil, "the body is no JSON object"
	}
	out := url.Values{}
	for name, v := range m {
		if text, ok := v.(string); ok {
			out.Set(name, text)
			continue
		}
		out.Set(name, fmt.Sprint(v))
	}
	return out, ""
}

// headers binds the headers. The token of an API has one place.
func (q *demanded) headers() string {
	want := map[string]string{}
	for name, text := range q.route.Wants.Headers {
		want[http.CanonicalHeaderKey(name)] = text
	}
	_, elsewhere := q.bound["token"]
	asks := q.route.Does == "api" || q.route.Wants.Auth == "bearer"
	for _, text := range want {
		elsewhere = elsewhere || strings.Contains(text, "{token}")
	}
	if asks && !elsewhere {
		want["Authorization"] = "Bearer {token}"
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		text, optional := strings.CutPrefix(want[name], "?")
		switch value := q.http.Header.Get(name); {
		case value == "" && optional:
		case value == "":
			return "the header " + name + " is missing"
		default:
			if no := bind(text, value, q.bound); no != "" {
				return "the header " + name + ": " + no
			}
		}
	}
	if q.route.Does == "api" && want["Authorization"] == "" && q.http.Header.Get("Authorization") != "" {
		return "the header Authorization is not wanted"
	}
	return ""
}

// authenticate finds the client, where the route wants one to say who it is.
func (q *demanded) authenticate(s *Simulator) string {
	switch q.route.Does {
	case "api", "tell", "hash":
		return ""
	case "authorize":
		q.client = s.clients[q.bound["client_id"]]
		if q.client == nil {
			return "the client is unknown"
		}
		return ""
	}
	id, password, byParams := q.bound["client_id"], q.bound["client_secret"], false
	want, _ := q.d.wanted(q.route)
	for _, text := range append(slices.Collect(maps.Values(want)), slices.Collect(maps.Values(q.route.Wants.Headers))...) {
		byParams = byParams || strings.Contains(text, "{client_id}") || strings.Contains(text, "{client_secret}")
	}
	header := q.http.Header.Get("Authorization")
	switch auth := q.route.Wants.Auth; {
	case auth == "bearer":
		o, ok := s.unwrapped(q.bound["token"])
		if !ok {
			return "the token is unknown"
		}
		q.client = o.grant.client
		return ""
	case auth == "basic_secret":
		user, pass, ok := basic(q.http, false)
		if !ok || pass != "" {
			return "the secret must be the user of Basic, without a password"
		}
		q.client = s.clientOf(secret.New(user))
	case auth == "basic_raw", auth == "basic", auth == "" && !byParams && q.route.Does != "renew":
		var ok bool
		if id, password, ok = basic(q.http, auth == "basic_raw"); !ok {
			return "the client must authenticate by Basic"
		}
		q.client = s.known(id, secret.New(password))
	case header != "" && q.route.Wants.Headers["Authorization"] == "":
		return "the client must not authenticate by a header"
	case id == "" && password != "":
		q.client = s.clientOf(secret.New(password))
	case id == "" && password == "":
		q.client = s.bearerClient(q.bound)
	case strings.Contains(strings.Join(slices.Collect(maps.Values(want)), " "), "{client_secret}"):
		q.client = s.known(id, secret.New(password))
	default:
		q.client = s.clients[id]
	}
	if q.client == nil {
		return "the client could not be authenticated"
	}
	return ""
}

func (s *Simulator) known(id string, password secret.Text) *client {
	if c := s.clients[id]; c != nil && c.Secret.Equal(password) {
		return c
	}
	return nil
}

func (s *Simulator) clientOf(password secret.Text) *client {
	for _, c := range s.clients {
		if !c.Secret.Empty() && c.Secret.Equal(password) {
			return c
		}
	}
	return nil
}

// bearerClient is the client that a token was issued to: whoever has the token
// is believed.
func (s *Simulator) bearerClient(bound map[string]string) *client {
	for _, name := range []string{"access_token", "refresh_token", "token"} {
		if o, ok := s.unwrapped(bound[name]); ok {
			return o.grant.client
		}
	}
	return nil
}

// signed checks {sign}.
func (q *demanded) signed() string {
	if q.route.Wants.Sign == "" {
		return ""
	}
	if q.client == nil {
		return "nobody has signed"
	}
	text := braces.ReplaceAllStringFunc(q.route.Wants.Sign, func(name string) string {
		if name == "{body}" {
			return string(q.body)
		}
		return q.bound[strings.Trim(name, "{}")]
	})
	h := hmac.New(sha256.New, []byte(q.client.Secret.Reveal()))
	h.Write([]byte(text))
	if !hmac.Equal([]byte(hex.EncodeToString(h.Sum(nil))), []byte(q.bound["sign"])) {
		return "the signature is wrong"
	}
	return ""
}

// timely checks what must have been before.
func (q *demanded) timely(s *Simulator) string {
	if age := q.route.Wants.MinAge; age > 0 {
		for _, name := range []string{"refresh_token", "access_token"} {
			o, ok := s.unwrapped(q.bound[name])
			if !ok {
				continue
			}
			o.grant.mu.Lock()
			committed := o.grant.committed
			o.grant.mu.Unlock()
			if q.now.Sub(committed) < time.Duration(age)*time.Second {
				return "it is too early for a new token"
			}
		}
	}
	return q.inOrder(s)
}

// inOrder checks that the tokens of a grant are revoked in the order that is wanted.
func (q *demanded) inOrder(s *Simulator) string {
	o, ok := s.unwrapped(q.bound["token"])
	if !ok || len(q.route.Wants.Order) == 0 {
		return ""
	}
	kind := "refresh_token"
	if o.access {
		kind = "access_token"
	}
	o.grant.mu.Lock()
	defer o.grant.mu.Unlock()
	if n := len(o.grant.ended); n >= len(q.route.Wants.Order) || q.route.Wants.Order[n] != kind {
		return "another token must be revoked before the " + kind
	}
	o.grant.ended = append(o.grant.ended, kind)
	return ""
}

// code compares what a token request repeats of the authorization, and fills in
// what it need not.
func (q *demanded) code(s *Simulator) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.codes[q.bound["code"]]
	if k == nil {
		return "" // said by the token endpoint
	}
	if state, ok := q.bound["state"]; ok && state != k.state {
		return "state is not that of the authorization request"
	}
	if q.route.Wants.Reusable {
		k.used, k.expires = false, q.now.Add(codeTTL)
	}
	if _, ok := q.bound["redirect_uri"]; !ok {
		q.bound["redirect_uri"] = k.redirectURI
	}
	return ""
}

// unwrapped opens a token that may be a JWT.
func (s *Simulator) unwrapped(token string) (opened, bool) {
	if part := strings.Split(token, "."); len(part) == 3 {
		if payload, err := base64.RawURLEncoding.DecodeString(part[1]); err == nil {
			var claims struct {
				Token string `json:"acorn"`
			}
			if json.Unmarshal(payload, &claims) == nil {
				token = claims.Token
			}
		}
	}
	return s.open(token)
}

// refusals are what a dialect has refused, the newest 100.
type refusals struct {
	mu  sync.Mutex
	all []string
}

func (f *refusals) add(why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.all) == 100 {
		f.all = slices.Delete(f.all, 0, 1)
	}
	f.all = append(f.all, why)
}

func (f *refusals) list() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.all)
}

func (f *refusals) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = nil
}
