package behalf

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/behalf-dev/behalf/internal/expand"
	"github.com/behalf-dev/behalf/internal/secret"
)

// This file holds session and context variables: what an assistant tells
// beside what the person enters. The rules are:
//
//   - {{context.…}} is what the assistant sends with a connect session or a
//     call; {{context.session.Namespace.…}} and {{env.NAME}} may be kept by us
//     as well. What comes with the call wins over what came with the session,
//     and that over what is kept; but what an administrator keeps wins over
//     what an assistant says.
//   - UserContext is what the assistant said of the person. Nobody else can.
//   - What a session brought stays with its connection, or its refreshes could
//     not be filled. What a call brought is gone with it: a refresh of our own
//     has what the session brought and what is kept.
//   - A connection that serves all users is filled with nothing of one of them.
//     Calls are: what goes out with one is of the user whom it is for.
//   - A secret variable never goes through a browser.

// Namespace says whose a variable is that is kept.
type Namespace string

const (
	NamespaceEnv        Namespace = "env"               // {{env.NAME}}: of the assistant, set by an administrator
	NamespaceEnterprise Namespace = "EnterpriseContext" // of the assistant, set by an administrator
	NamespaceBot        Namespace = "BotContext"        // of the assistant
	NamespaceUser       Namespace = "UserSession"       // of one user
	NamespaceBotUser    Namespace = "BotUserSession"    // of one user
	namespaceTold       Namespace = "UserContext"       // what the assistant said of the user
)

var namespaces = []Namespace{NamespaceEnv, NamespaceEnterprise, NamespaceBot, NamespaceUser, NamespaceBotUser}

// PerUser reports whether each user has variables of their own there.
func (n Namespace) PerUser() bool { return n == NamespaceUser || n == NamespaceBotUser }

// Governed reports whether only an administrator may set variables there.
func (n Namespace) Governed() bool { return n == NamespaceEnv || n == NamespaceEnterprise }

// Lifetime is how long a variable lives there that says nothing else; 0: for
// ever.
func (n Namespace) Lifetime() time.Duration {
	if n.PerUser() {
		return 24 * time.Hour
	}
	return 0
}

// prefix begins the placeholders of a namespace.
func (n Namespace) prefix() string {
	if n == NamespaceEnv {
		return "env."
	}
	return "context.session." + string(n) + "."
}

// Variable is a variable that is kept.
type Variable struct {
	ID        VariableID
	Assistant AssistantID
	Namespace Namespace
	User      string // of a namespace that each user has
	Name      string
	Value     secret.Text
	Secret    bool      // never shown again, and masked in transcripts
	ExpiresAt time.Time // zero: never
	UpdatedAt time.Time
}

// Placeholder returns the name by which a profile uses it.
func (v Variable) Placeholder() string { return v.Namespace.prefix() + v.Name }

const maxVariableLifetime = 366 * 24 * time.Hour

// Validate checks a variable that is to be kept.
func (v Variable) Validate(now time.Time) error {
	var p problems
	switch {
	case v.Namespace == namespaceTold:
		p.add("namespace", "UserContext is read-only: it is filled with what the assistant says of the user (user, user_name, locale).")
	case !slices.Contains(namespaces, v.Namespace):
		p.add("namespace", "Expected env, EnterpriseContext, BotContext, UserSession or BotUserSession.")
	case v.Namespace.PerUser():
		p.name("user", v.User)
	case v.User != "":
		p.add("user", "This namespace is the same for all users; leave it out.")
	}
	if !expand.IsName(v.Name) || len(v.Name) > 100 {
		p.add("name", "Expected letters, digits, hyphens and underscores, with dots between words, at most 100.")
	}
	p.value("value", v.Value.Reveal())
	if !v.ExpiresAt.IsZero() && (!v.ExpiresAt.After(now) || v.ExpiresAt.After(now.Add(maxVariableLifetime))) {
		p.add("expires_in", "Expected 1 second to 366 days.")
	}
	return p.err()
}

// value checks what a variable stands for.
func (p *problems) value(field, s string) {
	if s == "" {
		p.add(field, "Required: a variable without a value is none.")
		return
	}
	p.line(field, s, maxText)
}

