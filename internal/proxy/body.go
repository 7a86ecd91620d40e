package proxy

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"

	"github.com/behalf-dev/behalf"
)

const (
	// maxRepeat bounds the bodies that are kept at hand for a repetition.
	maxRepeat = 64 << 10
	// maxPayload bounds the bodies that payload fields are put into.
	maxPayload = 1 << 20
)

// takeBody decides whether the body is streamed or kept. It is kept where it
// must be changed or is small enough to be repeated.
func (c *call) takeBody(w http.ResponseWriter, r *http.Request) error {
	switch {
	case len(c.out.Payload) > 0 && (r.ContentLength != 0 || takesBody(r.Method)):
		return c.payload(w, r)
	case r.ContentLength == 0:
		return nil
	case r.ContentLength > 0 && r.ContentLength <= maxRepeat:
		c.body = make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, c.body); err != nil {
			return &behalf.Error{Code: behalf.CodeInvalid, Field: "body", Message: "The request's body ended before its length was reached.", Err: err}
		}
		return nil
	}
	c.stream = true
	return nil
}

// takesBody reports whether a request of the method gets a body for payload
// fields when it has none.
func takesBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// payload puts the payload fields into the body: into a JSON object or a form.
func (c *call) payload(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPayload))
	if err != nil {
		return &behalf.Error{Code: behalf.CodeInvalid, Field: "body", Message: "The profile puts fields into the body, and then takes at most 1 MiB.", Err: err}
	}
	kind := r.Header.Get("Content-Type")
	if kind == "" && len(body) == 0 {
		kind = "application/json"
		r.Header.Set("Content-Type", kind)
	}
	media, _, err := mime.ParseMediaType(kind)
	switch {
	case err != nil || r.Header.Get("Content-Encoding") != "":
	case media == "application/x-www-form-urlencoded":
		c.body, err = intoForm(body, c.out.Payload)
		return err
	case media == "application/json" || isJSON(media):
		c.body, err = intoObject(body, c.out.Payload)
		return err
	}
	return behalf.Invalid("body", "The profile puts fields into the body, which must then be a JSON object or a form.")
}

func isJSON(media string) bool { return len(media) > 5 && media[len(media)-5:] == "+json" }

func intoForm(body []byte, fields []behalf.Filled) ([]byte, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, behalf.Invalid("body", "Expected a correctly encoded form.")
	}
	for _, f := range fields {
		form.Set(f.Key, f.Value)
	}
	return []byte(form.Encode()), nil
}

func intoObject(body []byte, fields []behalf.Filled) ([]byte, error) {
	object := map[string]json.RawMessage{}
	if len(bytes.TrimSpace(body)) > 0 {
		if err := json.Unmarshal(body, &object); err != nil || object == nil {
			return nil, behalf.Invalid("body", "Expected a JSON object: the profile puts fields into it.")
		}
	}
	for _, f := range fields {
		value, err := json.Marshal(f.Value)
		if err != nil {
			return nil, behalf.Invalid(behalf.FieldName(f.Field)+".value", "It cannot stand in JSON.")
		}
		object[f.Key] = value
	}
	return json.Marshal(object)
}

// attach gives the request the kept body. net/http must not repeat it by
// itself: that is decided here.
func (c *call) attach(out *http.Request) {
	out.GetBody = nil
	out.ContentLength = int64(len(c.body))
	out.TransferEncoding = nil
	if len(c.body) == 0 {
		out.Body = nil
		if takesBody(out.Method) {
			out.Body = http.NoBody
		}
		return
	}
	out.Body = io.NopCloser(bytes.NewReader(c.body))
	out.Header.Set("Content-Length", strconv.Itoa(len(c.body)))
}
