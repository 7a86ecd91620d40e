package egress

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"time"
)

// RecordForTest records an exchange without a network and returns every text of it.
func RecordForTest(rec *Recorder, r *http.Request, sent, received string) []string {
	r.Body = io.NopCloser(strings.NewReader(sent))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(sent)), nil }
	resp := &http.Response{StatusCode: 200, Header: r.Header, Body: &body{Reader: bytes.NewReader(nil), all: []byte(received)}}
	rec.record(r, resp, nil, time.Time{}, time.Time{})
	x := rec.Transcript().Exchanges[0]
	all := []string{x.Request.Method, x.Request.URL, x.Request.Body, x.Response.Body, x.Error}
	for _, h := range []http.Header{x.Request.Header, x.Response.Header} {
		for name, values := range h {
			all = append(append(all, name), values...)
		}
	}
	return all
}
