package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/behalf-dev/behalf"
)

// strictJSON is how requests are read: one document, no member twice, nothing
// nested deeper than any of ours, valid UTF-8.
func strictJSON() huma.Format {
	return huma.Format{
		Marshal: func(w io.Writer, v any) error {
			e := json.NewEncoder(w)
			e.SetEscapeHTML(false)
			return e.Encode(v)
		},
		Unmarshal: func(data []byte, v any) error {
			if err := checkJSON(data); err != nil {
				return err
			}
			return json.Unmarshal(data, v)
		},
	}
}

const maxDepth = 20

var (
	errTwice = behalf.Invalid("body", "A name stands twice in one JSON object.")
	errDeep  = behalf.Invalid("body", "The JSON is nested too deeply.")
	errJSON  = behalf.Invalid("body", "Expected one JSON object in valid UTF-8.")
)

// checkJSON reports what encoding/json would let pass.
func checkJSON(data []byte) error {
	if !utf8.Valid(data) {
		return errJSON
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := checkValue(d, 0); err != nil {
		if behalf.CodeOf(err) != "" {
			return err
		}
		return errJSON
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errJSON
	}
	return nil
}

func checkValue(d *json.Decoder, depth int) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	if depth == maxDepth {
		return errDeep
	}
	seen := map[string]bool{}
	for d.More() {
		if delim == '{' {
			name, err := d.Token()
			if err != nil {
				return err
			}
			if s, _ := name.(string); seen[s] {
				return errTwice
			} else {
				seen[s] = true
			}
		}
		if err := checkValue(d, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// decodeJSON is decode for a request that must not say that it is anything else.
func decodeJSON(r *http.Request, v any) error {
	if kind := r.Header.Get("Content-Type"); kind != "" {
		if media, _, err := mime.ParseMediaType(kind); err != nil || media != "application/json" {
			return behalf.Invalid("body", "Expected Content-Type: application/json.")
		}
	}
	return decode(r.Body, v)
}

// decode reads a request's body into the struct that v points to, for the routes
// that huma does not serve. A member that it has not is an error that names it.
func decode(body io.Reader, v any) error {
	data, err := io.ReadAll(io.LimitReader(body, maxBody+1))
	switch {
	case err != nil:
		return &behalf.Error{Code: behalf.CodeInvalid, Field: "body", Message: "The body could not be read.", Err: err}
	case len(data) > maxBody:
		return behalf.Invalid("body", "Expected at most 1 MiB.")
	}
	if err := checkJSON(data); err != nil {
		return err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil || members == nil {
		return errJSON
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !hasMember(v, name) {
			return behalf.Invalid(bounded(name), "There is no such field.")
		}
	}
	err = json.Unmarshal(data, v)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		return behalf.Invalid(bounded(wrong.Field), "Expected %s.", wrong.Type.Kind())
	}
	if err != nil {
		return errJSON
	}
	return nil
}

// hasMember reports whether v has a member of exactly this name: encoding/json
// would take one in other letters too.
func hasMember(v any, name string) bool {
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v).Elem()) {
		if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag == name && name != "" {
			return true
		}
	}
	return false
}

const maxBody = 1 << 20
