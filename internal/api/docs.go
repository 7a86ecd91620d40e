package api

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
)

// Docs returns the page that describes the API. It is made of the OpenAPI
// document, so that it says what the server does, and is rendered once.
func Docs(a *API) http.Handler {
	page := sync.OnceValues(func() (whole, zipped []byte) {
		var b bytes.Buffer
		if err := docsOf(a.OpenAPI()).page().Render(context.Background(), &b); err != nil {
			panic("api: the documentation cannot be rendered: " + err.Error())
		}
		return b.Bytes(), look.Zip(b.Bytes())
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		look.Headers(w, look.Policy{})
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		whole, zipped := page()
		look.Write(w, r, whole, zipped)
	})
}

// docsPage is what the page shows.
type docsPage struct {
	Version  string
	Groups   []docsGroup
	Problems []docsProblem
}

// docsGroup is the operations of one tag.
type docsGroup struct {
	ID, Name, About string
	Calls           []docsCall
}

// docsCall is one operation, or several that differ in their method only.
type docsCall struct {
	ID, Path, Summary, About string
	Methods                  []string
	Params, Body             docsFields
	Answer                   docsFields
	Status                   string // of the answer
	Gone                     bool   // the answer has no body
}

// docsFields are the fields of one object. Each object is on the page once: As
// is where another, or the part of this one that is missing here, stands.
type docsFields struct {
	Fields []docsField
	As     docsPlace
	Whole  bool // nothing but As
	List   bool // a page of such objects
}

func (f docsFields) any() bool { return len(f.Fields) > 0 || f.Whole }

// docsPlace is the body or the answer of an operation.
type docsPlace struct {
	ID, Summary, Part string
	Field             string // of that part whose object it is; empty: the part itself
}

// where says where a place is, seen from another.
func (p docsPlace) where(from docsPlace) string {
	switch {
	case p.ID == from.ID && p.Part == from.Part:
		return "of " + p.Field
	case p.Field != "":
		return "of " + p.Field + " in the " + p.Part + " of: " + p.Summary
	}
	return "in the " + p.Part + " of: " + p.Summary
}

// docsField is one field or parameter.
type docsField struct {
	Name, Type, Doc string
	Mark            string // "required", "optional", or ""
}

// docsProblem is one kind of error.
type docsProblem struct {
	Status   int
	Code, Do string
}

var docsGroups = []docsGroup{
	{Name: "assistants", About: "An assistant acts for its users. What it may do with their connections is decided here."},
	{Name: "profiles", About: "An authorization profile describes one web application: how people authorize there, and how calls reach it."},
	{Name: "trials", About: "Test authorization: the same run as anybody's, of which nothing is kept but what was sent, what came back, what is wrong and how to mend it."},
	{Name: "connect sessions", About: "One run of one person through one authorization: a link, a page, the application's own login, and back."},
	{Name: "users", About: "What an end user can see and end themselves."},
	{Name: "connections", About: "A person's standing authorization under a profile. It never shows a token."},
	{Name: "proxy", About: "The assistant's calls, with the credential put in on the way."},
	{Name: "tokens", About: "For calls that cannot go through the proxy."},
	{Name: "events", About: "What happened to the connections and profiles of an assistant."},
	{Name: "keys", About: "Who may ask. A key is an assistant's or an administrator's, and is shown once, when it is made."},
	{Name: "audit", About: "Who did what, and when."},
}

