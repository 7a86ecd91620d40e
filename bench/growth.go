package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/server"
)

// This file measures what many connections change: on SQLite, where they are
// all in one file on this machine. It takes long to make them, so it is asked
// for with -growth.

// growing are connections that are used, among all that there are.
const growing = 1000

func (r *rig) growth(ctx context.Context) ([]Row, error) {
	if r.grow == 0 {
		return nil, nil
	}
	few, err := r.grown(ctx, growing)
	if err != nil {
		return nil, err
	}
	many, err := r.grown(ctx, r.grow)
	if err != nil {
		return nil, err
	}
	tokens, err := r.growthTokens(ctx, few, many)
	if err != nil {
		return nil, err
	}
	refreshes, err := r.growthRefreshes(ctx, few, many)
	return append(tokens, refreshes...), err
}

// grown makes a database with n connections.
func (r *rig) grown(ctx context.Context, n int) (*product, error) {
	r.progress("filling SQLite with %d connections", n)
	p := &product{database: fmt.Sprintf("%d connections", n), dataDir: filepath.Join(r.dir, fmt.Sprintf("growth_%d", n))}
	if err := os.Mkdir(p.dataDir, 0o700); err != nil {
		return nil, err
	}
	db, err := server.OpenStore(ctx, config(p.dataDir, ""))
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	scope := db.As(behalf.System("bench"))
	d := definition(r.upstream.url)
	d.TokenURL, d.OAuth.Refresh.Rotates = r.tokens.url+"/token", "no"
	f, err := begin(ctx, scope, d)
	for len(f.people) < n && err == nil {
		_, err = f.add(ctx, scope, min(500, n-len(f.people)), 24*time.Hour)
	}
	p.seeded = f.seeded
	return p, err
}

func (r *rig) growthTokens(ctx context.Context, few, many *product) ([]Row, error) {
	all := map[string][][]byte{}
	for _, p := range []*product{few, many} {
		s, err := r.serve(ctx, p)
		if err != nil {
			return nil, err
		}
		p.process = s
		defer s.stop()
		if err := answers(ctx, s.url+"/readyz"); err != nil {
			return nil, err
		}
		all[p.database] = p.tokenTarget().requests
	}
	everything := many.tokenTarget()
	var targets []target
	for _, p := range []*product{few, many} {
		t := p.tokenTarget()
		t.requests = all[p.database][:growing]
		if err := check(ctx, t, func(i int, body string) bool { return len(body) > tokenLength }); err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	got, err := r.interleave(ctx, "token reads among many", targets, r.at(tokenRate))
	if err != nil {
		return nil, err
	}
	r.progress("reading all %d tokens", r.grow)
	if err := r.readAll(ctx, everything); err != nil {
		return nil, err
	}
	held, err := many.resident()
	if err != nil {
		return nil, err
	}
	return []Row{
		ratio(fmt.Sprintf("token read at %d/s, p99, %s", tokenRate, many.database), "ms", nearlyWorst(got[many.database]), few.database, nearlyWorst(got[few.database])).atMost(1.2),
		value("memory after a read of each of "+many.database, "MiB", []float64{float64(held) / mebibyte}).atMost(200),
	}, nil
}

// readAll asks for each once.
func (r *rig) readAll(ctx context.Context, t target) error {
	conns, err := dial(ctx, t, connections)
	if err != nil {
		return err
	}
	defer closeAll(conns)
	next := make(chan []byte)
	go func() {
		defer close(next)
		for _, request := range t.requests {
			next <- request
		}
	}()
	return all(conns, func(c *conn) (failed error) {
		for request := range next {
			if failed == nil && ctx.Err() == nil {
				failed = c.ask(request)
			}
		}
		return errors.Join(failed, ctx.Err())
	})
}

func (r *rig) growthRefreshes(ctx context.Context, few, many *product) ([]Row, error) {
	out := egress.New(egress.Config{AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Now: time.Now})
	defer out.Close()
	rates := map[string][]float64{}
	var stages []*refreshStage
	for _, p := range []*product{few, many} {
		db, err := server.OpenStore(ctx, config(p.dataDir, ""))
		if err != nil {
			return nil, err
		}
		scope := db.As(behalf.System("bench"))
		var all []behalf.Connection
		for i := range 8 * refreshWorkers { // spread over all
			c, err := scope.Connection(ctx, p.connections[i*(len(p.connections)-1)/(8*refreshWorkers)])
			if err != nil {
				return nil, errors.Join(err, db.Close())
			}
			all = append(all, c)
		}
		s := stage(ctx, db, all, out)
		defer s.close()
		stages = append(stages, s)
	}
	for round := range r.rounds {
		r.progress("refreshes among many, round %d of %d", round+1, r.rounds)
		for i, p := range []*product{few, many} {
			rate, _, err := r.busy(ctx, stages[i].refresh)
			if err != nil {
				return nil, err
			}
			rates[p.database] = append(rates[p.database], rate)
		}
	}
	return []Row{ratio("refresh, "+many.database, "/s", rates[many.database], few.database, rates[few.database]).atLeast(1 / 1.2)}, nil
}
