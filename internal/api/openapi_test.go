package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/internal/server/servertest"
)

type object = map[string]any

// openAPI is the document, as far as a test reads it.
type openAPI struct {
	OpenAPI    string
	Info       object
	Paths      map[string]object
	Components struct {
		Schemas         map[string]object
		SecuritySchemes map[string]object
	}
	Security []map[string][]string
}

func document(t *testing.T, s *servertest.Server) openAPI {
	t.Helper()
	var d openAPI
	s.Do("", "GET", "/openapi.json", nil).Into(t, &d)
	return d
}

// operation returns the operation that serves a path, or nil.
func (d openAPI) operation(method, path string) object {
	want := strings.Split(strings.SplitN(path, "?", 2)[0], "/")
	for template, item := range d.Paths {
		parts := strings.Split(template, "/")
		if len(parts) != len(want) {
			continue
		}
		same := true
		for i := range parts {
			same = same && (parts[i] == want[i] || strings.HasPrefix(parts[i], "{"))
		}
		if op, ok := item[strings.ToLower(method)].(object); same && ok {
			return op
		}
	}
	return nil
}

// resolve follows references.
func (d openAPI) resolve(schema object) object {
	for {
		ref, ok := schema["$ref"].(string)
		if !ok {
			return schema
		}
		schema = d.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")]
	}
}

// types returns what a schema's type may be.
func types(schema object) []string {
	switch t := schema["type"].(type) {
	case string:
		return []string{t}
	case []any:
		var out []string
		for _, x := range t {
			out = append(out, x.(string))
		}
		return out
	}
	return nil
}

// canaryFor returns a value of the schema's type that holds the canary.
func (d openAPI) canaryFor(schema object) any {
	schema = d.resolve(schema)
	switch of := types(schema); {
	case slices.Contains(of, "string"):
		return canary + "\n{{" + canary
	case slices.Contains(of, "array"):
		return []any{d.canaryFor(schema["items"].(object))}
	case slices.Contains(of, "object"):
		out := object{}
		if properties, ok := schema["properties"].(object); ok {
			for name, s := range properties {
				out[name] = d.canaryFor(s.(object))
			}
		} else {
			out["key"] = canary
		}
		return out
	case slices.Contains(of, "boolean"):
		return false
	}
	return -70070
}

// violations checks a value against a schema, as far as the document uses JSON
// Schema (2020-12).
func (d openAPI) violations(at string, schema object, v any) []string {
	schema = d.resolve(schema)
	if v == nil {
		if !slices.Contains(types(schema), "null") {
			return []string{at + ": null"}
		}
		return nil
	}
	if values, ok := schema["enum"].([]any); ok && !slices.Contains(values, v) {
		return []string{fmt.Sprintf("%s: %v is none of %v", at, v, values)}
	}
	if is := typeOf(v); len(types(schema)) > 0 && !slices.Contains(types(schema), is) && !(is == "number" && slices.Contains(types(schema), "integer") && v.(float64) == float64(int64(v.(float64)))) {
		return []string{fmt.Sprintf("%s: a %s, not %v", at, is, types(schema))}
	}
	var wrong []string
	switch v := v.(type) {
	case object:
		wrong = d.objectViolations(at, schema, v)
	case []any:
		for i, x := range v {
			wrong = append(wrong, d.violations(fmt.Sprintf("%s[%d]", at, i), schema["items"].(object), x)...)
		}
	case string:
		if schema["format"] == "date-time" {
			if _, err := time.Parse(time.RFC3339Nano, v); err != nil {
				wrong = append(wrong, at+": no date-time")
			}
		}
	}
	return wrong
}

func (d openAPI) objectViolations(at string, schema object, v object) []string {
	var wrong []string
	properties, _ := schema["properties"].(object)
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := v[name.(string)]; !ok {
			wrong = append(wrong, fmt.Sprintf("%s: %s is missing", at, name))
		}
	}
	for name, x := range v {
		switch s, ok := properties[name].(object); {
		case ok:
			wrong = append(wrong, d.violations(at+"."+name, s, x)...)
		case schema["additionalProperties"] == false || schema["additionalProperties"] == nil:
			wrong = append(wrong, at+"."+name+" is not in the schema")
		}
	}
	return wrong
}

