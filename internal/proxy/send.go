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
	base  http.RoundTripper
}

func (s *sender) RoundTrip(req *http.Request) (*http.Response, error) {
	c := req.Context().Value(callKey{}).(*call)
	res, err := s.base.RoundTrip(req)
	if err != nil || !c.refused(res) || !c.repeatable(req) {
		return res, err
	}
	newer, ok := s.renew(req, c)
	if !ok {
		return res, nil
	}
	drain(res.Body)
	return s.base.RoundTrip(newer)
}

// renew returns the request with a newer credential, if there is one.
func (s *sender) renew(req *http.Request, c *call) (*http.Request, bool) {
	good, err := s.proxy.cfg.Broker.Refused(req.Context(), c.db, c.good)
	if err != nil {
		return nil, false
	}
	out, err := c.profile.Plan.Authorize(good.Values(c.profile), c.asked, s.proxy.cfg.Now)
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
	for _, rule := range c.profile.Plan.AuthError {
		if matches(rule, res) {
			return true
		}
	}
	return false
}

func matches(rule behalf.AuthErrorRule, res *http.Response) bool {
	switch {
	case rule.Status != 0 && rule.Status != res.StatusCode:
		return false
	case rule.Header != "" && !hasHeader(res.Header, rule.Header, rule.Equals, rule.JSON == ""):
		return false
	case rule.JSON != "":
		return hasValue(res, rule.JSON, rule.Equals)
	}
	return rule.Status != 0 || rule.Header != ""
}

func hasHeader(h http.Header, name, equals string, compare bool) bool {
	values, ok := h[http.CanonicalHeaderKey(name)]
	if !ok || !compare || equals == "" {
		return ok
	}
	for _, v := range values {
		if v == equals {
			return true
		}
	}
	return false
}

// hasValue looks into the beginning of the answer and puts it back.
func hasValue(res *http.Response, pointer, equals string) bool {
	if !strings.Contains(res.Header.Get("Content-Type"), "json") {
		return false
	}
	head, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	res.Body = restored{io.MultiReader(bytes.NewReader(head), res.Body), res.Body}
	if err != nil || len(head) == maxErrorBody {
		return false
	}
	value, ok := oauth.TextAt(head, pointer)
	return ok && (equals == "" || value == equals)
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