// Stored are the variables that are kept for one user, by placeholder.
type Stored map[string]expand.Value

// Store adds a variable.
func (s Stored) Store(v Variable) {
	s[v.Placeholder()] = expand.Value{Text: v.Value.Reveal(), Secret: v.Secret}
}

// Variables are what an assistant sends, by placeholder.
type Variables map[string]string

const (
	maxVariables      = 200
	maxVariablesBytes = 16 << 10
)

// ParseVariables reads the context object that an assistant sends: its members
// are named as placeholders name them, {"session": {"BotContext": {"plan":
// "gold"}}} for {{context.session.BotContext.plan}}.
func ParseVariables(raw []byte) (Variables, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	if len(raw) > maxVariablesBytes {
		return nil, Invalid("variables", "Expected at most 16 KiB.")
	}
	if !utf8.Valid(raw) {
		return nil, Invalid("variables", "Expected valid UTF-8.")
	}
	var object map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&object); err != nil || d.More() || object == nil {
		return nil, Invalid("variables", "Expected a JSON object.")
	}
	v := Variables{}
	var p problems
	v.flatten(&p, "context", object, 0)
	if len(v) > maxVariables {
		p.add("variables", "Expected at most %d variables.", maxVariables)
	}
	slices.SortStableFunc(p, func(a, b FieldError) int { return strings.Compare(a.Field, b.Field) })
	return v, p.err()
}

// DecodeVariables reads the header Behalf-Variables: base64url of the object.
func DecodeVariables(header string) (Variables, error) {
	if header == "" {
		return nil, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(header, "="))
	if err != nil {
		return nil, Invalid("Behalf-Variables", "Expected base64url of a JSON object.")
	}
	return ParseVariables(raw)
}

func (v Variables) flatten(p *problems, path string, object map[string]any, depth int) {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		at := path + "." + key
		field := "variables" + strings.TrimPrefix(at, "context")
		if !expand.IsName(key) || strings.Contains(key, ".") || len(at) > 200 {
			p.add("variables", "Expected names of letters, digits, hyphens and underscores.")
			continue
		}
		if why := sendable(at); why != "" {
			p.add(field, "%s", why)
			continue
		}
		if _, further := object[key].(map[string]any); !further && (at == "context.session" || unknownVariable(at) != "") {
			p.add(field, "Expected an object: namespaces with their variables.")
			continue
		}
		switch value := object[key].(type) {
		case map[string]any:
			if depth == 8 {
				p.add(field, "Expected fewer objects inside each other.")
				continue
			}
			v.flatten(p, at, value, depth+1)
		case string:
			p.value(field, value)
			v[at] = value
		case json.Number:
			v[at] = value.String()
		case bool:
			v[at] = fmt.Sprint(value)
		default:
			p.add(field, "Expected a text, a number, true or false, or an object of these.")
		}
	}
}

// sendable returns why an assistant may not send a variable, or "".
func sendable(placeholder string) string {
	rest, session := strings.CutPrefix(placeholder, "context.session.")
	if !session {
		return ""
	}
	space, _, _ := strings.Cut(rest, ".")
	switch {
	case Namespace(space) == namespaceTold:
		return "UserContext is read-only: it is filled with user, user_name and locale of the connect session."
	case Namespace(space) == NamespaceEnv || !slices.Contains(namespaces, Namespace(space)):
		return "Expected EnterpriseContext, BotContext, UserSession or BotUserSession."
	}
	return ""
}

// isVariable reports whether a placeholder's name is a variable's.
func isVariable(name string) bool {
	return strings.HasPrefix(name, "env.") || strings.HasPrefix(name, "context.")
}

// unknownVariable returns why a variable's name means nothing, or "".
func unknownVariable(name string) string {
	rest, session := strings.CutPrefix(name, "context.session.")
	space, member, _ := strings.Cut(rest, ".")
	switch {
	case !session:
		return ""
	case Namespace(space) == namespaceTold && contains(told, member):
		return ""
	case Namespace(space) == namespaceTold:
		return "UserContext has user, user_name and locale."
	case Namespace(space) == NamespaceEnv || !slices.Contains(namespaces, Namespace(space)) || member == "":
		return "Behind {{context.session. stands a namespace: EnterpriseContext, BotContext, UserSession, BotUserSession or UserContext, and then a name."
	}
	return ""
}

