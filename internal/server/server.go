// Package server builds everything, serves it, drains and stops it.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/broker"
	"github.com/behalf-dev/behalf/internal/catalog"
	"github.com/behalf-dev/behalf/internal/connect"
	"github.com/behalf-dev/behalf/internal/console"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/notify"
	"github.com/behalf-dev/behalf/internal/proxy"
	"github.com/behalf-dev/behalf/internal/store"
)

// Server is one node, ready to run.
type Server struct {
	cfg      Config
	log      *slog.Logger
	public   *url.URL
	listener net.Listener
	db       *store.DB
	egress   *egress.Egress
	into     *connectors
	broker   *broker.Broker
	notify   *notify.Notify
	connect  *connect.Connect
	api      *api.API
	proxy    *proxy.Proxy
	console  *console.Console
	http     *http.Server
	known    func() (*catalog.Catalog, error)
}

// New opens the database and the listener and builds all parts. Nothing is
// served before Run. Close the server where Run is not called.
func New(ctx context.Context, cfg Config) (*Server, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cfg.Log, known: sync.OnceValues(func() (*catalog.Catalog, error) { return catalog.Open(cfg.ownProviders()...) })}
	if cfg.Catalog != nil { // files that somebody wrote are told of now; ours can wait until they are asked for
		if _, err := s.known(); err != nil {
			return nil, err
		}
	}
	if s.listener, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", cfg.Listen, err)
	}
	if s.public, err = cfg.publicURL(s.listener.Addr()); err != nil {
		_ = s.listener.Close()
		return nil, err
	}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.listener.Close())
	}
	s.build()
	return s, nil
}

// open opens the database, where this node says how others reach it, and the
// ways out.
func (s *Server) open(ctx context.Context) error {
	inside, err := net.Listen("tcp", s.cfg.InternalListen)
	if err != nil {
		return fmt.Errorf("listen on %s for other nodes: %w", s.cfg.InternalListen, err)
	}
	if s.db, err = store.Open(ctx, store.Config{URL: s.cfg.Database, RootKey: s.cfg.rootKey, Now: s.cfg.Now, Log: s.log, Grace: s.cfg.Grace, SpillDir: s.cfg.DataDir,
		Address: s.cfg.internalAddress(inside.Addr())}); err != nil {
		return errors.Join(err, inside.Close())
	}
	out := egress.Config{AllowPrivate: s.cfg.AllowPrivate, Now: s.cfg.Now, UserAgent: "Behalf/" + s.cfg.Version}
	if s.into, err = newConnectors(ctx, s.cfg, s.db, inside, s.public.Host, out); err != nil {
		return errors.Join(err, inside.Close(), s.db.Close())
	}
	out.Connector = s.into.via
	s.egress = egress.New(out)
	return nil
}

func (s *Server) build() {
	s.broker = broker.New(broker.Config{DB: s.db, Egress: s.egress, Log: s.log})
	s.notify = notify.New(notify.Config{DB: s.db, Egress: s.egress, Log: s.log, Now: s.cfg.Now})
	s.connect = connect.New(connect.Config{DB: s.db, Broker: s.broker, Egress: s.egress, PublicURL: s.public, Log: s.log})
	s.api = api.New(api.Config{DB: s.db, Broker: s.broker, Connect: s.connect, Egress: s.egress, Catalog: s.known, Version: s.cfg.Version, Log: s.log})
	s.proxy = proxy.New(proxy.Config{Broker: s.broker, Egress: s.egress, Now: s.db.Now, Log: s.log, Self: s.public.Host, Problem: s.api.WriteProblem, Offer: s.api.Offer,
		Record: s.db.As(behalf.System("proxy")).Record})
	s.console = console.New(console.Config{DB: s.db, Connect: s.connect, Broker: s.broker, Catalog: s.known, Egress: s.egress, HTTP: s.egress.Client(egress.ClientOptions{}), PublicURL: s.public, SSO: s.cfg.SSO, Temporary: s.cfg.Temporary, Log: s.log})
	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// URL returns where browsers reach the server.
func (s *Server) URL() *url.URL { return s.public }

// DB returns the database, for setting up what a fresh one needs.
func (s *Server) DB() *store.DB { return s.db }

// Connect returns the connect flow, for links that are made without the API.
func (s *Server) Connect() *connect.Connect { return s.connect }

// Run serves until ctx ends, and then stops gracefully: no new request is
// taken, those under way are finished, refreshes are waited for, and everything
// that is still in memory is written.
func (s *Server) Run(ctx context.Context) error {
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	var working sync.WaitGroup
	for name, run := range map[string]func(context.Context) error{"store": s.db.Run, "connect": s.connect.Run, "console": s.console.Run, "connectors": s.into.run, "sweep": s.broker.Sweeping} {
		working.Go(func() {
			if err := run(work); err != nil {
				s.log.Error("background work ended", "work", name, "err", err)
			}
		})
	}
	ahead, stopAhead := context.WithCancel(ctx)
	defer stopAhead()
	if !s.cfg.OnDemand {
		working.Go(func() { _ = s.broker.Run(ahead) }) // it ends with ahead only
	}
	working.Go(func() { _ = s.notify.Run(ahead) })
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()

	var failed error
	select {
	case <-ctx.Done():
	case failed = <-served:
	}
	stopAhead()
	failed = errors.Join(failed, s.drain())
	s.into.stop()
	stopWork()
	working.Wait()
	s.into.close()
	s.egress.Close()
	return errors.Join(failed, s.db.Close())
}

// drain lets requests and refreshes end, for as long as the operator gives to
// each: an answer that streams for ever must not cost a rotated token.
func (s *Server) drain() error {
	s.into.hub.Drain() // agents look for another node while calls end here
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.StopTimeout)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		s.log.Warn("requests were cut off", "err", err)
		_ = s.http.Close()
	}
	ctx, cancel = context.WithTimeout(context.Background(), s.cfg.StopTimeout)
	defer cancel()
	return s.broker.Stop(ctx)
}

// Close frees what New opened, where Run was not called.
func (s *Server) Close() error {
	s.into.close()
	s.egress.Close()
	return errors.Join(s.listener.Close(), s.db.Close())
}
