package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/broker"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/store"
)

// This file measures refreshes. The rules are:
//
//   - The limit posts the same requests to the same token endpoint, by the same
//     client, from as many workers, and forgets the answers.
//   - Ours writes the intent durably before each request and the sealed answer
//     durably before anybody has it: that is what the figure pays for.
//   - Where a refresh token works only once, each request has a connection of
//     its own, on both sides: a request on one that the provider has closed would
//     have an unknown outcome.

const (
	refreshWorkers = 64
	herdAtOnce     = 64 // what one node has under way at one host
	herdLatency    = 100 * time.Millisecond
)

// tokenEndpoint answers every refresh at once, or after a while; and counts.
func tokenEndpoint() http.Handler {
	var answers, first, last, now, peak atomic.Int64
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, r *http.Request) {
		old := r.PostFormValue("refresh_token")
		if r.URL.Query().Get("rotate") != "" {
			old = secret.Random().Reveal()
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600,"refresh_token":%q}`, strings.Repeat("x", tokenLength), old)
	}
	mux.HandleFunc("POST /token", answer)
	mux.HandleFunc("POST /slow/token", func(w http.ResponseWriter, r *http.Request) {
		first.CompareAndSwap(0, time.Now().UnixMicro())
		n := now.Add(1)
		for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
		}
		time.Sleep(herdLatency)
		answer(w, r)
		now.Add(-1)
		last.Store(time.Now().UnixMicro())
		answers.Add(1)
	})
	mux.HandleFunc("GET /herd", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(herdCount{answers.Load(), first.Load(), last.Load(), peak.Load()})
	})
	mux.HandleFunc("POST /herd/reset", func(http.ResponseWriter, *http.Request) {
		for _, n := range []*atomic.Int64{&answers, &first, &last, &peak} {
			n.Store(0)
		}
	})
	return mux
}

type herdCount struct{ Answers, First, Last, Peak int64 }

// refreshes are the rows: with a refresh token that stays, and with one that is
// replaced each time.
func (r *rig) refreshes(ctx context.Context) ([]Row, error) {
	var rows []Row
	for _, kind := range []struct{ name, query, rotates string }{
		{"refresh", "", "no"},
		{"refresh that rotates", "?rotate=1", "yes"},
	} {
		more, err := r.refreshesOf(ctx, kind.name, r.tokens.url+"/token"+kind.query, kind.rotates)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind.name, err)
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

func (r *rig) refreshesOf(ctx context.Context, name, tokenURL, rotates string) ([]Row, error) {
	out := egress.New(egress.Config{AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Now: time.Now})
	defer out.Close()
	post := out.Client(egress.ClientOptions{FreshConn: rotates == "yes"})
	rates := map[string][]float64{}
	var named []string
	took := map[string][]float64{}
	measures := []func() (float64, float64, error){func() (float64, float64, error) {
		return r.busy(ctx, func(ctx context.Context, _ int) error { return rawRefresh(ctx, post, tokenURL) })
	}}
	for _, database := range []string{"SQLite", "PostgreSQL"} {
		s, err := r.refreshStage(ctx, name, database, tokenURL, rotates, out)
		if err != nil {
			return nil, err
		}
		defer s.close()
		named = append(named, database)
		measures = append(measures, func() (float64, float64, error) { return r.busy(ctx, s.refresh) })
	}
	names := append([]string{"raw"}, named...)
	for round := range r.rounds {
		r.progress("%s, round %d of %d", name, round+1, r.rounds)
		for i, measure := range measures {
			rate, cpu, err := measure()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", names[i], err)
			}
			rates[names[i]], took[names[i]] = append(rates[names[i]], rate), append(took[names[i]], cpu)
		}
	}
	goals := map[string]float64{"SQLite": 0.50, "PostgreSQL": 0.38}
	var rows []Row
	for _, database := range named {
		rows = append(rows, ratio(name+", "+database, "/s", rates[database], "raw posts", rates["raw"]).atLeast(goals[database]),
			ratio(name+", "+database+", processor time", "µs", took[database], "raw posts", took["raw"]))
	}
	return rows, nil
}

// busy keeps all workers busy for as long as a measurement takes, and returns
// how much was done in a second, and how many microseconds of processor time
// one took of all processes together.
func (r *rig) busy(ctx context.Context, do func(ctx context.Context, worker int) error) (rate, cpu float64, err error) {
	var done atomic.Int64
	var wg sync.WaitGroup
	failed := make([]error, refreshWorkers)
	before, began := everybody(), time.Now()
	for worker := range refreshWorkers {
		wg.Go(func() {
			for failed[worker] == nil && time.Since(began) < r.each && ctx.Err() == nil {
				if failed[worker] = do(ctx, worker); failed[worker] == nil {
					done.Add(1)
				}
			}
		})
	}
	wg.Wait()
	n := float64(done.Load())
	rate = n / time.Since(began).Seconds()
	return rate, float64((everybody() - before).Microseconds()) / max(1, n), errors.Join(failed...)
}

func rawRefresh(ctx context.Context, c *http.Client, tokenURL string) error {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"rt"}, "client_id": {"bench"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, tokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the token endpoint answered %s", res.Status)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// refreshStage is a broker on a database, with some connections for each worker.
type refreshStage struct {
	db     *store.DB
	broker *broker.Broker
	scope  store.Scope
	all    [][]behalf.Connection // by worker
	turn   []int
	stop   context.CancelFunc
	done   chan struct{}
}

func (r *rig) refreshStage(ctx context.Context, name, database, tokenURL, rotates string, out *egress.Egress) (*refreshStage, error) {
	cfg, err := r.freshDatabase(name, database)
	if err != nil {
		return nil, err
	}
	db, err := server.OpenStore(ctx, cfg)
	if err != nil {
		return nil, err
	}
	scope := db.As(behalf.System("bench"))
	d := definition(r.upstream.url)
	d.TokenURL, d.OAuth.Refresh.Rotates = tokenURL, rotates
	all, err := fillWith(ctx, scope, d, 8*refreshWorkers, time.Hour)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return stage(ctx, db, all, out), nil
}

// stage is a broker at work, with eight connections for each worker.
func stage(ctx context.Context, db *store.DB, all []behalf.Connection, out *egress.Egress) *refreshStage {
	s := &refreshStage{db: db, scope: db.As(behalf.System("bench")), turn: make([]int, refreshWorkers), done: make(chan struct{})}
	for worker := range refreshWorkers {
		s.all = append(s.all, all[8*worker:8*worker+8])
	}
	s.broker = broker.New(broker.Config{DB: db, Egress: out, Log: silent()})
	running, stop := context.WithCancel(ctx)
	s.stop = stop
	go func() { _ = db.Run(running); close(s.done) }()
	return s
}

func (s *refreshStage) close() {
	_ = s.broker.Stop(context.Background())
	s.stop()
	<-s.done
	_ = s.db.Close()
}

func (s *refreshStage) refresh(ctx context.Context, worker int) error {
	i := s.turn[worker] % 8
	s.turn[worker]++
	c, err := s.broker.Refresh(ctx, s.scope, s.all[worker][i])
	if err == nil && c.Generation != s.all[worker][i].Generation+1 {
		err = errors.New("it was not refreshed")
	}
	s.all[worker][i] = c
	return err
}

// freshDatabase returns a server's settings with an empty database.
func (r *rig) freshDatabase(name, database string) (server.Config, error) {
	name = strings.ReplaceAll(name, " ", "_") + "_" + strings.ToLower(database)
	dir := filepath.Join(r.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil || database == "SQLite" {
		return config(dir, ""), err
	}
	url, err := r.postgres.Create(name)
	return config(dir, url), err
}

// fillWith imports n connections whose tokens end after left.
func fillWith(ctx context.Context, scope store.Scope, d behalf.Definition, n int, left time.Duration) ([]behalf.Connection, error) {
	f, err := begin(ctx, scope, d)
	var out []behalf.Connection
	for len(out) < n && err == nil {
		var made []behalf.ConnectionID
		made, err = f.add(ctx, scope, min(500, n-len(out)), left)
		for _, id := range made {
			c, failed := scope.Connection(ctx, id)
			err = errors.Join(err, failed)
			out = append(out, c)
		}
	}
	return out, err
}

// filling is a profile that connections are imported into.
type filling struct {
	seeded
	of behalf.Profile
}

func begin(ctx context.Context, scope store.Scope, d behalf.Definition) (f filling, err error) {
	a := behalf.NewAssistant("Bench", scope.Now())
	a.Finish, a.TokenReads = false, true
	if a, err = scope.CreateAssistant(ctx, a); err != nil {
		return f, err
	}
	if f.of, err = scope.CreateProfile(ctx, behalf.Profile{Assistant: a.ID, Definition: d}); err != nil {
		return f, err
	}
	_, key, err := scope.CreateKey(ctx, behalf.Key{Name: "Bench", Assistant: a.ID})
	f.seeded = seeded{key: key.Reveal(), assistant: a.Slug, profile: f.of.Slug}
	return f, err
}

// add imports n more.
func (f *filling) add(ctx context.Context, scope store.Scope, n int, left time.Duration) ([]behalf.ConnectionID, error) {
	now, err := scope.Now(), error(nil)
	rows, inputs := make([]behalf.Import, n), make([]behalf.Inputs, n)
	for i := range rows {
		who := person{fmt.Sprintf("user-%d", len(f.people)), token()}
		f.people = append(f.people, who)
		rows[i] = behalf.Import{User: who.user, Account: behalf.Account{Subject: who.user}, Credential: behalf.Credential{AccessToken: secret.New(who.token), RefreshToken: secret.Random(),
			TokenType: "Bearer", Scopes: []string{"notes:read"}, ObtainedAt: now.Add(left - time.Hour), ExpiresAt: now.Add(left)}}
		if inputs[i], err = rows[i].Inputs(f.of.Plan, scope.Now); err != nil {
			return nil, err
		}
	}
	made, err := scope.Import(ctx, f.of, rows, inputs, false, false)
	var ids []behalf.ConnectionID
	for _, m := range made {
		ids = append(ids, m.Connection)
	}
	f.connections = append(f.connections, ids...)
	return ids, err
}

// herd lets the server find so many tokens due at once, of a provider that
// takes its time.
func (r *rig) herd(ctx context.Context) ([]Row, error) {
	var rows []Row
	for _, database := range []string{"SQLite", "PostgreSQL"} {
		r.progress("%d tokens due at once, %s", r.herdSize, database)
		took, peak, err := r.herdOn(ctx, database)
		if err != nil {
			return nil, fmt.Errorf("herd on %s: %w", database, err)
		}
		best := float64(r.herdSize) * herdLatency.Seconds() / herdAtOnce
		rows = append(rows, ratio(fmt.Sprintf("%d due at once, %s", r.herdSize, database), "s", []float64{took.Seconds()},
			fmt.Sprintf("%d at a time", herdAtOnce), []float64{best}).atMost(1.1))
		if peak > herdAtOnce {
			return nil, fmt.Errorf("herd on %s: %d requests at once", database, peak)
		}
	}
	return rows, nil
}

func (r *rig) herdOn(ctx context.Context, database string) (took time.Duration, peak int64, err error) {
	cfg, err := r.freshDatabase("herd", database)
	if err != nil {
		return 0, 0, err
	}
	db, err := server.OpenStore(ctx, cfg)
	if err != nil {
		return 0, 0, err
	}
	d := definition(r.upstream.url)
	d.TokenURL = r.tokens.url + "/slow/token?rotate=1"
	_, err = fillWith(ctx, db.As(behalf.System("bench")), d, r.herdSize, time.Minute)
	if err = errors.Join(err, db.Close()); err != nil {
		return 0, 0, err
	}
	p, err := r.serve(ctx, &product{database: database, dataDir: cfg.DataDir, databaseURL: cfg.Database})
	if err != nil {
		return 0, 0, err
	}
	defer p.stop()
	count, err := r.herdEnd(ctx)
	return time.Duration(count.Last-count.First) * time.Microsecond, count.Peak, err
}

// herdEnd waits for the last answer, and begins to count anew.
func (r *rig) herdEnd(ctx context.Context) (n herdCount, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for n.Answers < int64(r.herdSize) {
		select {
		case <-ctx.Done():
			return n, fmt.Errorf("%d of %d were refreshed: %w", n.Answers, r.herdSize, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
		res, err := client.Get(r.tokens.url + "/herd")
		if err != nil {
			return n, err
		}
		err = json.NewDecoder(res.Body).Decode(&n)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			return n, err
		}
	}
	res, err := client.Post(r.tokens.url+"/herd/reset", "", nil)
	if err != nil {
		return n, err
	}
	return n, res.Body.Close()
}
