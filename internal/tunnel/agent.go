package tunnel

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/semaphore"
)

// AgentConfig is what an Agent works with.
type AgentConfig struct {
	*Config
	Identity Identity
	Version  string
	Log      *slog.Logger
	Audit    io.Writer // one line of JSON for each connection and request
	Now      func() time.Time

	StopTimeout time.Duration // what calls under way get when the agent stops; default 25 s
	MaxPause    time.Duration // between two tries to reach the server; default 15 s
}

// Agent is the end of tunnels inside a private network.
type Agent struct {
	cfg       AgentConfig
	server    *url.URL
	client    *http.Client
	published json.RawMessage
	room      *semaphore.Weighted // bytes
	budget    *Budget             // of windows beyond their beginning
	buffers   buffers
	relays    *relay
	audit     *slog.Logger
}

// NewAgent returns an agent that is ready to run.
func NewAgent(cfg AgentConfig) (*Agent, error) {
	if cfg.StopTimeout == 0 {
		cfg.StopTimeout = 25 * time.Second
	}
	if cfg.MaxPause == 0 {
		cfg.MaxPause = 15 * time.Second
	}
	share := shared(cfg.memory)
	a := &Agent{cfg: cfg, room: semaphore.NewWeighted(share.streams), budget: NewBudget(share.windows), buffers: newBuffers(share.buffers)}
	a.audit = slog.New(slog.NewJSONHandler(cfg.Audit, &slog.HandlerOptions{ReplaceAttr: plainLine}))
	server := cfg.Server
	if server == "" {
		server = cfg.Identity.Server
	}
	var err error
	if a.server, err = ServerURL(server); err != nil {
		return nil, err
	}
	if a.client, err = cfg.client(a.server); err != nil {
		return nil, err
	}
	p := cfg.published()
	p.Version, p.System = cfg.Version, runtime.GOOS+"/"+runtime.GOARCH
	p.Hostname, _ = os.Hostname()
	if a.published, err = json.Marshal(p); err != nil {
		return nil, err
	}
	a.relays, err = newRelay(a)
	return a, err
}

// plainLine leaves out of an audit line what an audit line has not.
func plainLine(_ []string, at slog.Attr) slog.Attr {
	if at.Key == slog.LevelKey {
		return slog.Attr{}
	}
	return at
}

// AuditFile returns where the audit log goes; "" is standard output.
func (c *Config) AuditFile() string {
	if c.Audit == "" || c.Audit == "-" {
		return ""
	}
	return c.path(c.Audit)
}

// Probe proves this agent to the server and leaves again.
func (a *Agent) Probe(ctx context.Context) error {
	ws, _, err := a.attach(ctx, true)
	if err != nil {
		return err
	}
	return ws.CloseNow()
}

// Run keeps a tunnel open until ctx ends; then it lets calls under way end.
func (a *Agent) Run(ctx context.Context) error {
	defer a.relays.close()
	var serving sync.WaitGroup
	defer serving.Wait()
	pause := a.pause()
	for {
		t, err := a.open(ctx)
		if err == nil {
			began := a.cfg.Now()
			serving.Go(func() { a.serve(ctx, t) })
			select {
			case <-ctx.Done():
				return nil
			case <-t.over: // broken, or the server wants no more on this one
			}
			if a.cfg.Now().Sub(began) > 10*time.Second {
				pause = a.pause()
			}
		}
		wait := pause.NextBackOff()
		if err != nil {
			a.refused(err, wait)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func (a *Agent) pause() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{InitialInterval: min(200*time.Millisecond, a.cfg.MaxPause), RandomizationFactor: 0.5, Multiplier: 1.8, MaxInterval: a.cfg.MaxPause}
}

func (a *Agent) refused(err error, wait time.Duration) {
	if errors.Is(err, context.Canceled) {
		return
	}
	a.cfg.Log.Warn("no tunnel", "server", a.server.Host, "err", err, "again_in", wait.Round(time.Millisecond))
}

// attached is one open tunnel.
type attached struct {
	link *link
	over chan struct{} // closed when another tunnel is needed
	once sync.Once
	idle atomic.Int64 // streams that are being served
}

func (t *attached) end() { t.once.Do(func() { close(t.over) }) }

func (a *Agent) open(ctx context.Context) (*attached, error) {
	ws, c, err := a.attach(ctx, false)
	if err != nil {
		return nil, err
	}
	t := &attached{over: make(chan struct{})}
	if t.link, err = newLink(context.WithoutCancel(ctx), ws, false, agentWindow, c.Window, a.budget, a.cfg.Now, t.end); err != nil {
		_ = ws.CloseNow()
		return nil, err
	}
	a.cfg.Log.Info("tunnel open", "server", a.server.Host, "connector", a.cfg.Identity.Connector)
	return t, nil
}

// serve takes streams until the tunnel breaks. When the agent stops, or the
// server has asked to begin nothing new here, calls under way end first.
func (a *Agent) serve(ctx context.Context, t *attached) {
	defer func() {
		t.end()
		t.link.end()
		a.cfg.Log.Info("tunnel closed", "server", a.server.Host)
	}()
	var streams sync.WaitGroup
	go func() {
		select {
		case <-ctx.Done():
			t.link.drain()
		case <-t.over:
		case <-t.link.mux.CloseChan():
			return
		}
		a.finish(t)
	}()
	for {
		s, err := t.link.mux.AcceptStream()
		if err != nil {
			break
		}
		c := t.link.adopt(s)
		t.idle.Add(1)
		ended := func() { t.idle.Add(-1) }
		streams.Go(func() {
			next := a.stream(context.WithoutCancel(ctx), c)
			if next == nil {
				ended()
				return
			}
			streams.Go(func() {
				defer ended()
				next()
			})
		})
	}
	t.end()
	streams.Wait()
}

// finish closes the tunnel when its last stream has ended, or time is up.
func (a *Agent) finish(t *attached) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	defer t.link.end()
	quiet := 0
	for range int(a.cfg.StopTimeout / (50 * time.Millisecond)) {
		select {
		case <-tick.C:
		case <-t.link.mux.CloseChan():
			return
		}
		if t.idle.Load() > 0 {
			quiet = 0
		} else if quiet++; quiet > 5 { // what the server began before it heard of it
			return
		}
	}
}
