// Command bench measures token reads, proxied calls and refreshes against what this very
// machine can do at best.
//
// The rules are:
//
//   - A machine is shared and noisy, so a figure is a ratio to a limit that is
//     measured in turn with it, in the same run: A B A B …, with its spread.
//   - A limit does the same work with nothing around it, in a process of its own.
//   - What ships is measured: the released build, durable databases, no switch
//     that an operator would not set.
//   - One wrong answer ends the run: a quick refusal is no result.
//   - All load is on loopback, bounded in number and time, and stops by itself.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// options says how much is measured.
type options struct {
	rounds   int
	each     time.Duration // of one measurement
	starts   int           // of the server, for the start-up time
	users    int           // each with a connection
	herdSize int           // tokens that are due at once
	grow     int           // connections, for what growth changes; 0: not measured
	only     string        // part of the names of what is measured; empty: all
	progress func(format string, args ...any)
}

func main() {
	o := options{starts: 10, users: 1000, herdSize: 10_000, progress: progress}
	flag.IntVar(&o.rounds, "rounds", 5, "how often everything is measured in turn")
	flag.DurationVar(&o.each, "for", 3*time.Second, "how long one measurement takes; wrk, used from a second up, takes whole ones")
	quick := flag.Bool("quick", false, "a third of a minute: whether it all works, and figures to be taken lightly")
	flag.StringVar(&o.only, "only", "", "measure only some of start,gigabyte,tokens,calls,bodies,tunnel,memory,refresh,herd,growth")
	flag.IntVar(&o.grow, "growth", 0, "measure also with so many connections; a million takes an hour to make")
	asJSON := flag.Bool("json", false, "print JSON")
	serve := flag.String("serve", "", "internal: be one of the limits")
	to := flag.String("to", "", "internal: the application behind the limit")
	flag.Parse()
	if *quick {
		o.rounds, o.each, o.starts, o.users, o.herdSize = 2, 300*time.Millisecond, 3, 200, 640
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case *serve != "":
		err = serveLimit(ctx, *serve, *to)
	case flag.NArg() > 0 || o.rounds < 1 || o.each <= 0:
		err = errors.New("expected no arguments, and rounds and durations above zero")
	default:
		err = report(ctx, o, *asJSON)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func report(ctx context.Context, o options, asJSON bool) error {
	r, err := measureAll(ctx, o)
	if err != nil {
		return err
	}
	if asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return r.print(os.Stdout)
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }

// measureAll builds everything, measures it and takes it down again.
func measureAll(ctx context.Context, o options) (r Report, err error) {
	dir, err := os.MkdirTemp("", "behalf-bench-")
	if err != nil {
		return r, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r.Machine = thisMachine(time.Now())
	f := &rig{dir: dir, options: o}
	defer f.stop()
	if err := f.start(ctx); err != nil {
		return r, err
	}
	for _, m := range []struct {
		name string
		rows func(context.Context) ([]Row, error)
	}{
		{"start", f.startUp}, {"gigabyte", f.gigabyte}, {"tokens", f.tokenReads}, {"tokens", f.tokenLatency}, {"calls", f.calls}, {"calls", f.callLatency},
		{"bodies", f.bodies}, {"tunnel", f.tunnels}, {"memory", f.memoryAfter}, {"refresh", f.refreshes}, {"herd", f.herd}, {"growth", f.growth},
	} {
		if !strings.Contains(o.only, m.name) && o.only != "" {
			continue
		}
		rows, err := m.rows(ctx)
		if err != nil {
			return r, err
		}
		r.Rows = append(r.Rows, rows...)
	}
	r.Machine.LoadAfter = loadAverage()
	r.Notes = f.notes
	return r, nil
}