var docsProblems = []docsProblem{
	{Code: string(behalf.CodeInvalid), Do: "Something in the request is wrong. field and errors name it; nothing was changed."},
	{Code: string(behalf.CodeUnauthenticated), Do: "There is no key in the request, or none that is good."},
	{Code: string(behalf.CodeForbidden), Do: "The key, the assistant's settings or this server do not allow it."},
	{Code: string(behalf.CodeNotFound), Do: "There is nothing of that name within reach of the key."},
	{Code: string(behalf.CodeConflict), Do: "Something is in another state than this needs. With connections: several match, so name one with Behalf-Connection."},
	{Code: string(behalf.CodeAuthorizationRequired), Do: "The end user has not connected yet, or must connect again. Show them connect_url, or begin a connect session."},
	{Code: string(behalf.CodeLimited), Do: "Too many requests, here or at the provider. Come back after Retry-After."},
	{Code: string(behalf.CodeProvider), Do: "The provider failed or refused. detail holds its words."},
	{Code: string(behalf.CodeRefreshInProgress), Do: "Another call refreshes the credential right now. Ask again after Retry-After."},
	{Code: string(behalf.CodeUnavailable), Do: "Not now: the database, the network or a server that stops. Ask again."},
	{Code: string(behalf.CodeConnectorNotConnected), Do: "No agent of the profile's connector is connected to any node, or the connector is disabled. Start the agent, or look at its log."},
	{Code: string(behalf.CodeConnectorLimited), Do: "The connector's agent has used up its memory budget. Ask again, or give it more."},
	{Code: string(behalf.CodeConnectorLost), Do: "The tunnel broke during the call. Look whether it was carried out, then ask again."},
	{Code: string(behalf.CodeConnectorNotAllowed), Do: "The agent's own allow list does not hold the host, port, method or path. Only the administrator of the private network can add it."},
	{Code: string(behalf.CodeConnectorNotResolved), Do: "The agent's network does not know the application's name."},
	{Code: string(behalf.CodeConnectorRefused), Do: "The application's machine refused the connection: nothing listens there."},
	{Code: string(behalf.CodeConnectorUnreachable), Do: "The application did not answer inside the private network."},
	{Code: string(behalf.CodeConnectorTLS), Do: "The agent does not trust the application's certificate, or the application refused the agent's."},
}

// docsOf turns the OpenAPI document into the page.
func docsOf(doc *huma.OpenAPI) docsPage {
	page := docsPage{Version: doc.Info.Version, Problems: slices.Clone(docsProblems)}
	for i := range page.Problems {
		page.Problems[i].Status = statuses[behalf.Code(page.Problems[i].Code)]
	}
	w := docsWriter{schemas: doc.Components.Schemas, shown: map[reflect.Type]docsPlace{}}
	operations := docsOperations(doc)
	for _, g := range docsTags(operations) {
		g.ID = strings.ReplaceAll(g.Name, " ", "-")
		for _, o := range operations {
			if o.Tags[0] == g.Name {
				w.add(&g, o)
			}
		}
		page.Groups = append(page.Groups, g)
	}
	return page
}

// docsTags returns the groups in their order, and behind them those of tags
// that nobody has described.
func docsTags(operations []*huma.Operation) []docsGroup {
	out := slices.Clone(docsGroups)
	for _, o := range operations {
		if !slices.ContainsFunc(out, func(g docsGroup) bool { return g.Name == o.Tags[0] }) {
			out = append(out, docsGroup{Name: o.Tags[0]})
		}
	}
	return out
}

var docsMethods = []string{http.MethodPost, http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodDelete}

// docsOperations returns the operations by path, and those of one path in the
// order of docsMethods: the one that makes a thing, and so says what it is made
// of, comes first.
func docsOperations(doc *huma.OpenAPI) []*huma.Operation {
	var out []*huma.Operation
	for _, p := range doc.Paths {
		for _, o := range []*huma.Operation{p.Get, p.Post, p.Put, p.Patch, p.Delete} {
			if o != nil {
				out = append(out, o)
			}
		}
	}
	slices.SortFunc(out, func(a, b *huma.Operation) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), slices.Index(docsMethods, a.Method)-slices.Index(docsMethods, b.Method))
	})
	return out
}

// docsWriter remembers which operation shows an object, or a struct that others
// embed.
type docsWriter struct {
	schemas huma.Registry
	shown   map[reflect.Type]docsPlace
}

