//go:build linux

// Package torture kills servers in a storm of refreshes, and counts what is lost.
//
// The rules are:
//
//   - Servers and provider are processes of their own, of the binary that is
//     tried. The provider survives, and judges: it rotates refresh tokens, and a
//     second use of one ends the grant.
//   - What is lost is unavoidable only if the provider had committed an answer
//     that is not in the database, and the process that it went to was killed or
//     frozen after that, or was dead already. Everything else that goes wrong is a
//     fault.
//   - When the storm is over, every connection that is left must refresh once
//     more: a provider that was asked twice with one token would refuse.
package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/store"
)

const sqlite = "sqlite"

// Config says how much is done to how many.
type Config struct {
	Binary      string // the program that is tried; it knows torture-node and torture-provider
	UpgradeTo   string // a newer one, which takes the place of each server that has ended; empty: the same
	Nodes       int
	Connections int
	Callers     int
	Kills       int
	For         time.Duration  // at least
	Database    string         // postgres://…, empty: a PostgreSQL server of our own; sqlite: one node on a file
	Signal      syscall.Signal // SIGKILL or SIGTERM
	Outage      time.Duration  // the database is away for so long in the middle
	Freeze      time.Duration  // for how long some servers are frozen before they are killed, or go on
	Calm        bool           // nobody is frozen, and the provider answers as it should
	Lies        bool           // the provider loses answers of its own, and gives them again to who asks again
	Jumps       bool           // the clocks of servers are set while they run
	Issuer      Issuer         // a provider that runs already; none: the simulator
	Now         func() time.Time
	Progress    func(format string, args ...any)
}

// Report is what was counted. Duplicates and FamiliesRevoked do not count what
// follows from unavoidable losses.
type Report struct {
	Nodes            int              `json:"nodes"`
	Connections      int              `json:"connections"`
	Refreshes        int64            `json:"refreshes"`
	Kills            int              `json:"kills"`
	Freezes          int              `json:"freezes"`
	Jumps            int              `json:"jumps"`              // of servers' clocks
	Upgraded         int              `json:"upgraded,omitempty"` // servers that were replaced by the newer program
	DatabaseRestarts int              `json:"database_restarts"`
	Reads            int64            `json:"reads"`
	ReadsFailed      int64            `json:"reads_failed"`
	FailedBy         map[string]int64 `json:"reads_failed_by,omitempty"` // the error's code, or no_answer
	OutageReads      int64            `json:"outage_reads"`              // tokens given out while the database was away
	OutageFailed     int64            `json:"outage_reads_failed"`       // tokens that were good and held by the server, and were not given out then
	Spilled          int              `json:"spilled"`                   // answers that went to a spill file for the database's sake
	Replayed         int              `json:"replayed"`                  // answers written from spill files
	Unreplayed       int              `json:"unreplayed"`                // spill files with answers in the end
	Duplicates       int              `json:"duplicates"`
	FamiliesRevoked  int              `json:"families_revoked"`
	Lost             int              `json:"lost"`
	Unavoidable      int              `json:"unavoidable"`
	Avoidable        int              `json:"avoidable"` // of the lost
	Late             int              `json:"late"`      // of the unavoidable: the process that had asked was dead already when the provider committed
	Announced        int              `json:"announced"`
	Unsettled        int              `json:"unsettled"` // neither lost nor refreshed once more
	LongestOutageMS  int64            `json:"longest_outage_ms"`
	WindowMS         Window           `json:"window_ms"`
	AnswerMS         Window           `json:"answer_ms"` // the part of it before the answer has come: what a kill can lose
	SettledAfterMS   int64            `json:"settled_after_ms"`
	Stories          []Story          `json:"stories,omitempty"` // of what is lost, the first few
}

// Window is how long after the provider's commit an answer was durable.
type Window struct {
	Median  float64 `json:"median"`
	Max     float64 `json:"max"`
	Samples int     `json:"samples"`
}

// Story is how a connection was lost.
type Story struct {
	Connection  behalf.ConnectionID `json:"connection"`
	Unavoidable bool                `json:"unavoidable"`
	Detail      string              `json:"detail"`
}

