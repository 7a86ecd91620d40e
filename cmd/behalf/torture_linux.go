//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/torture"
)

// tortureCommands are for where processes can be frozen and end with their
// parent.
type tortureCommands struct {
	Torture         tortureCommand         `cmd:"" help:"Kill servers in a storm of refreshes and count what is lost."`
	TortureNode     tortureNodeCommand     `cmd:"" hidden:""`
	TortureProvider tortureProviderCommand `cmd:"" hidden:""`
}

type tortureCommand struct {
	Nodes       int           `help:"Server processes." default:"3"`
	Connections int           `help:"Connections, each of a grant of its own." default:"500"`
	Callers     int           `help:"Callers that ask all servers for tokens." default:"16"`
	Kills       int           `help:"How many servers are killed, one after the other." default:"50"`
	For         time.Duration `help:"Over how long, at least." default:"60s"`
	Signal      string        `help:"How they are ended: KILL or TERM." enum:"KILL,TERM" default:"KILL"`
	Freeze      time.Duration `help:"For how long every eighth of them is frozen first, and some servers that go on after that." default:"2s"`
	Outage      time.Duration `help:"Take the database away for so long in the middle; only with the PostgreSQL that is started here."`
	Calm        bool          `help:"Freeze nobody, and let the provider answer as it should."`
	Lies        bool          `help:"Let the provider lose answers of its own: status 500, a closed connection, HTML, half a body or none after it has replaced the token. It gives them again within 2 minutes to who asks again."`
	UpgradeTo   string        `help:"Another behalf, of a newer version: each server that has ended is started again as that one, while those of this version go on." type:"existingfile" name:"upgrade-to"`
	Jumps       bool          `help:"Set the clocks of the servers by hours while they run."`
	Issuer      string        `help:"Issuer of a provider that runs already, in place of the simulated one; its pages are filled in as a person would."`
	IssuerStats string        `help:"URL at which that provider says what it has issued, in the simulated provider's words."`
	Client      string        `help:"ID:SECRET of the client there, as it is." default:"behalf:"`
	RedirectURI string        `help:"A redirect URI of that client; nobody need listen there." default:"http://127.0.0.1:9/callback" name:"redirect-uri"`
	Database    string        `help:"postgres://… of an empty database, or sqlite for one node on a file (default: a PostgreSQL server that is started here; where there is none, sqlite)."`
	JSON        bool          `help:"Print one JSON object." name:"json"`
}