// told is what UserContext has.
var told = []string{"user", "user_name", "locale"}

// namespaceOf returns whose a placeholder is, "" where it is of none that is kept.
func namespaceOf(placeholder string) Namespace {
	if strings.HasPrefix(placeholder, NamespaceEnv.prefix()) {
		return NamespaceEnv
	}
	rest, session := strings.CutPrefix(placeholder, "context.session.")
	space, _, _ := strings.Cut(rest, ".")
	if !session || Namespace(space) == NamespaceEnv {
		return ""
	}
	return Namespace(space)
}

// variable returns what a variable stands for.
func (v Values) variable(name string) (expand.Value, bool) {
	space := namespaceOf(name)
	stored, kept := v.Stored[name]
	if space.Governed() && kept {
		return stored, true
	}
	if name == namespaceTold.prefix()+"user" {
		return expand.Value{Text: v.User}, v.User != ""
	}
	if s, ok := v.Sent[name]; ok {
		return expand.Value{Text: s}, true
	}
	if s, ok := v.Inputs.Fields[name]; ok && !(v.Serves && (space.PerUser() || space == namespaceTold)) {
		return expand.Value{Text: s.Reveal()}, true
	}
	return stored, kept
}

// missingVariable says where a variable would come from.
func missingVariable(name string) string {
	if name, ok := strings.CutPrefix(name, "env."); ok {
		return fmt.Sprintf("{{env.%s}} has no value: an administrator sets it (PUT …/variables/env/%s).", name, name)
	}
	rest, session := strings.CutPrefix(name, "context.session.")
	space, member, _ := strings.Cut(rest, ".")
	switch {
	case !session:
		return fmt.Sprintf("{{%s}} has no value: the assistant sends it in variables, with the connect session or with the call (Behalf-Variables).", name)
	case Namespace(space) == namespaceTold:
		return fmt.Sprintf("{{%s}} has no value: the assistant says it of the user when it begins the connect session.", name)
	}
	return fmt.Sprintf("{{%s}} has no value: the assistant sends it in variables, with the connect session or with the call (Behalf-Variables), or keeps it (PUT …/variables/%s/%s).", name, space, member)
}

// Remembered returns what of a session stays with its connection: beside the
// fields, the variables that came with it and what it said of the user. Keys of
// fields have no dot, names of variables do.
func (n NewSession) Remembered() map[string]secret.Text {
	kept := maps.Clone(n.Fields)
	if kept == nil {
		kept = map[string]secret.Text{}
	}
	for name, value := range n.Variables {
		kept[name] = secret.New(value)
	}
	for member, value := range map[string]string{"user_name": n.UserName, "locale": n.Locale} {
		if value != "" {
			kept[namespaceTold.prefix()+member] = secret.New(value)
		}
	}
	return kept
}

// UsesVariables reports whether a call needs the variables that are kept.
func (p *Plan) UsesVariables() bool { return len(p.variables) > 0 }

// UsedVariables returns the names of all variables that the profile has a place
// for, each once; it can do without some of them.
func (p *Plan) UsedVariables() []string { return slices.Sorted(slices.Values(p.variables)) }

// browserBound reports whether what is filled there goes through a browser.
func browserBound(field string) bool {
	return field == "authorization_url" || strings.HasPrefix(field, "scope[") || field == "oauth.issuer" ||
		strings.HasPrefix(field, "oauth.authorization_params") || strings.HasPrefix(field, "oauth.authorize.")
}

// Hop is what a plan is filled for.
type Hop int

const (
	HopConnect Hop = iota // all that happens until there is a connection
	HopRefresh            // a refresh, or a token that nobody has to be there for
	HopRevoke
)