func (w docsWriter) add(g *docsGroup, o *huma.Operation) {
	if n := len(g.Calls); n > 0 && g.Calls[n-1].Path == o.Path && g.Calls[n-1].Summary == o.Summary {
		g.Calls[n-1].Methods = append(g.Calls[n-1].Methods, o.Method)
		return
	}
	c := docsCall{ID: o.OperationID, Path: o.Path, Summary: o.Summary, About: o.Description, Methods: []string{o.Method}}
	for _, p := range o.Parameters {
		c.Params.Fields = append(c.Params.Fields, docsParam(p))
	}
	if o.RequestBody != nil {
		c.Body = w.object(docsPlace{ID: c.ID, Summary: c.Summary, Part: "body"}, o.RequestBody.Content)
	}
	for _, status := range []string{"200", "201", "204"} {
		if answer := o.Responses[status]; answer != nil {
			c.Status, c.Gone = status, status == "204"
			c.Answer = w.object(docsPlace{ID: c.ID, Summary: c.Summary, Part: "answer"}, answer.Content)
		}
	}
	g.Calls = append(g.Calls, c)
}

func docsParam(p *huma.Param) docsField {
	f := docsField{Name: p.Name, Type: docsType(p.Schema) + docsWhere[p.In], Doc: sentences(p.Description, docsValues(p.Schema))}
	if p.Required {
		f.Mark = "required"
	}
	return f
}

var docsWhere = map[string]string{"path": " in the path", "query": " in the query", "header": ", header"}

// object returns the fields of a JSON body that stands at a place.
func (w docsWriter) object(at docsPlace, content map[string]*huma.MediaType) docsFields {
	media := content["application/json"]
	if media == nil || media.Schema.Ref == "" {
		return docsFields{}
	}
	out, ref := docsFields{}, media.Schema.Ref
	if whole := w.schemas.SchemaFromRef(ref).Properties; whole["items"] != nil && len(whole) == 2 {
		items := whole["items"]
		out.List, ref, at.Part = true, items.Items.Ref, "items in the answer"
	}
	object := w.schemas.TypeFromRef(ref)
	if out.As, out.Whole = w.shown[object]; out.Whole {
		return out
	}
	w.shown[object] = at
	names := jsonNames(object, func(embedded reflect.Type) bool {
		elsewhere, ok := w.shown[embedded]
		if ok {
			out.As = elsewhere
		} else {
			w.shown[embedded] = at
		}
		return !ok
	})
	out.Fields = w.fields(ref, "", names, at)
	return out
}

// fields lists an object's fields, and behind one that is an object itself
// that object's, with dotted names: of each object once on the page.
func (w docsWriter) fields(ref, prefix string, names []string, at docsPlace) []docsField {
	var out []docsField
	schema, answer := w.schemas.SchemaFromRef(ref), strings.HasSuffix(at.Part, "answer")
	for _, name := range names {
		s := schema.Properties[name]
		f := docsField{Name: prefix + name, Type: docsType(s), Doc: sentences(s.Description, docsValues(s))}
		switch required := slices.Contains(schema.Required, name); {
		case required && !answer:
			f.Mark = "required"
		case !required && answer:
			f.Mark = "optional"
		}
		inner, below := s.Ref, f.Name+"."
		if s.Items != nil {
			inner, below = s.Items.Ref, f.Name+"[]."
		}
		if inner == "" {
			out = append(out, f)
			continue
		}
		object, here := w.schemas.TypeFromRef(inner), at
		here.Field = f.Name
		if elsewhere, ok := w.shown[object]; ok {
			f.Doc = sentences(f.Doc, "Its fields are those "+elsewhere.where(here)+".")
			out = append(out, f)
			continue
		}
		w.shown[object] = here
		names := jsonNames(object, func(embedded reflect.Type) bool {
			elsewhere, ok := w.shown[embedded]
			if ok {
				f.Doc = sentences(f.Doc, "Beside its own it takes the fields "+elsewhere.where(here)+".")
			} else {
				w.shown[embedded] = here
			}
			return !ok
		})
		out = append(out, f)
		out = append(out, w.fields(inner, below, names, at)...)
	}
	return out
}

// jsonNames returns the JSON names of a struct's fields in the order of the Go
// type, those of the embedded structs that are wanted in their place.
func jsonNames(t reflect.Type, wanted func(embedded reflect.Type) bool) []string {
	var out []string
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			if wanted(f.Type) {
				out = append(out, jsonNames(f.Type, wanted)...)
			}
		case f.IsExported() && name != "" && name != "-":
			out = append(out, name)
		}
	}
	return out
}