// Run prints what was counted, and fails where a bound is broken.
func (c *tortureCommand) Run(ctx context.Context) error {
	switch {
	case c.Nodes < 1 || c.Connections < 1 || c.Callers < 1 || c.Kills < 0 || c.For <= 0 || c.Outage < 0 || c.Freeze < 0:
		return errors.New("nodes, connections, callers and durations must be above zero")
	case c.Database == "sqlite" && c.Nodes != 1:
		return errors.New("SQLite is for one server: give --nodes 1")
	case c.Database != "" && c.Outage > 0:
		return errors.New("only a PostgreSQL server that is started here can be taken away: leave --database out")
	}
	if (c.Issuer == "") != (c.IssuerStats == "") || c.Issuer != "" && c.Lies {
		return errors.New("--issuer and --issuer-stats belong together, and --lies is of the simulated provider")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ends := map[string]syscall.Signal{"KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM}[c.Signal]
	r, err := torture.Run(ctx, torture.Config{Binary: self, UpgradeTo: c.UpgradeTo, Nodes: c.Nodes, Connections: c.Connections, Callers: c.Callers, Kills: c.Kills, For: c.For, Signal: ends,
		Outage: c.Outage, Freeze: c.Freeze, Calm: c.Calm, Lies: c.Lies, Jumps: c.Jumps, Issuer: c.issuer(), Database: c.Database, Now: time.Now,
		Progress: func(format string, args ...any) {
			fmt.Fprintf(os.Stderr, "torture: %s "+format+"\n", append([]any{time.Now().Format("15:04:05")}, args...)...)
		}})
	if err != nil {
		return err
	}
	if err := c.print(r); err != nil {
		return err
	}
	return r.Broken(ends)
}

func (c *tortureCommand) issuer() torture.Issuer {
	id, key, _ := strings.Cut(c.Client, ":")
	return torture.Issuer{URL: c.Issuer, Stats: c.IssuerStats, ClientID: id, ClientSecret: secret.New(key), RedirectURI: c.RedirectURI}
}

func (c *tortureCommand) print(r torture.Report) error {
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	fmt.Printf("%d refreshes of %d connections on %d servers; %d times SIG%s, %d freezes, %d clocks set; the database restarted %d times.\n",
		r.Refreshes, r.Connections, r.Nodes, r.Kills, c.Signal, r.Freezes, r.Jumps, r.DatabaseRestarts)
	if r.Upgraded > 0 {
		fmt.Printf("%d servers were replaced by ones of the newer version.\n", r.Upgraded)
	}
	fmt.Printf("%d token reads, %d failed; the longest that a connection had no token: %d ms.\n", r.Reads, r.ReadsFailed, r.LongestOutageMS)
	fmt.Printf("While the database was away: %d tokens given out, %d not although they were good and held; %d answers spilled, %d written from spill files, %d files left.\n",
		r.OutageReads, r.OutageFailed, r.Spilled, r.Replayed, r.Unreplayed)
	fmt.Printf("From the provider's commit to the disk: %.1f ms (median), %.1f ms (at most), of %d; of that until the answer had come: %.1f ms, %.1f ms.\n\n",
		r.WindowMS.Median, r.WindowMS.Max, r.WindowMS.Samples, r.AnswerMS.Median, r.AnswerMS.Max)
	for _, line := range []struct {
		name string
		n    int
	}{
		{"refresh tokens presented twice", r.Duplicates}, {"grants revoked by the provider", r.FamiliesRevoked}, {"connections lost", r.Lost},
		{"  unavoidable: the server was killed before the provider's answer was on the disk", r.Unavoidable}, {"    of these: it was dead already when the provider committed", r.Late}, {"  without need", r.Avoidable}, {"  announced by an event", r.Announced}, {"not refreshed once more", r.Unsettled},
	} {
		fmt.Printf("%8d  %s\n", line.n, line.name)
	}
	for _, s := range r.Stories {
		fmt.Printf("\n%s: %s\n", s.Connection, s.Detail)
	}
	return nil
}

// tortureNodeCommand is a server of a torture: the same server, with a name and
// a clock that is wrong.
type tortureNodeCommand struct {
	serveCommand
	Name  string
	Clock time.Duration
}

func (c *tortureNodeCommand) Run(ctx context.Context) error {
	log, err := newLog(c.LogLevel)
	if err != nil {
		return err
	}
	cfg, clock := c.config(log), torture.Clock{Real: time.Now}
	clock.Set(c.Clock)
	set := make(chan os.Signal, 1)
	signal.Notify(set, syscall.SIGUSR1)
	go func() {
		for n := 0; ; n++ {
			<-set
			clock.Jump(n)
		}
	}()
	cfg.Version, cfg.Now = c.Name, clock.Now
	s, err := server.New(ctx, cfg)
	if err != nil {
		return err
	}
	log.Info("ready", "url", s.URL().String(), "node", s.DB().Node)
	return s.Run(ctx)
}

// tortureProviderCommand is the provider of a torture, which survives it.
type tortureProviderCommand struct {
	Users int
	Life  time.Duration
}

func (c *tortureProviderCommand) Run(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	s := &http.Server{Handler: torture.Provider(c.Users, c.Life, time.Now), ReadHeaderTimeout: 10 * time.Second}
	go func() { <-ctx.Done(); _ = s.Close() }()
	slog.New(slog.NewJSONHandler(os.Stderr, nil)).Info("ready", "url", "http://"+l.Addr().String())
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
