package egress_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/secret"
)

// A provider must not be able to keep a node busy with what it answers.
func TestNoAnswerTakesLongToMask(t *testing.T) {
	const size = 512 << 10
	tokens := func() string {
		var b strings.Builder
		for n := 0; b.Len() < size; n++ {
			fmt.Fprintf(&b, `{"token":"unique-%016d"},`, n)
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"backslashes":                     strings.Repeat(`\`, size),
		"backslashes before quotes":       strings.Repeat(`\\\\\\\"`, size/8),
		"a member and backslashes":        `{"token":{` + strings.Repeat(`\`, size),
		"names that open objects":         strings.Repeat(`"token":{`, size/9),
		"names that open strings":         strings.Repeat(`"token":"\"`, size/11),
		"names and spaces":                strings.Repeat(`token `+strings.Repeat(" ", 100), size/106),
		"one name":                        strings.Repeat("a", size),
		"percent signs":                   strings.Repeat("%25", size/3),
		"percent signs and equals signs":  strings.Repeat("%3D=", size/4),
		"escapes of every kind":           strings.Repeat(`%5C\u0026&amp;+`, size/15),
		"thousands of tokens":             tokens(),
		"the beginning of a secret":       strings.Repeat("canary-", size/7),
		"a secret over and over":          strings.Repeat("canary-5f1d", size/11),
		"what could be base64":            strings.Repeat("Y2FuYXJ5LTVmMW", size/14),
		"a long token and more like it":   `{"token":"` + strings.Repeat("aB1", 2700) + `"}` + strings.Repeat("aB1", size/3),
		"ampersands that escape nothing":  strings.Repeat("&", size),
		"entities that escape ampersands": strings.Repeat("&amp;", size/5),
	} {
		t.Run(name, func(t *testing.T) {
			rec := &egress.Recorder{Secrets: []secret.Text{secret.New("canary-5f1d")}}
			r := &http.Request{Method: "GET", URL: &url.URL{Scheme: "https", Host: "x"}, Header: http.Header{"Content-Type": {"application/json"}}}
			began := time.Now()
			egress.RecordForTest(rec, r, "", text)
			if took := time.Since(began); took > 30*time.Second { // a busy machine under -race needs some; squares take minutes
				t.Errorf("took %v", took)
			}
		})
	}
}
