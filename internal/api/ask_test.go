package api

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/behalf-dev/behalf/internal/broker"
)

func asked(body string) *http.Request {
	r, err := http.NewRequest(http.MethodPost, "http://behalf.example/token", strings.NewReader(body))
	if err != nil {
		panic(err) // the URL is good
	}
	r.Header.Set("Content-Type", "application/json")
	return r
}

func TestATokenReadsBodyIsCutWhereItIsPlain(t *testing.T) {
	for body, want := range map[string]broker.Ask{
		`{"profile":"acorn","user":"42"}`:                              {Profile: "acorn", User: "42"},
		" {\n\t\"user\" : \"a b\" , \"tenant\":\"t\" }\r\n":            {User: "a b", Tenant: "t"},
		`{"connection":"con_1","profile":"p","user":"u","tenant":"t"}`: {Profile: "p", User: "u", Tenant: "t", Connection: "con_1"},
	} {
		if got, ok := cutAsk([]byte(body)); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", body, got, ok)
		}
	}
	for _, body := range []string{``, `{}`, `[]`, `{"user":"a","user":"b"}`, `{"user":1}`, `{"User":"a"}`, `{"x":"a"}`, `{"user":"a"}x`, `{"user":"a",}`, `{"user":"\u0061"}`, `{"user":"ä"}`, `{"user":"a"`, `{"user"`} {
		if got, ok := cutAsk([]byte(body)); ok {
			t.Errorf("%s is cut: %+v", body, got)
		}
	}
}

// FuzzAsk holds that what is cut means what the strict decoder says.
func FuzzAsk(f *testing.F) {
	for _, body := range []string{`{"profile":"acorn","user":"42"}`, `{"user":"a","user":"b"}`, ` { "tenant" : "" } `, `{"connection":"con_1"}`, `{"user":"a\nb"}`, "{\"user\":\"a\x00\"}", `{"user":"a"}{}`} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		cut, ok := cutAsk([]byte(body))
		strict, err := decodeAsk(asked(body))
		if ok && (err != nil || !reflect.DeepEqual(cut, strict)) {
			t.Errorf("%q is cut to %+v; the decoder says %+v, %v", body, cut, strict, err)
		}
	})
}
