package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	connections = 64
	tokenRate   = 2000 // token reads a second, for their latency
	callRate    = 500  // calls a second, for theirs

	bodyConnections = 4
	bodySize        = 16 << 20
	gigabyte        = 1 << 30

	mebibyte = 1 << 20
)

// interleave measures all targets in turn, so many times: A B A B ….
func (r *rig) interleave(ctx context.Context, what string, targets []target, measure func(context.Context, target) (sample, error)) (map[string][]sample, error) {
	samples := map[string][]sample{}
	for round := range r.rounds {
		r.progress("%s, round %d of %d", what, round+1, r.rounds)
		for _, t := range targets {
			s, err := measure(ctx, t)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w%s", what, t.name, err, r.said(t.host))
			}
			samples[t.name] = append(samples[t.name], s)
		}
	}
	for _, t := range targets {
		if slices.ContainsFunc(samples[t.name], func(s sample) bool { return s.behind }) {
			r.notes = append(r.notes, what+": "+t.name+" did not keep the pace; its latencies are those of a queue.")
		}
	}
	return samples, nil
}

// said returns the last words of the server at host, for who looks for what
// went wrong.
func (r *rig) said(host string) string {
	for _, p := range r.products {
		if words := p.said.String(); p.host() == host && words != "" {
			return "\n" + p.name + " said:\n" + words
		}
	}
	return ""
}

func rates(samples []sample) []float64 {
	return each(samples, func(s sample) float64 { return s.rate })
}

func medians(samples []sample) []float64 {
	return each(samples, func(s sample) float64 { return milliseconds(s.p50) })
}

func nearlyWorst(samples []sample) []float64 {
	return each(samples, func(s sample) float64 { return milliseconds(s.p99) })
}

func each(samples []sample, of func(sample) float64) []float64 {
	out := make([]float64, len(samples))
	for i, s := range samples {
		out[i] = of(s)
	}
	return out
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (r *rig) full(ctx context.Context, t target) (sample, error) {
	server := r.server(t.host)
	if server == nil {
		return saturate(ctx, t, connections, r.each)
	}
	before, err := server.cpu()
	if err != nil {
		return sample{}, err
	}
	s, err := saturate(ctx, t, connections, r.each)
	if err != nil {
		return s, err
	}
	after, err := server.cpu()
	s.cpu = (after - before) / time.Duration(max(1, s.answers))
	return s, err
}

// server returns whose processor time is counted of those that listen there.
func (r *rig) server(host string) *process {
	counted := []*process{r.bare, r.reverse}
	for _, p := range r.products {
		counted = append(counted, p.process)
	}
	for _, p := range counted {
		if p.host() == host {
			return p
		}
	}
	return nil
}

// processor compares what of the processors an answer takes.
func processor(name string, measured []sample, against string, limit []sample) Row {
	each := func(samples []sample) []float64 {
		return each(samples, func(s sample) float64 { return float64(s.cpu) / float64(time.Microsecond) })
	}
	return ratio(name+", processor time", "µs", each(measured), against, each(limit))
}

func (r *rig) at(perSecond int) func(context.Context, target) (sample, error) {
	return func(ctx context.Context, t target) (sample, error) {
		return paced(ctx, t, connections, perSecond, r.each)
	}
}

// request writes an HTTP/1.1 request, whole.
func request(method, path, host, header, body string) []byte {
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %d\r\n\r\n%s", method, path, host, header, len(body), body)
}

// get writes a request without a body.
func get(path, host, header string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, host, header)
}

func (p *product) tokenTarget() target {
	t := target{name: p.database, host: p.host()}
	header := "Authorization: Bearer " + p.key + "\r\nContent-Type: application/json\r\n"
	for _, one := range p.people {
		t.requests = append(t.requests, request("POST", "/v1/assistants/"+p.assistant+"/token", t.host, header, `{"profile":"`+p.profile+`","user":"`+one.user+`"}`))
	}
	return t
}

func (p *product) proxyPath(path string) string {
	return "/v1/assistants/" + p.assistant + "/proxy/" + p.profile + path
}

func (p *product) proxyHeader(one person) string {
	return "Authorization: Bearer " + p.key + "\r\nBehalf-User: " + one.user + "\r\n"
}

func (p *product) callTarget() target {
	t := target{name: p.database, host: p.host()}
	for _, one := range p.people {
		t.requests = append(t.requests, get(p.proxyPath("/small"), t.host, p.proxyHeader(one)))
	}
	return t
}