// needs reports whether a hop needs what is filled there. What it does not need
// may have no value: an end of a session's variables must not end refreshes
// that use none.
func (h Hop) needs(field string) bool {
	revokes := field == "oauth.revocation_url" || strings.HasPrefix(field, "oauth.revoke.")
	refreshes := field == "refresh_url" || strings.HasPrefix(field, "oauth.refresh")
	switch h {
	case HopConnect:
		return !revokes && !refreshes
	case HopRefresh:
		return !revokes && !strings.HasPrefix(field, "oauth.post_connect") && field != "authorization_url" && field != "oauth.userinfo_url" &&
			!strings.HasPrefix(field, "oauth.authorization_params") && !strings.HasPrefix(field, "oauth.authorize.")
	}
	return revokes
}

// lacks reports whether one of the names is a variable without a value.
func (f *filler) lacks(field string, names []string) bool {
	lookup := f.lookup(field)
	return slices.ContainsFunc(names, func(n string) bool {
		_, ok := lookup(n)
		return isVariable(n) && !ok
	})
}

// MissingVariables returns an error that names a variable without a value which
// the hop needs, so that nobody is sent anywhere in vain. What else would be
// wrong is not looked for.
func (p *Plan) MissingVariables(v Values) error {
	f := filler{plan: p, values: v}
	for _, use := range p.uses {
		if use.call || !v.Hop.needs(use.field) || !f.lacks(use.field, []string{use.name}) {
			continue
		}
		return f.explain(use.field, &expand.MissingError{Name: use.name})
	}
	return nil
}

// variableUse is a place of a profile that cannot be filled without a variable.
type variableUse struct {
	field, name string
	call        bool // of calls, and of nothing before
}

// useVariables notes what a field of the profile names.
func (p *Plan) useVariables(field string, names, needs []string) {
	for _, n := range names {
		if isVariable(n) && !slices.Contains(p.variables, n) {
			p.variables = append(p.variables, n)
		}
	}
	for _, n := range needs {
		if isVariable(n) {
			p.uses = append(p.uses, variableUse{field, n, field == "api.base_url" || strings.HasPrefix(field, "authorization_fields") && !p.checked(field)})
		}
	}
}

// checked reports whether the authorization check carries an authorization field.
func (p *Plan) checked(field string) bool {
	for i, f := range p.fields {
		if strings.HasPrefix(field, FieldName(i)) {
			return p.checkURL != nil && f.Applies(http.MethodGet, "")
		}
	}
	return false
}

// Variables returns the names of the variables without which the profile cannot
// do all that it should, each once.
func (p *Plan) Variables() []string {
	var out []string
	for _, use := range p.uses {
		if !slices.Contains(out, use.name) {
			out = append(out, use.name)
		}
	}
	slices.Sort(out)
	return out
}

// lookup is the values' own, but for secret variables where a browser would
// see them.
func (f *filler) lookup(field string) expand.Lookup {
	if !browserBound(field) {
		return f.values.Lookup
	}
	return func(name string) (expand.Value, bool) {
		found, ok := f.values.Lookup(name)
		if ok && found.Secret && isVariable(name) {
			f.leaks = name
			return expand.Value{}, false
		}
		return found, ok
	}
}

// explain is Explain, knowing what was withheld.
func (f *filler) explain(field string, err error) error {
	missing := (*expand.MissingError)(nil)
	switch errors.As(err, &missing); {
	case f.leaks != "":
		return Invalid(field, "{{%s}} is a secret variable, and this goes through the browser.", f.leaks)
	case missing != nil && f.values.Serves && isVariable(missing.Name) && namespaceOf(missing.Name) != NamespaceEnv:
		return &Error{Code: CodeInvalid, Field: field, Message: servesAll(missing.Name), Err: err}
	}
	return f.plan.Explain(field, err)
}

// servesAll says why a connection that is everybody's is not filled with what
// somebody said.
func servesAll(name string) string {
	return fmt.Sprintf("{{%s}} has no value: the connection serves all users, so neither what comes with a call nor what is kept of one user fills it. "+
		"Keep it as BotContext or EnterpriseContext, or as {{env.…}}.", name)
}
