package e2e

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/simulator"
)

// crowd is how many ask for the token at once.
const crowd = 200

func TestACrowdThatAsksForADueTokenCausesOneRefresh(t *testing.T) {
	tests := []struct {
		name   string
		engine string
		nodes  int
	}{
		{"of one server on SQLite", "sqlite", 1},
		{"of one server on PostgreSQL", "postgres", 1},
		{"of two servers on one PostgreSQL", "postgres", 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRotating(t, test.engine)
			nodes := []*node{r.node}
			for len(nodes) < test.nodes {
				nodes = append(nodes, r.another())
			}
			id := r.connect(t)
			before := r.bot.connection(id)
			time.Sleep(time.Until(before.ExpiresAt))

			r.sim.Update(func(sw *simulator.Switches) { sw.TokenDelayAfterMS = 300 }) // all of them come meanwhile
			r.ask(t, nodes)
			r.checkRefreshes(t, 1)

			// A provider that had seen a refresh token twice would have ended the
			// grant.
			after := r.bot.refresh(id)
			if after.Generation != before.Generation+2 || after.Status != "active" {
				t.Errorf("one refresh later the connection is %+v", after)
			}
			r.checkRefreshes(t, 2)
		})
	}
}

// rotating is a stage with the simulator, which rotates refresh tokens and
// takes the second use of one for theft.
type rotating struct {
	*stage
	sim *simulator.Simulator
	tap *tap
	bot *bot
	in  profile
}

const (
	rotatingUser     = "hazel"
	rotatingPassword = "acorns-of-last-autumn"
	rotatingSecret   = "the-secret-of-this-client"
)

func newRotating(t *testing.T, engine string, more ...string) *rotating {
	t.Helper()
	r := &rotating{stage: newStage(t, engine, more...)}
	r.bot = r.assistant(nil)
	reserved := r.bot.reserve()
	r.sim = simulator.New(simulator.Config{
		Users:   []simulator.User{{Name: rotatingUser, Password: secret.New(r.secret("password at the provider", rotatingPassword))}},
		Clients: []simulator.Client{{ID: "bot", Secret: secret.New(rotatingSecret), RedirectURIs: []string{reserved.CallbackURL}}},
	})
	provider := httptest.NewServer(r.sim)
	t.Cleanup(provider.Close)
	r.tap = newTap(t, r.evidence, provider.URL)
	r.in = r.bot.define(reserved, map[string]any{
		"type": "oauth2", "name": "Notes", "provider": "Acorn Notes", "client_id": "bot", "client_secret": rotatingSecret,
		"authorization_url": provider.URL + "/authorize", "token_url": r.tap.url + "/token",
		"scope": []map[string]any{{"key": "scope", "value": "notes:read offline_access", "required": true}},
		"api":   map[string]any{"base_url": r.tap.url},
		"oauth": map[string]any{"token_lifetime": 2}, // where the provider does not say
	})
	return r
}

// connect connects the user. The first token ends after two seconds; those that
// follow, after an hour.
func (r *rotating) connect(t *testing.T) string {
	t.Helper()
	r.sim.Set(simulator.Switches{NoExpiresIn: true, Times: 1})
	made := r.bot.begin(map[string]any{"profile": r.in.Slug, "user": user})
	p := r.person(t)
	p.Open(made.URL)
	p.Click("Continue to Acorn Notes")
	p.Login(rotatingUser, rotatingPassword, r.node.url+"/callback/")
	p.WaitText("Acorn Notes is connected")
	return r.bot.session(made.ID).Connection
}

// ask asks all nodes for the token at the same moment, and checks that all get
// the same.
func (r *rotating) ask(t *testing.T, nodes []*node) {
	t.Helper()
	got := make([]reply, crowd)
	start := make(chan struct{})
	var asking sync.WaitGroup
	for i := range crowd {
		c := *r.bot.client
		c.base = nodes[i%len(nodes)].url + "/v1" + r.bot.path
		asking.Go(func() {
			<-start
			got[i] = c.send("POST", "/token", map[string]any{"profile": r.in.Slug, "user": user})
		})
	}
	began := time.Now()
	close(start)
	asking.Wait()
	t.Logf("%d requests took %s", crowd, time.Since(began).Round(time.Millisecond))
	tokens := map[string]bool{}
	for i, answer := range got {
		if answer.status != http.StatusOK {
			t.Fatalf("request %d is answered with %d %s", i, answer.status, answer.body)
		}
		var this token
		r.bot.decode(answer, &this)
		tokens[this.AccessToken] = true
	}
	if len(tokens) != 1 {
		t.Errorf("they got %d different tokens", len(tokens))
	}
}

func (r *rotating) checkRefreshes(t *testing.T, want int64) {
	t.Helper()
	got := r.sim.Stats()
	if got.Refreshes != want || got.Duplicates != 0 || got.FamiliesRevoked != 0 {
		t.Errorf("the provider saw %d refreshes, %d spent tokens, and ended %d grants; want %d refreshes",
			got.Refreshes, got.Duplicates, got.FamiliesRevoked, want)
	}
}
