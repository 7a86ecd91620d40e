package connect_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/connect"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/simulator"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
)

// hurried is the connect flow alone, over a way out that waits for a
// second only: the server's own patience is longer than a test's.
type hurried struct {
	*storetest.House
	t       *testing.T
	sim     *simulator.Simulator
	server  *httptest.Server
	connect *connect.Connect
}

const patience = time.Second

func newHurried(t *testing.T, change func(*behalf.Definition)) *hurried {
	t.Helper()
	h := &hurried{t: t, sim: simulator.New(simulator.Config{
		Users:   []simulator.User{{Name: "hazel", Password: secret.New("acorns"), Subject: "u-1"}},
		Clients: []simulator.Client{{ID: "bot", Secret: secret.New(storetest.ClientSecret)}}})}
	provider := httptest.NewServer(h.sim)
	t.Cleanup(provider.Close)
	h.House = storetest.New(t, storetest.SQLite(t), provider.URL, change)

	mux := http.NewServeMux()
	h.server = httptest.NewServer(mux)
	t.Cleanup(h.server.Close)
	public, err := url.Parse(h.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	out := egress.New(egress.Config{AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Timeout: patience, Now: time.Now})
	t.Cleanup(out.Close)
	h.connect = connect.New(connect.Config{DB: h.DB, Egress: out, PublicURL: public, Log: slog.New(slog.DiscardHandler)})
	mux.HandleFunc("GET /connect/{link}", h.connect.Open)
	mux.HandleFunc("POST /connect/{link}", h.connect.Continue)
	mux.HandleFunc("GET /callback/{profile}", h.connect.Callback)
	if err := h.sim.AddRedirectURI("bot", h.connect.CallbackURL(h.Profile.ID)); err != nil {
		t.Fatal(err)
	}
	return h
}

var refreshed = regexp.MustCompile(`http-equiv="refresh" content="[^"]*url=([^"]+)"`)

// connects takes a person there and back; it returns how the session stands,
// the last page and how long that took.
func (h *hurried) connects() (behalf.ConnectSession, int, string, time.Duration) {
	h.t.Helper()
	assistant := h.Assistant
	assistant.Finish = false
	s, link, err := h.connect.Begin(h.t.Context(), h.System, assistant, behalf.NewSession{Profile: h.Profile.Slug, User: "jane"})
	if err != nil {
		h.t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	b := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	status, _, body := h.ask(b, http.MethodPost, link)
	to := refreshed.FindStringSubmatch(body)
	if to == nil {
		h.t.Fatalf("Continue: status %d: %s", status, body)
	}
	_, back, _ := h.ask(b, http.MethodGet, strings.ReplaceAll(to[1], "&amp;", "&"))
	began := time.Now()
	status, _, body = h.ask(b, http.MethodGet, back)
	took := time.Since(began)
	s, err = h.System.Session(h.t.Context(), h.Assistant.ID, s.ID)
	if err != nil {
		h.t.Fatal(err)
	}
	return s, status, body, took
}

func (h *hurried) ask(b *http.Client, method, address string) (status int, location, body string) {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, address, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	res, err := b.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Location"), string(text)
}

func TestAProviderThatDoesNotAnswerIsNotWaitedForLongerThanIsBearable(t *testing.T) {
	t.Parallel()
	for _, hang := range []struct {
		name         string
		sw           simulator.Switches
		profile      func(*behalf.Definition)
		code, detail string
	}{
		{"the token endpoint hangs", simulator.Switches{TokenHang: true}, nil, "ambiguous", "The code exchange did not succeed: no answer in time"},
		{"the token endpoint issues and then hangs", simulator.Switches{TokenDelayAfterMS: 3500}, nil, "ambiguous", "The code exchange did not succeed: no answer in time"},
		{"the token endpoint drips", simulator.Switches{TokenDripMS: 100}, nil, "ambiguous", "The code exchange did not succeed: the reply broke off"},
		{"the token endpoint is not there", simulator.Switches{}, func(d *behalf.Definition) { d.TokenURL = nobody(t) }, "transient", "The code exchange did not succeed: no connection"},
		{"userinfo hangs", simulator.Switches{APIDelayMS: 3500}, func(d *behalf.Definition) { d.OAuth.UserinfoURL = base(d) + "/userinfo" }, "ambiguous", "The userinfo did not succeed: no answer in time"},
		{"the check URL hangs", simulator.Switches{APIDelayMS: 3500}, func(d *behalf.Definition) { d.CheckURL = base(d) + "/api/me" }, "ambiguous", "The check did not succeed: no answer in time"},
		{"the check URL is not there", simulator.Switches{}, func(d *behalf.Definition) { d.CheckURL = nobody(t) }, "transient", "The check did not succeed: no connection"},
	} {
		t.Run(hang.name, func(t *testing.T) {
			t.Parallel()
			h := newHurried(t, hang.profile)
			hang.sw.NoLogin = "hazel"
			h.sim.Set(hang.sw)
			s, status, body, took := h.connects()
			if took > 10*patience {
				t.Errorf("it took %v", took)
			}
			if status != http.StatusUnprocessableEntity || !strings.Contains(body, "could not be connected") || !strings.Contains(body, "What to do now") {
				t.Errorf("status %d: %s", status, body)
			}
			if s.Status != behalf.SessionFailed || s.Problem == nil || s.Problem.Code != hang.code || !strings.Contains(s.Problem.Detail, hang.detail) || s.Problem.Fix == "" {
				t.Errorf("the session is %s with %+v", s.Status, s.Problem)
			}
			kept, err := h.System.Connections(t.Context(), h.Assistant.ID, store.ConnectionFilter{}, store.Page{})
			if err != nil || len(kept) != 0 {
				t.Errorf("there are connections: %+v, %v", kept, err)
			}
			for _, value := range []string{storetest.ClientSecret, "acorn_at_", "acorn_rt_", "acorn_code_"} {
				if strings.Contains(body+s.Problem.Detail, value) {
					t.Errorf("something secret is told: %s", body)
				}
			}
		})
	}
}

func base(d *behalf.Definition) string { return strings.TrimSuffix(d.TokenURL, "/token") }

// nobody is an address at which nobody listens any more.
func nobody(t *testing.T) string {
	t.Helper()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	return gone.URL + "/"
}
