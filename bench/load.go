package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// target is one of the things that are measured in turn.
type target struct {
	name     string
	host     string   // host:port
	requests [][]byte // whole, sent in turn; none holds a zero byte
}

// sample is one measurement.
type sample struct {
	rate     float64 // answers a second
	answers  int64
	cpu      time.Duration // of the server, for one answer
	behind   bool          // the pace was not kept
	p50, p99 time.Duration
}

//go:embed wrk.lua
var wrkScript []byte

// saturate keeps every connection busy, by wrk where the machine has it: it
// takes the least from what is measured. It cannot take less than a second.
func saturate(ctx context.Context, t target, connections int, each time.Duration) (sample, error) {
	if path, err := exec.LookPath("wrk"); err == nil && each >= time.Second {
		return wrk(ctx, path, t, connections, each)
	}
	return closedLoop(ctx, t, connections, each)
}

func wrk(ctx context.Context, path string, t target, connections int, each time.Duration) (sample, error) {
	dir, err := os.MkdirTemp("", "behalf-wrk-")
	if err != nil {
		return sample{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	script, requests := filepath.Join(dir, "wrk.lua"), filepath.Join(dir, "requests")
	if err := errors.Join(os.WriteFile(script, wrkScript, 0o600), os.WriteFile(requests, bytes.Join(t.requests, []byte{0}), 0o600)); err != nil {
		return sample{}, err
	}
	seconds := max(1, int(math.Round(each.Seconds())))
	cmd := exec.CommandContext(ctx, path, "-t2", fmt.Sprintf("-c%d", connections), fmt.Sprintf("-d%ds", seconds), "--timeout", "10s",
		"-s", script, "http://"+t.host+"/", "--", requests)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	output, err := cmd.CombinedOutput()
	if err != nil {
		return sample{}, fmt.Errorf("wrk: %w\n%s", err, output)
	}
	return readWrk(string(output))
}

// readWrk reads the line that our script prints.
func readWrk(output string) (sample, error) {
	_, line, _ := strings.Cut(output, "\nbench ")
	var answers, microseconds int64
	if _, err := fmt.Sscan(line, &answers, &microseconds); err != nil || microseconds <= 0 {
		return sample{}, fmt.Errorf("wrk said something unexpected:\n%s", output)
	}
	failed := slices.DeleteFunc(strings.Fields(line)[2:], func(kind string) bool { return strings.HasSuffix(kind, "=0") })
	if len(failed) > 0 {
		return sample{}, fmt.Errorf("requests failed beside %d that did not: %s", answers, strings.Join(failed, " "))
	}
	return sample{rate: float64(answers) / (float64(microseconds) / 1e6), answers: answers}, nil
}

// closedLoop asks again as soon as an answer is there, on each connection.
func closedLoop(ctx context.Context, t target, connections int, each time.Duration) (sample, error) {
	conns, err := dial(ctx, t, connections)
	if err != nil {
		return sample{}, err
	}
	defer closeAll(conns)
	var answered, next atomic.Int64
	began := time.Now()
	end := began.Add(each)
	err = all(conns, func(c *conn) error {
		for time.Now().Before(end) && ctx.Err() == nil {
			if err := c.ask(t.turn(next.Add(1))); err != nil {
				return err
			}
			answered.Add(1)
		}
		return ctx.Err()
	})
	return sample{rate: float64(answered.Load()) / time.Since(began).Seconds(), answers: answered.Load()}, err
}

// paced asks so many times a second, whether or not earlier answers are there,
// and returns how long answers took.
func paced(ctx context.Context, t target, connections, perSecond int, each time.Duration) (sample, error) {
	conns, err := dial(ctx, t, connections)
	if err != nil {
		return sample{}, err
	}
	defer closeAll(conns)
	asked := make(chan time.Time)
	go pace(ctx, asked, time.Second/time.Duration(perSecond), each)
	var mu sync.Mutex
	var took []time.Duration
	var next atomic.Int64
	began := time.Now()
	err = all(conns, func(c *conn) error {
		var failed error
		for at := range asked {
			if failed != nil {
				continue // the sender must get rid of its moments
			}
			failed = c.ask(t.turn(next.Add(1)))
			d := time.Since(at)
			mu.Lock()
			took = append(took, d)
			mu.Unlock()
		}
		return failed
	})
	if err = errors.Join(err, ctx.Err()); err != nil {
		return sample{}, err
	}
	rate := float64(len(took)) / time.Since(began).Seconds()
	return sample{rate: rate, behind: rate < 0.9*float64(perSecond), p50: percentile(took, 0.50), p99: percentile(took, 0.99)}, nil
}

// pace sends the moments at which to ask. It sleeps in the kernel: the runtime
// wakes to the millisecond only, and would ask in bursts. A moment that comes
// late because every connection is busy counts from when it should have been.
// What is not asked after three times the time is not asked any more.
func pace(ctx context.Context, asked chan<- time.Time, every, each time.Duration) {
	defer close(asked)
	began := time.Now()
	for due := began; due.Sub(began) < each && time.Since(began) < 3*each && ctx.Err() == nil; due = due.Add(every) {
		wait := time.Until(due)
		if wait > 0 {
			nap := syscall.NsecToTimespec(int64(wait))
			_ = syscall.Nanosleep(&nap, nil)
		}
		at := time.Now()
		if wait < 0 {
			at = due
		}
		asked <- at
	}
}

func percentile(d []time.Duration, p float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)-1, int(p*float64(len(d))))]
}

func (t target) turn(n int64) []byte { return t.requests[n%int64(len(t.requests))] }

// conn is one kept connection.
type conn struct {
	net.Conn
	answers *bufio.Reader
}

const answerLimit = 30 * time.Second

func dial(ctx context.Context, t target, n int) ([]*conn, error) {
	var d net.Dialer
	var conns []*conn
	for range n {
		c, err := d.DialContext(ctx, "tcp", t.host)
		if err != nil {
			closeAll(conns)
			return nil, err
		}
		conns = append(conns, &conn{c, bufio.NewReaderSize(c, 64<<10)})
	}
	return conns, nil
}

func closeAll(conns []*conn) {
	for _, c := range conns {
		_ = c.Close()
	}
}

// all runs do on every connection at once.
func all(conns []*conn, do func(*conn) error) error {
	failed := make([]error, len(conns))
	var running sync.WaitGroup
	for i, c := range conns {
		running.Go(func() { failed[i] = do(c) })
	}
	running.Wait()
	return errors.Join(failed...)
}

// ask sends a request and reads its answer to the end.
func (c *conn) ask(request []byte) error { return c.exchange(request, io.Discard) }

func (c *conn) exchange(request []byte, body io.Writer) error {
	if err := c.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return err
	}
	if _, err := c.Write(request); err != nil {
		return err
	}
	res, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", res.Status)
	}
	_, err = io.Copy(body, res.Body)
	return err
}

// check asks each request once, and compares the answers.
func check(ctx context.Context, t target, right func(request int, body string) bool) error {
	conns, err := dial(ctx, t, 1)
	if err != nil {
		return err
	}
	defer closeAll(conns)
	for i, request := range t.requests {
		var body strings.Builder
		if err := conns[0].exchange(request, &body); err != nil {
			return fmt.Errorf("%s, request %d: %w", t.name, i, err)
		}
		if !right(i, body.String()) {
			return fmt.Errorf("%s, request %d: not the answer that was expected", t.name, i)
		}
	}
	return ctx.Err()
}
