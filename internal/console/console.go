// Package console is the administrators' web pages.
//
// The rules are:
//
//   - No rule of the product lives here: a page decodes what was sent, calls the
//     store as the member who asks, and shows what came of it. What a member may
//     do is decided by their role, in the store; the table of routes names the
//     permission of each page only so that nobody is shown a form in vain.
//   - Every page works by links and plain forms. Scripts make it quicker.
//   - Nothing that a member typed is lost by an error, but for secrets, which
//     never go back to a browser.
//   - A cookie opens the console and nothing else; a key opens the API and not
//     the console.
package console

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/behalf-dev/behalf/internal/broker"
	"github.com/behalf-dev/behalf/internal/catalog"
	"github.com/behalf-dev/behalf/internal/connect"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// Prefix is where the console is served.
const Prefix = "/console"

// Config is what the console works with.
type Config struct {
	DB        *store.DB
	Connect   *connect.Connect
	Broker    *broker.Broker
	Catalog   func() (*catalog.Catalog, error)
	Egress    *egress.Egress // for discovery, which may go through a connector
	HTTP      *http.Client   // guarded and bounded, for single sign-on
	PublicURL *url.URL
	SSO       SSO
	Temporary bool // all data goes when the server stops
	Log       *slog.Logger
}

// Console serves the pages.
type Console struct {
	cfg     Config
	db      *store.DB
	log     *slog.Logger
	signIns *scs.SessionManager
	sso     sso
	limits  *limits
	groups  []formGroup // of the form of a profile
	handler http.Handler
	hashing chan struct{} // one place for each password that is hashed at a time
}

// hashes is how many passwords are hashed at a time: each takes 19 MiB.
const hashes = 4

// New returns the console.
func New(cfg Config) *Console {
	c := &Console{cfg: cfg, db: cfg.DB, log: cfg.Log, groups: groups(), hashing: make(chan struct{}, hashes)}
	c.limits = newLimits(c.db.Now)
	c.signIns = newSignIns(cfg)
	c.handler = http.NewCrossOriginProtection().Handler(c.remembered(c.mux()))
	return c
}

func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

// Run forgets sign-ins and links that have ended, and counts that no chart shows, until ctx ends.
func (c *Console) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if err := c.db.As(system()).ForgetSignIns(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("old sign-ins not forgotten yet", "err", err)
		}
		if err := c.db.As(system()).ForgetTallies(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("old counts not forgotten yet", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Link returns the address of a member's link.
func Link(public *url.URL, link secret.Text) string {
	return public.JoinPath(Prefix, "link", link.Reveal()).String()
}