// Broken returns the bounds that the report breaks.
func (r Report) Broken(s syscall.Signal) error {
	var broken []error
	for _, b := range []struct {
		is   bool
		what string
	}{
		{r.Duplicates > 0, fmt.Sprintf("%d refresh tokens were presented twice", r.Duplicates)},
		{r.FamiliesRevoked > 0, fmt.Sprintf("the provider revoked %d grants", r.FamiliesRevoked)},
		{r.Avoidable > 0 || r.Lost > r.Unavoidable, fmt.Sprintf("%d of the %d lost connections were lost without need", max(r.Avoidable, r.Lost-r.Unavoidable), r.Lost)},
		{r.Announced < r.Lost, fmt.Sprintf("%d lost connections were not announced", r.Lost-r.Announced)},
		{r.Unsettled > 0, fmt.Sprintf("%d connections did not refresh once more", r.Unsettled)},
		{s == syscall.SIGTERM && r.Lost > 0, "a graceful stop lost connections"},
		{r.OutageFailed > 0, fmt.Sprintf("%d tokens that were good were not given out while the database was away", r.OutageFailed)},
		{r.Unreplayed > 0, fmt.Sprintf("%d spill files were not replayed", r.Unreplayed)},
	} {
		if b.is {
			broken = append(broken, errors.New(b.what))
		}
	}
	return errors.Join(broken...)
}

// torture is one run.
type torture struct {
	cfg       Config
	dir       string
	url       string // of the database
	postgres  *postgres
	provider  *child    // nil: of somebody else
	asked     endpoints // of the provider
	stats     string    // where the provider says what it has issued
	began     int64     // in µs
	db        *store.DB
	scope     store.Scope
	assistant behalf.Assistant
	profile   behalf.Profile
	key       string
	nodes     []*node
	all       []behalf.ConnectionID // by user
	client    *http.Client
	report    Report

	mu        sync.Mutex
	hurt      map[string]hurt                       // what was done to a run of a node
	told      map[behalf.ConnectionID]time.Time     // when a server last said something of a refresh
	held      map[string]map[int]given              // what a run has given out last, by user
	took      map[behalf.ConnectionID]map[int]int64 // how long a generation took to be durable since it came, in µs
	saved     map[behalf.ConnectionID]map[int]int64 // when a generation was durable, in µs
	commits   map[behalf.ConnectionID]map[int]int64 // when the provider committed it
	failing   map[int]time.Time                     // since when a user gets no token
	dbAway    bool                                  // or may be
	awaySince time.Time                             // zero: it is there, or may be
	turn      sync.Mutex                            // of who takes the database away
	stopping  []func()
}

