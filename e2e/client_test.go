package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// client asks the API with one key. Whatever is refused goes into evidence.
type client struct {
	t    testing.TB
	seen *evidence
	base string
	key  string
}

// reply is an answer of the API; its status is 0 where there was none.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) ok() bool { return r.status >= 200 && r.status < 300 }

// problem is an error of the API (RFC 9457).
type problem struct {
	Status     int
	Code       string
	Detail     string
	Field      string
	ConnectURL string `json:"connect_url"`
}

// noRedirects is how a program asks: it looks at a redirect and goes nowhere.
var noRedirects = &http.Client{
	Timeout:       time.Minute,
	Transport:     &http.Transport{MaxIdleConnsPerHost: 400},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// send asks once. The body is in as JSON; a string is sent as it is. Headers
// are given by name and value. It may be called from any goroutine.
func (c *client) send(method, path string, in any, headers ...string) reply {
	body, raw := in.(string)
	if !raw && in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			c.t.Errorf("encode %T: %v", in, err)
		}
		body = string(encoded)
	}
	request, err := http.NewRequest(method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Errorf("%s %s: %v", method, path, err)
		return reply{}
	}
	request.Header.Set("Authorization", "Bearer "+c.key)
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	return c.do(request)
}

func (c *client) do(request *http.Request) reply {
	response, err := noRedirects.Do(request)
	if err != nil {
		c.t.Errorf("%s %s: %v", request.Method, request.URL.Path, err)
		return reply{}
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Errorf("%s %s: %v", request.Method, request.URL.Path, err)
	}
	if response.StatusCode >= 400 {
		c.seen.show("answer "+response.Status+" to "+request.Method, content)
		var headers bytes.Buffer
		_ = response.Header.Write(&headers)
		c.seen.show("headers of answer "+response.Status+" to "+request.Method, headers.Bytes())
	}
	return reply{response.StatusCode, response.Header, content}
}

// get, post, put and remove end the test unless they succeed. They decode the
// answer into out, which may be nil.
func (c *client) get(path string, out any) { c.t.Helper(); c.must("GET", path, nil, out) }

func (c *client) post(path string, in, out any) { c.t.Helper(); c.must("POST", path, in, out) }

func (c *client) put(path string, in, out any) { c.t.Helper(); c.must("PUT", path, in, out) }

func (c *client) remove(path string) { c.t.Helper(); c.must("DELETE", path, nil, nil) }

func (c *client) must(method, path string, in, out any) {
	c.t.Helper()
	r := c.send(method, path, in)
	if !r.ok() {
		c.t.Fatalf("%s %s: %d %s", method, path, r.status, r.body)
	}
	c.decode(r, out)
}

func (c *client) decode(r reply, out any) {
	c.t.Helper()
	if out == nil {
		return
	}
	if err := json.Unmarshal(r.body, out); err != nil {
		c.t.Fatalf("not the JSON that was expected: %v\n%s", err, r.body)
	}
}

// refused ends the test unless the API answers with a problem of the code.
func (c *client) refused(code, method, path string, in any) problem {
	c.t.Helper()
	return c.problem(code, c.send(method, path, in))
}

func (c *client) problem(code string, r reply) problem {
	c.t.Helper()
	var p problem
	if r.ok() {
		c.t.Fatalf("it is answered with %d %s; want %s", r.status, r.body, code)
	}
	c.decode(r, &p)
	if p.Code != code || p.Status != r.status {
		c.t.Fatalf("the problem is %d %s; want %s", r.status, r.body, code)
	}
	return p
}
