package proxy

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/oauth"
)

// sender is the transport of the proxy: it repeats a request once with a newer
// credential.
type sender struct {
	proxy *Proxy
}

func (s *sender) RoundTrip(req *http.Request) (*http.Response, error) {
	c := req.Context().Value(callKey{}).(*call)
	began := s.proxy.cfg.Now()
	base := s.proxy.cfg.Egress.Via(c.profile.ConnectorName()).Transport()
	res, err := base.RoundTrip(req)
	if err != nil || !c.refused(res) || !c.repeatable(req) {
		return s.proxy.watch(c, req, res, err, began)
	}
	newer, ok := s.renew(req, c)
	if !ok {
		return s.proxy.watch(c, req, res, nil, began)
	}
	drain(res.Body)
	res, err = base.RoundTrip(newer)
	return s.proxy.watch(c, newer, res, err, began)
}

// renew returns the request with a newer credential, if there is one.
func (s *sender) renew(req *http.Request, c *call) (*http.Request, bool) {
	good, err := s.proxy.cfg.Broker.Refused(req.Context(), c.db, c.good)
	if err != nil {
		return nil, false
	}
	good.Stored, good.Sent, good.For = c.good.Stored, c.good.Sent, c.good.For
	out, err := c.profile.Plan.Authorize(good.Values(*c.profile), c.asked, s.proxy.cfg.Now)
	if err != nil {
		return nil, false
	}
	c.good, c.out = good, out
	next := req.Clone(req.Context())
	c.put(next)
	return next, true
}

// repeatable reports whether the body is still at hand.
func (c *call) repeatable(req *http.Request) bool {
	return !c.stream && req.Header.Get("Upgrade") == ""
}

// maxErrorBody bounds what is read of an answer to tell whether it means that
// the credential is bad.
const maxErrorBody = 64 << 10

// refused reports whether an answer means that the credential is bad: a 401
// (RFC 9110 §15.5.2), or what the profile says besides.
func (c *call) refused(res *http.Response) bool {
	if res.StatusCode == http.StatusUnauthorized {
		return true
	}
	var answer *oauth.Answer
	for _, rule := range c.profile.Plan.AuthError {
		switch {
		case rule.Status != 0 && rule.Status != res.StatusCode:
			continue
		case rule.JSON != "" && !strings.Contains(res.Header.Get("Content-Type"), "json"):
			continue
		case answer == nil:
			answer = &oauth.Answer{Status: res.StatusCode, Header: res.Header}
		}
		if looksInside(rule) && answer.Body == nil {
			if answer.Body = head(res); answer.Body == nil {
				continue
			}
		}
		if rule.OAuth().Holds(answer) {
			return true
		}
	}
	return false
}

// looksInside reports whether a rule is about the answer's body.
func looksInside(r behalf.Rule) bool {
	return r.JSON != "" || r.Header == "" && (r.Equals != "" || r.Contains != "")
}

// head returns the whole body of a small answer and puts it back, nil for one
// that is too large, or is no JSON or text: those are streamed.
func head(res *http.Response) []byte {
	kind := res.Header.Get("Content-Type")
	readable := strings.Contains(kind, "json") || strings.HasPrefix(kind, "text/") && !strings.HasPrefix(kind, "text/event-stream")
	if !readable || res.ContentLength > maxErrorBody || res.Header.Get("Content-Encoding") != "" {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	res.Body = restored{io.MultiReader(bytes.NewReader(body), res.Body), res.Body}
	if err != nil || len(body) == maxErrorBody {
		return nil
	}
	return body
}

type restored struct {
	io.Reader
	io.Closer
}

// drain reads what little is left of an answer, so that its connection can be
// used again, and closes it.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, maxErrorBody)
	_ = body.Close()
}