// docsType says in a word or two what a value is.
func docsType(s *huma.Schema) string {
	switch {
	case s == nil:
		return ""
	case s.Ref != "":
		return "object"
	case s.Items != nil:
		return "list of " + docsType(s.Items) + "s"
	case s.AdditionalProperties != nil:
		return "object of strings"
	case s.Format == "date-time":
		return "time"
	}
	return s.Type
}

// docsValues says which values are taken.
func docsValues(s *huma.Schema) string {
	var out []string
	if s != nil && len(s.Enum) > 0 {
		var values []string
		for _, v := range s.Enum {
			values = append(values, v.(string))
		}
		out = append(out, "One of "+strings.Join(values, ", ")+".")
	}
	if s != nil && s.Minimum != nil && s.Maximum != nil {
		out = append(out, "From "+strconv.FormatFloat(*s.Minimum, 'f', -1, 64)+" to "+strconv.FormatFloat(*s.Maximum, 'f', -1, 64)+".")
	}
	return strings.Join(out, " ")
}

func sentences(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
}

// The examples are one journey, in a shell.
const (
	exampleStart = `export BEHALF=https://behalf.example.com   # this server
export ADMIN_KEY=bhf_...                   # an administrator's key`

	exampleAssistant = `curl "$BEHALF/v1/assistants" \
  -H "Authorization: Bearer $ADMIN_KEY" --json '{
  "name": "Support Bot",
  "return_urls": ["https://bot.example.com/connected"]
}'

curl "$BEHALF/v1/keys" \
  -H "Authorization: Bearer $ADMIN_KEY" --json '{
  "name": "Support Bot in production",
  "assistant": "support-bot"
}'
export KEY=bhf_...   # "key" of the second answer`

	exampleProfile = `curl "$BEHALF/v1/assistants/support-bot/profiles" \
  -H "Authorization: Bearer $ADMIN_KEY" --json '{
  "type": "oauth2",
  "name": "Asana",
  "provider": "Asana",
  "client_id": "1204",
  "client_secret": "from the developer console",
  "authorization_url": "https://app.asana.com/-/oauth_authorize",
  "token_url": "https://app.asana.com/-/oauth_token",
  "scope": [{"key": "scope", "value": "default"}],
  "api": {"base_url": "https://app.asana.com/api/1.0"}
}'`

	exampleSession = `base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
VERIFIER=$(openssl rand 32 | base64url)   # keep it for user 42
CHALLENGE=$(printf %s "$VERIFIER" | openssl dgst -sha256 -binary | base64url)

curl "$BEHALF/v1/assistants/support-bot/connect-sessions" \
  -H "Authorization: Bearer $KEY" --json '{
  "profile": "asana",
  "user": "42",
  "user_name": "Jane Doe",
  "return_url": "https://bot.example.com/connected",
  "finish_challenge": "'"$CHALLENGE"'"
}'`

	exampleFinish = `curl "$BEHALF/v1/assistants/support-bot/connect-sessions/$SESSION/finish" \
  -H "Authorization: Bearer $KEY" --json '{
  "code": "'"$FINISH_CODE"'",
  "verifier": "'"$VERIFIER"'",
  "user": "42"
}'`

	exampleCall = `curl "$BEHALF/v1/assistants/support-bot/proxy/asana/users/me" \
  -H "Authorization: Bearer $KEY" \
  -H "Behalf-User: 42"`

	exampleProblem = `HTTP/1.1 409 Conflict
Content-Type: application/problem+json
Behalf-Error: authorization_required

{
  "type": "https://behalf.dev/problems/authorization_required",
  "title": "The end user must authorize first",
  "status": 409,
  "code": "authorization_required",
  "detail": "The end user has not connected this application yet.",
  "connect_url": "https://behalf.example.com/connect/..."
}`
)

func (g docsGroup) title() string { return strings.ToUpper(g.Name[:1]) + g.Name[1:] }

// note is what stands below a field's name.
func (f docsField) note() string { return strings.TrimSuffix(f.Type+", "+f.Mark, ", ") }
