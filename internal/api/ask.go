package api

import (
	"bytes"
	"io"
	"net/http"
	"sync"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/broker"
)

// This file reads the body of a token read. Nearly all are a flat object of
// plain texts, which is cut up here; whatever is not goes to the strict decoder,
// which alone says what is wrong with it.

// smallBody is what is cut up here, and read into a buffer that is used again.
const smallBody = 2 << 10

var bodies = sync.Pool{New: func() any { return new([smallBody]byte) }}

// readAsk reads what a token is asked for.
func readAsk(r *http.Request) (broker.Ask, error) {
	kind := r.Header["Content-Type"]
	if r.ContentLength <= 0 || r.ContentLength > smallBody || len(kind) > 1 || len(kind) == 1 && kind[0] != "application/json" {
		return decodeAsk(r)
	}
	buffer := bodies.Get().(*[smallBody]byte)
	defer bodies.Put(buffer)
	body := buffer[:r.ContentLength]
	if _, err := io.ReadFull(r.Body, body); err != nil {
		return broker.Ask{}, &behalf.Error{Code: behalf.CodeInvalid, Field: "body", Message: "The body could not be read.", Err: err}
	}
	if ask, ok := cutAsk(body); ok {
		return ask, nil
	}
	r.Body = io.NopCloser(bytes.NewReader(bytes.Clone(body)))
	return decodeAsk(r)
}

func decodeAsk(r *http.Request) (broker.Ask, error) {
	var b TokenBody
	if err := decodeJSON(r, &b); err != nil {
		return broker.Ask{}, err
	}
	sent, err := variables(b.Variables)
	return broker.Ask{Profile: b.Profile, User: b.User, Tenant: b.Tenant, Connection: behalf.ConnectionID(b.Connection), Variables: sent}, err
}

// cutAsk reads {"name":"text",…} where every name is one of TokenBody's, stands
// once, and every text is printable ASCII without a backslash. ok is false for
// everything else, right or wrong.
func cutAsk(body []byte) (ask broker.Ask, ok bool) {
	c := cutter{rest: body}
	var seen [4]bool
	if !c.take('{') {
		return ask, false
	}
	for {
		name, ok := c.text()
		if !ok || !c.take(':') {
			return ask, false
		}
		value, ok := c.text()
		if !ok {
			return ask, false
		}
		var at int
		switch string(name) {
		case "profile":
			at, ask.Profile = 0, string(value)
		case "user":
			at, ask.User = 1, string(value)
		case "tenant":
			at, ask.Tenant = 2, string(value)
		case "connection":
			at, ask.Connection = 3, behalf.ConnectionID(value)
		default:
			return ask, false
		}
		if seen[at] {
			return ask, false
		}
		seen[at] = true
		if c.take(',') {
			continue
		}
		return ask, c.take('}') && c.end()
	}
}

type cutter struct{ rest []byte }

func (c *cutter) space() {
	for len(c.rest) > 0 && (c.rest[0] == ' ' || c.rest[0] == '\n' || c.rest[0] == '\t' || c.rest[0] == '\r') {
		c.rest = c.rest[1:]
	}
}

func (c *cutter) end() bool { c.space(); return len(c.rest) == 0 }

func (c *cutter) take(b byte) bool {
	c.space()
	if len(c.rest) == 0 || c.rest[0] != b {
		return false
	}
	c.rest = c.rest[1:]
	return true
}

func (c *cutter) text() ([]byte, bool) {
	if !c.take('"') {
		return nil, false
	}
	for i, b := range c.rest {
		switch {
		case b == '"':
			text := c.rest[:i]
			c.rest = c.rest[i+1:]
			return text, true
		case b < ' ' || b > '~' || b == '\\':
			return nil, false
		}
	}
	return nil, false
}