// tokenTargets are the bare handler, which is asked for the same, and the
// product. Each answer was looked at before anything is measured; that warms
// everything up, too.
func (r *rig) tokenTargets(ctx context.Context) ([]target, error) {
	targets := []target{{name: r.bare.name, host: r.bare.host(), requests: r.products[0].tokenTarget().requests}}
	for _, p := range r.products {
		t := p.tokenTarget()
		if err := check(ctx, t, func(i int, body string) bool {
			return strings.Contains(body, `"access_token":"`+p.people[i].token+`"`)
		}); err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, check(ctx, targets[0], func(_ int, body string) bool { return len(body) >= 1000 })
}

func (r *rig) tokenReads(ctx context.Context) ([]Row, error) {
	targets, err := r.tokenTargets(ctx)
	if err != nil {
		return nil, err
	}
	got, err := r.interleave(ctx, "token reads", targets, r.full)
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, p := range r.products {
		rows = append(rows, ratio("token read, "+p.database, "/s", rates(got[p.database]), r.bare.name, rates(got[r.bare.name])).atLeast(0.60),
			processor("token read, "+p.database, got[p.database], r.bare.name, got[r.bare.name]))
	}
	return rows, nil
}

func (r *rig) tokenLatency(ctx context.Context) ([]Row, error) {
	targets, err := r.tokenTargets(ctx)
	if err != nil {
		return nil, err
	}
	got, err := r.interleave(ctx, fmt.Sprintf("token reads at %d/s", tokenRate), targets, r.at(tokenRate))
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, p := range r.products {
		name := fmt.Sprintf("token read at %d/s, %s", tokenRate, p.database)
		bare := got[r.bare.name]
		rows = append(rows,
			added(name+", p50", "ms", medians(got[p.database]), r.bare.name, medians(bare)).atMost(0.1),
			added(name+", p99", "ms", nearlyWorst(got[p.database]), r.bare.name, nearlyWorst(bare)).atMost(0.5))
	}
	return rows, nil
}

const direct = "direct call"

// callTargets are the application itself, the proxies before it and the
// product.
func (r *rig) callTargets(ctx context.Context) ([]target, error) {
	targets := []target{{name: direct, host: r.upstream.host()}, {name: r.reverse.name, host: r.reverse.host()}}
	if r.nginx != nil {
		targets = append(targets, target{name: r.nginx.name, host: r.nginx.host()})
	}
	for i := range targets {
		targets[i].requests = [][]byte{get("/small", targets[i].host, "")}
	}
	for _, p := range r.products {
		targets = append(targets, p.callTarget())
	}
	for _, t := range targets {
		if err := check(ctx, t, func(_ int, body string) bool { return len(body) >= 1000 && body[0] == '{' }); err != nil {
			return nil, err
		}
	}
	return targets, nil
}

func (r *rig) calls(ctx context.Context) ([]Row, error) {
	targets, err := r.callTargets(ctx)
	if err != nil {
		return nil, err
	}
	got, err := r.interleave(ctx, "proxied calls", targets, r.full)
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, p := range r.products {
		rows = append(rows, ratio("proxied call, "+p.database, "/s", rates(got[p.database]), r.reverse.name, rates(got[r.reverse.name])).atLeast(0.95),
			processor("proxied call, "+p.database, got[p.database], r.reverse.name, got[r.reverse.name]))
	}
	sqlite := r.products[0].database
	if r.nginx != nil {
		rows = append(rows, ratio("proxied call, "+sqlite, "/s", rates(got[sqlite]), r.nginx.name, rates(got[r.nginx.name])).atLeast(0.38))
	}
	return append(rows, ratio("proxied call, "+sqlite, "/s", rates(got[sqlite]), direct, rates(got[direct]))), nil
}

func (r *rig) callLatency(ctx context.Context) ([]Row, error) {
	targets, err := r.callTargets(ctx)
	if err != nil {
		return nil, err
	}
	got, err := r.interleave(ctx, fmt.Sprintf("proxied calls at %d/s", callRate), targets, r.at(callRate))
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, p := range r.products {
		rows = append(rows, added(fmt.Sprintf("proxied call at %d/s, %s, p50", callRate, p.database), "ms", medians(got[p.database]), direct, medians(got[direct])).atMost(0.30))
	}
	return append(rows, added(fmt.Sprintf("%s at %d/s, p50", r.reverse.name, callRate), "ms", medians(got[r.reverse.name]), direct, medians(got[direct]))), nil
}

// bodies sends and fetches 16 MB at a time, a few at once.
func (r *rig) bodies(ctx context.Context) ([]Row, error) {
	p := r.products[0]
	header := p.proxyHeader(p.people[0])
	fetch, send := fmt.Sprintf("/bytes/%d", bodySize), "/bytes"
	body := strings.Repeat("x", bodySize)
	megabytes := func(ctx context.Context, t target) (sample, error) {
		s, err := closedLoop(ctx, t, bodyConnections, r.each)
		s.rate *= bodySize / 1e6
		return s, err
	}
	var rows []Row
	for _, direction := range []struct {
		name    string
		targets []target
		right   func(int, string) bool
	}{
		{"16 MB answers", []target{
			{r.reverse.name, r.reverse.host(), [][]byte{get(fetch, r.reverse.host(), "")}},
			{p.database, p.host(), [][]byte{get(p.proxyPath(fetch), p.host(), header)}},
		}, func(_ int, got string) bool { return len(got) == bodySize }},
		{"16 MB requests", []target{
			{r.reverse.name, r.reverse.host(), [][]byte{request("PUT", send, r.reverse.host(), "", body)}},
			{p.database, p.host(), [][]byte{request("PUT", p.proxyPath(send), p.host(), header, body)}},
		}, func(_ int, got string) bool { return got == fmt.Sprint(bodySize) }},
	} {
		for _, t := range direction.targets {
			if err := check(ctx, t, direction.right); err != nil {
				return nil, err
			}
		}
		got, err := r.interleave(ctx, direction.name, direction.targets, megabytes)
		if err != nil {
			return nil, err
		}
		rows = append(rows, ratio(direction.name+", "+p.database, "MB/s", rates(got[p.database]), r.reverse.name, rates(got[r.reverse.name])).atLeast(0.95))
	}
	return rows, nil
}

// gigabyte passes 1 GiB through in both directions, in a server that has done
// nothing else yet, and looks at its memory.
func (r *rig) gigabyte(ctx context.Context) ([]Row, error) {
	r.progress("1 GiB through, each way")
	p := r.products[0]
	var rows []Row
	for _, direction := range []struct{ name, method, path string }{
		{"memory for an answer of 1 GiB", http.MethodGet, fmt.Sprintf("/bytes/%d", gigabyte)},
		{"memory for a request of 1 GiB", http.MethodPut, "/bytes"},
	} {
		before, err := p.resident()
		if err != nil {
			return nil, err
		}
		if err := p.forgetPeak(); err != nil {
			r.notes = append(r.notes, direction.name+": this kernel does not let the peak be measured")
			continue
		}
		if err := p.pass(ctx, direction.method, direction.path); err != nil {
			return nil, fmt.Errorf("%s: %w", direction.name, err)
		}
		peak, err := p.peak()
		if err != nil {
			return nil, err
		}
		rows = append(rows, value(direction.name, "MiB", []float64{float64(max(0, peak-before)) / mebibyte}).atMost(32))
	}
	return rows, nil
}

func (r *rig) memoryAfter(context.Context) ([]Row, error) {
	now, err := r.products[0].resident()
	return []Row{value("memory after all load, SQLite", "MiB", []float64{float64(now) / mebibyte})}, err
}

// pass sends or fetches 1 GiB through the proxy, and counts it.
func (p *product) pass(ctx context.Context, method, path string) error {
	return passGigabyte(ctx, p.process.url+p.proxyPath(path), method, http.Header{"Authorization": {"Bearer " + p.key}, "Behalf-User": {p.people[0].user}})
}

func passGigabyte(ctx context.Context, url, method string, header http.Header) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	maps.Copy(req.Header, header)
	if method == http.MethodPut {
		req.Body, req.ContentLength = io.NopCloser(io.LimitReader(zeros{}, gigabyte)), gigabyte
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	var count strings.Builder
	arrived, err := io.Copy(io.Discard, io.TeeReader(res.Body, head{&count}))
	switch {
	case err != nil:
		return err
	case method == http.MethodPut && count.String() == fmt.Sprint(gigabyte), arrived == gigabyte:
		return nil
	}
	return fmt.Errorf("answered %s, and not all of it arrived", res.Status)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// head keeps the beginning of what is written.
type head struct{ b *strings.Builder }

func (h head) Write(b []byte) (int, error) {
	h.b.Write(b[:min(len(b), max(0, 64-h.b.Len()))])
	return len(b), nil
}

// settled is when a server that has nothing to do is looked at.
const settled = 2 * time.Second

// startUp starts the server anew on an existing SQLite database while nothing
// else runs.
func (r *rig) startUp(ctx context.Context) ([]Row, error) {
	r.progress("starting %d times", r.starts)
	p := r.products[0]
	var took, idle []float64
	for n := range r.starts {
		p.process.stop()
		s, err := r.serve(ctx, p)
		if err != nil {
			return nil, err
		}
		p.process = s
		if err := answers(ctx, s.url+"/readyz"); err != nil {
			return nil, err
		}
		took = append(took, milliseconds(time.Since(s.began)))
		if n < r.starts-max(1, r.rounds/2) {
			continue
		}
		time.Sleep(settled)
		held, err := s.resident()
		if err != nil {
			return nil, err
		}
		idle = append(idle, float64(held)/mebibyte)
	}
	binary, err := os.Stat(r.binary)
	if err != nil {
		return nil, err
	}
	return []Row{
		value("start-up, SQLite", "ms", took).atMost(150),
		value("memory when idle, SQLite", "MiB", idle).atMost(30),
		value("binary", "MiB", []float64{float64(binary.Size()) / mebibyte}).atMost(45),
	}, nil
}
