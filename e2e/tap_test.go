package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// tap stands between the server and a provider, passes everything on as it is,
// and takes into evidence what the two tell each other.
type tap struct {
	url    string
	target string
	seen   *evidence
	t      testing.TB

	mu       sync.Mutex
	requests []*http.Request
	granted  []string // the grant type of each token reply
}

func newTap(t testing.TB, seen *evidence, target string) *tap {
	p := &tap{target: target, seen: seen, t: t}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

// through returns the provider's address as it is by way of the tap.
func (p *tap) through(address string) string {
	if address == "" {
		return ""
	}
	return p.url + strings.TrimPrefix(address, p.target)
}

func (p *tap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sent, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Errorf("tap: %v", err)
		return
	}
	onward, err := http.NewRequest(r.Method, p.target+r.URL.RequestURI(), strings.NewReader(string(sent)))
	if err != nil {
		p.t.Errorf("tap: %v", err)
		return
	}
	onward.Header = r.Header.Clone()
	onward.Header.Del("Accept-Encoding") // the transport's own is decoded by it
	response, err := noRedirects.Do(onward)
	if err != nil {
		http.Error(w, "the provider did not answer", http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Errorf("tap: %v", err)
	}
	p.note(r, sent, answer)
	for name, values := range response.Header {
		w.Header()[name] = values
	}
	w.Header().Del("Content-Length")
	w.WriteHeader(response.StatusCode)
	_, _ = w.Write(answer)
}

// note keeps the request and takes its secrets, and those of its answer.
func (p *tap) note(r *http.Request, sent, answer []byte) {
	switch scheme, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " "); scheme {
	case "Basic":
		p.seen.secret("client's Basic credentials", credentials)
	case "Bearer":
		p.seen.secret("access token", credentials)
	}
	form, err := url.ParseQuery(string(sent))
	if err != nil {
		p.t.Errorf("tap: not a form: %v", err)
	}
	for name, what := range map[string]string{"code": "authorization code", "code_verifier": "code_verifier", "refresh_token": "refresh token"} {
		if value := form.Get(name); value != "" {
			p.seen.secret(what, value)
		}
	}
	var tokens map[string]any
	_ = json.Unmarshal(answer, &tokens) // else there are none in it
	for name, what := range map[string]string{"access_token": "access token", "refresh_token": "refresh token", "id_token": "ID token"} {
		if value, ok := tokens[name].(string); ok {
			p.seen.secret(what, value)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, r)
	if tokens["access_token"] != nil {
		p.granted = append(p.granted, form.Get("grant_type"))
	}
}

// refreshes returns how many refreshes the provider has granted.
func (p *tap) refreshes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(p.granted), func(kind string) bool { return kind != "refresh_token" }))
}

// last returns the newest request.
func (p *tap) last() *http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests[len(p.requests)-1]
}