// Run does all of it. Its files stay only where it fails.
func Run(ctx context.Context, cfg Config) (r Report, err error) {
	t := &torture{cfg: cfg, client: &http.Client{Timeout: 25 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		hurt: map[string]hurt{}, told: map[behalf.ConnectionID]time.Time{}, held: map[string]map[int]given{}, took: map[behalf.ConnectionID]map[int]int64{}, saved: map[behalf.ConnectionID]map[int]int64{}, commits: map[behalf.ConnectionID]map[int]int64{}, failing: map[int]time.Time{}}
	if t.dir, err = os.MkdirTemp("", "behalf-torture-"); err != nil {
		return r, err
	}
	defer func() {
		for i := len(t.stopping); i > 0; i-- {
			t.stopping[i-1]()
		}
		if err == nil && t.report.Broken(cfg.Signal) == nil {
			_ = os.RemoveAll(t.dir)
			return
		}
		cfg.Progress("the logs of all processes are in %s", t.dir)
	}()
	for _, step := range []func(context.Context) error{t.prepare, t.storm, t.settle, t.stop, t.judge} {
		if err := step(ctx); err != nil {
			return t.report, err
		}
	}
	return t.report, nil
}

func (t *torture) dataDir() string { return filepath.Join(t.dir, "data") }

func (t *torture) later(stop func()) { t.stopping = append(t.stopping, stop) }

// prepare starts everything, and fills the database with grants of the provider.
func (t *torture) prepare(ctx context.Context) (err error) {
	t.report.Nodes, t.report.Connections, t.began = t.cfg.Nodes, t.cfg.Connections, t.cfg.Now().UnixMicro()
	if t.url = t.cfg.Database; t.cfg.Database == "" {
		t.cfg.Progress("starting PostgreSQL")
		if t.postgres, err = newPostgres(ctx); errors.Is(err, errNoPostgres) && t.cfg.Outage == 0 {
			t.cfg.Progress("%v: one server on SQLite is tried instead", err)
			t.cfg.Database, t.cfg.Nodes, t.report.Nodes = sqlite, 1, 1
		} else if err != nil {
			return err
		} else {
			t.later(t.postgres.remove)
			t.url = t.postgres.url()
		}
	}
	if err := t.startProvider(ctx); err != nil {
		return err
	}
	cfg := server.Config{DataDir: t.dataDir(), Log: silent(), Now: t.cfg.Now}
	if t.cfg.Database != sqlite {
		cfg.Database = t.url
	}
	if t.db, err = server.OpenStore(ctx, cfg); err != nil {
		return err
	}
	t.later(func() { _ = t.db.Close() })
	t.cfg.Progress("connecting %d users", t.cfg.Connections)
	if err := t.fill(ctx); err != nil {
		return err
	}
	t.cfg.Progress("starting %d servers", t.cfg.Nodes)
	for n := range t.cfg.Nodes {
		d, err := t.newNode(n)
		if err != nil {
			return err
		}
		t.nodes = append(t.nodes, d)
		t.later(func() {
			if c, _ := d.down(); c != nil {
				c.end(syscall.SIGKILL)
			}
			_ = d.log.Close()
		})
		if err := d.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stop stops all servers as they should be, and looks at what they leave.
func (t *torture) stop(context.Context) error {
	var wg sync.WaitGroup
	for _, d := range t.nodes {
		wg.Go(func() {
			if c, _ := d.down(); c != nil {
				c.end(syscall.SIGTERM)
			}
		})
	}
	wg.Wait()
	for _, d := range t.nodes {
		left, err := filepath.Glob(filepath.Join(d.dir, "spill-*.bin"))
		if err != nil {
			return err
		}
		for _, name := range left {
			if info, err := os.Stat(name); err == nil && info.Size() > 0 {
				t.report.Unreplayed++
			}
		}
	}
	return nil
}

// tokenLife is that of access tokens: short, but so that the renewals of all of
// them are what a small machine can do.
func (t *torture) tokenLife() time.Duration {
	return max(20*time.Second, time.Duration(t.cfg.Connections/50)*time.Second) + t.cfg.Outage
}

func (t *torture) startProvider(ctx context.Context) error {
	if t.cfg.Issuer.URL != "" {
		return t.discover(ctx)
	}
	log, err := os.Create(filepath.Join(t.dir, "provider.log"))
	if err != nil {
		return err
	}
	t.later(func() { _ = log.Close() })
	t.provider, err = newChild(ctx, t.cfg.Binary, log, func([]byte) {}, "torture-provider", "--users", fmt.Sprint(t.cfg.Connections), "--life", t.tokenLife().String())
	if err != nil {
		return err
	}
	t.later(func() { t.provider.end(syscall.SIGKILL) })
	base := t.provider.url
	t.asked = endpoints{Authorization: base + "/authorize", Token: base + "/token"}
	t.stats = base + "/_simulator/stats"
	return nil
}

// ask makes one request and decodes the answer; code is a problem's.
func (t *torture) ask(req *http.Request, into any) (status int, code string, err error) {
	res, err := t.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	switch {
	case err != nil:
		return 0, "", err
	case res.StatusCode < 300 && into != nil:
		return res.StatusCode, "", json.Unmarshal(body, into)
	case res.StatusCode < 300:
		return res.StatusCode, "", nil
	}
	var problem struct{ Code string }
	_ = json.Unmarshal(body, &problem) // of a proxy, perhaps: then there is no code
	return res.StatusCode, problem.Code, nil
}