func typeOf(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case float64:
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

func TestTheDocumentIsOpenAPI31(t *testing.T) {
	s := servertest.New(t, servertest.Setup{})
	a := s.Do("", "GET", "/openapi.json", nil)
	if a.Header.Get("Content-Type") != "application/openapi+json" {
		t.Errorf("Content-Type %q", a.Header.Get("Content-Type"))
	}
	d := document(t, s)
	if !strings.HasPrefix(d.OpenAPI, "3.1.") || d.Info["title"] == "" || d.Info["version"] != "test" {
		t.Errorf("openapi %q, info %v", d.OpenAPI, d.Info)
	}
	if len(d.Security) == 0 || d.Components.SecuritySchemes["key"]["type"] != "http" {
		t.Error("no security scheme")
	}
	ids := map[string]bool{}
	for path, item := range d.Paths {
		if !strings.HasPrefix(path, "/v1/") {
			t.Errorf("%s is not below /v1", path)
		}
		for method, op := range item {
			o, ok := op.(object)
			if !ok || !slices.Contains([]string{"get", "put", "post", "delete", "patch", "options", "head", "trace"}, method) {
				t.Errorf("%s %s is no operation", method, path)
				continue
			}
			id, _ := o["operationId"].(string)
			if id == "" || ids[id] {
				t.Errorf("%s %s: operationId %q is empty or taken", method, path, id)
			}
			ids[id] = true
			d.checkOperation(t, method+" "+path, path, o)
		}
	}
	references(t, d, a.Body)
}

func (d openAPI) checkOperation(t *testing.T, name, path string, o object) {
	t.Helper()
	if o["summary"] == nil || o["tags"] == nil {
		t.Errorf("%s has no summary or no tag", name)
	}
	declared := map[string]bool{}
	params, _ := o["parameters"].([]any)
	for _, p := range params {
		param := p.(object)
		key := fmt.Sprint(param["in"], " ", param["name"])
		if declared[key] || param["schema"] == nil || param["in"] == "path" && param["required"] != true {
			t.Errorf("%s: parameter %s is declared twice, has no schema or is not required", name, key)
		}
		declared[key] = true
	}
	for part := range strings.SplitSeq(path, "/") {
		if key, ok := strings.CutPrefix(part, "{"); ok && !declared["path "+strings.TrimSuffix(key, "}")] {
			t.Errorf("%s: path parameter %s is not declared", name, part)
		}
	}
	responses, _ := o["responses"].(object)
	problems := 0
	for status, r := range responses {
		res := r.(object)
		if res["description"] == nil || res["description"] == "" {
			t.Errorf("%s: %s has no description", name, status)
		}
		if content, ok := res["content"].(object); ok && content["application/problem+json"] != nil {
			problems++
		}
	}
	if problems == 0 {
		t.Errorf("%s: no response is a problem document", name)
	}
}

func references(t *testing.T, d openAPI, body string) {
	t.Helper()
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case object:
			if ref, ok := v["$ref"].(string); ok && d.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")] == nil {
				t.Errorf("%s leads nowhere", ref)
			}
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	var all any
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		t.Fatal(err)
	}
	walk(all)
}

func TestTheDocumentListsWhatIsServedAndNothingElse(t *testing.T) {
	b := newBuilding(t)
	d := document(t, b.Server)
	var inDocument, tested []string
	for path, item := range d.Paths {
		for method := range item {
			inDocument = append(inDocument, strings.ToUpper(method)+" "+path)
			// What the document lists is served: it asks for a key first.
			if a := b.Do("", strings.ToUpper(method), strings.NewReplacer("{", "", "}", "").Replace(path), nil); a.Status != 401 {
				t.Errorf("%s %s: status %d without a key", method, path, a.Status)
			}
		}
	}
	for _, o := range b.doors() {
		path := o.path
		for after, name := range map[string]string{"/profiles/{new}": "/profiles/{profile}", "/connections/{new}": "/connections/{connection}", "/keys/{new}": "/keys/{key}", "/connectors/{new}": "/connectors/{connector}", "/webhooks/{new}": "/webhooks/{webhook}", "/users/{new}": "/users/{user}",
			"/connect-sessions/{new}": "/connect-sessions/{session}", "/trials/{new}": "/trials/{trial}", "/variables/BotContext/{new}": "/variables/{namespace}/{name}", "/variables/BotContext/plan": "/variables/{namespace}/{name}", "/variables/env/REGION": "/variables/{namespace}/{name}", "/catalog/asana": "/catalog/{provider}", "{profile}/me": "{profile}/{path}", "{profile}/echo": "{profile}/{path}"} {
			path = strings.Replace(path, after, name, 1)
		}
		tested = append(tested, o.method+" "+path)
	}
	slices.Sort(inDocument)
	slices.Sort(tested)
	tested = slices.Compact(tested) // one route may be for others by what it names
	if !slices.Equal(inDocument, tested) {
		t.Errorf("the document lists\n%s\nand the table of who may do what has\n%s", strings.Join(inDocument, "\n"), strings.Join(tested, "\n"))
	}
}

