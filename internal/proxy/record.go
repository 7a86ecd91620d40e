package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/egress"
)

// This file records calls that fail. The rules are:
//
//   - A call that succeeds costs nothing, and an answer is streamed as ever: what
//     of it passes is copied, up to a bound.
//   - Failing is what says something of the connection or the application: no
//     answer, 401, 403, 429, 5xx, and what the profile takes for a bad token.
//     What else an application refuses is between it and the assistant.
//   - One call of a connection is recorded in a while, not a thousand.

const (
	copied = 16 << 10        // bytes of an answer
	pause  = 5 * time.Second // between two records of a connection
)

// watch lets an answer pass, and records it when it is over where it failed.
func (p *Proxy) watch(c *call, req *http.Request, res *http.Response, err error, began time.Time) (*http.Response, error) {
	if p.cfg.Record == nil || err == nil && !c.failing(res) || errors.Is(err, context.Canceled) || !p.recent.first(c.good.ID, p.cfg.Now()) {
		return res, err
	}
	if err != nil {
		p.record(c, req, nil, nil, err, began)
		return res, err
	}
	res.Body = &tee{ReadCloser: res.Body, end: func(got []byte) { p.record(c, req, res, got, nil, began) }}
	return res, nil
}

func (c *call) failing(res *http.Response) bool {
	switch {
	case res.StatusCode == http.StatusForbidden, res.StatusCode == http.StatusTooManyRequests, res.StatusCode >= 500:
		return true
	}
	return c.refused(res)
}

func (p *Proxy) record(c *call, req *http.Request, res *http.Response, got []byte, err error, began time.Time) {
	now := p.cfg.Now()
	rec := &egress.Recorder{Secrets: append(slices.Clone(c.out.Secrets), c.good.Credential.AccessToken, c.good.Credential.IDToken)}
	failure := unanswered(err)
	rec.Add(req, c.body, res, got, failure, began, now)
	if err == nil {
		failure = behalf.Errorf(behalf.CodeProvider, "The application answered %s.", res.Status)
	}
	g := c.good
	p.cfg.Record(behalf.Transcript{ID: behalf.NewTranscriptID(began), Kind: behalf.CallTranscript, Assistant: g.Assistant, Profile: g.Profile, Connection: g.ID, User: g.User,
		Status: behalf.TranscriptFailed, CreatedAt: began, EndedAt: now,
		Steps: behalf.Ran(behalf.StepCall, "Call", began, now.Sub(began), rec.Transcript().Exchanges, failure, behalf.Circumstances{Plan: c.profile.Plan, Tenant: g.Tenant})})
}

// unanswered puts an error of the network into the words of egress.
func unanswered(err error) error {
	if err == nil {
		return nil
	}
	phase := egress.PhaseWait
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
		phase = egress.PhaseDial
	}
	return &egress.CallError{Phase: phase, Written: phase == egress.PhaseWait, Err: err}
}

// tee copies the beginning of a body as it passes, and tells when it is over.
type tee struct {
	io.ReadCloser
	got  bytes.Buffer
	once sync.Once
	end  func(got []byte)
}

func (t *tee) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	if room := copied - t.got.Len(); room > 0 {
		t.got.Write(b[:min(n, room)])
	}
	return n, err
}

func (t *tee) Close() error {
	err := t.ReadCloser.Close()
	t.once.Do(func() { t.end(t.got.Bytes()) })
	return err
}

// recent knows the connections of which a call was recorded a moment ago.
type recent struct {
	mu sync.Mutex
	at map[behalf.ConnectionID]time.Time
}

func (r *recent) first(id behalf.ConnectionID, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.at[id]) < pause {
		return false
	}
	if r.at == nil || len(r.at) > 10_000 {
		r.at = map[behalf.ConnectionID]time.Time{}
	}
	r.at[id] = now
	return true
}