// What is served without the help of the document could be forgotten there, and
// with it in the table of who may do what.
func TestEveryPlainRouteIsInTheDocument(t *testing.T) {
	d := document(t, newBuilding(t).Server)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range append(files, "../server/routes.go") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`mux\.Handle(?:Func)?\("(?:([A-Z]+) )?(/v1/[^"]+)"`).FindAllStringSubmatch(string(text), -1) {
			found++
			if _, in := d.Paths[m[2]][strings.ToLower(m[1])]; !in {
				t.Errorf("%s serves %s %s, and the document does not say so", file, m[1], m[2])
			}
		}
	}
	if found < 3 {
		t.Errorf("only %d plain routes found: this test does not see them any more", found)
	}
}

func TestAnswersAreWhatTheDocumentSays(t *testing.T) {
	b := newBuilding(t)
	d := document(t, b.Server)
	for _, o := range b.doors() {
		if strings.Contains(o.path, "/proxy/") {
			continue // the application's answers
		}
		for _, key := range []string{b.Owner, "", b.everybody[len(b.everybody)-1].key} {
			a := b.ask(t, o, key)
			op := d.operation(o.method, o.path)
			responses := op["responses"].(object)
			res, ok := responses[fmt.Sprint(a.Status)].(object)
			if !ok {
				if res, ok = responses["default"].(object); !ok {
					t.Errorf("%s %s: status %d is not in the document, which has %v", o.method, o.path, a.Status, slices.Sorted(maps.Keys(responses)))
					continue
				}
			}
			content, ok := res["content"].(object)
			if !ok {
				if a.Body != "" {
					t.Errorf("%s %s: a body where the document says none", o.method, o.path)
				}
				continue
			}
			media, ok := content[a.Header.Get("Content-Type")].(object)
			if !ok {
				t.Errorf("%s %s: %d comes as %q", o.method, o.path, a.Status, a.Header.Get("Content-Type"))
				continue
			}
			if a.Header.Get("Content-Type") == "text/event-stream" {
				continue // its test reads what stands in the events
			}
			var v any
			if err := json.Unmarshal([]byte(a.Body), &v); err != nil {
				t.Fatal(err)
			}
			for _, wrong := range d.violations(fmt.Sprint(a.Status), media["schema"].(object), v) {
				t.Errorf("%s %s: %s", o.method, o.path, wrong)
			}
		}
	}
}

func TestPagesBesideTheAPI(t *testing.T) {
	s := servertest.New(t, servertest.Setup{})
	for _, c := range []struct {
		method, path string
		status       int
		kind, holds  string
	}{
		{"GET", "/docs", 200, "text/html; charset=utf-8", "Behalf"},
		{"GET", "/healthz", 200, "text/plain; charset=utf-8", "ok\n"},
		{"GET", "/readyz", 200, "text/plain; charset=utf-8", "ready\n"},
		{"HEAD", "/healthz", 200, "text/plain; charset=utf-8", ""},
		{"GET", "/", 303, "", ""},
		{"GET", "/favicon.ico", 302, "", ""},
	} {
		a := s.Do("", c.method, c.path, nil)
		if a.Status != c.status || c.kind != "" && a.Header.Get("Content-Type") != c.kind || !strings.Contains(a.Body, c.holds) {
			t.Errorf("%s %s: status %d, %v: %.200s", c.method, c.path, a.Status, a.Header, a.Body)
		}
		if to := a.Header.Get("Location"); to != "" {
			b := s.Do("", "GET", to, nil)
			for b.Header.Get("Location") != "" { // the console, which leads on to its sign-in
				b = s.Do("", "GET", b.Header.Get("Location"), nil)
			}
			if b.Status != 200 {
				t.Errorf("%s leads to %s, which answers %d", c.path, to, b.Status)
			}
		}
	}
}
