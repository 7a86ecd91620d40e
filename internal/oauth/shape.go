package oauth

import (
	"net/http"
	"slices"
	"strings"

	"github.com/behalf-dev/behalf/internal/secret"
)

// This file says, as data, how requests and replies differ from their RFCs. The
// rules are:
//
//   - The zero value is the standard's behaviour.
//   - One machine makes every request: the token request, the refresh, the
//     revocation and the steps around them.
//   - What exists only when a request is made is filled in by whoever made the
//     Config (Text); this package knows no placeholder.

// Fact is a value that a run knows: the code, or what a reply told.
type Fact struct {
	Text   string
	Secret bool
	Parts  []secret.Text // what of a Text that was filled was made of secrets
}

// Facts are values by their name.
type Facts map[string]Fact

// Lookup returns what is known under a name.
func (f Facts) Lookup(name string) (Fact, bool) {
	v, ok := f[name]
	return v, ok && v.Text != ""
}

// with returns f with more.
func (f Facts) with(more Facts) Facts {
	all := make(Facts, len(f)+len(more))
	for name, v := range f {
		all[name] = v
	}
	for name, v := range more {
		all[name] = v
	}
	return all
}

// secrets are those of the facts.
func (f Facts) secrets() []secret.Text {
	var out []secret.Text
	for _, v := range f {
		if v.Secret {
			out = append(out, secret.New(v.Text))
		}
	}
	return out
}

// Lookup returns a value of the run by name: code, redirectUri, state,
// codeVerifier, clientSecret, refreshToken, accessToken, idToken, tokenType,
// token, requestBody, requestTime, requestTimeMs, and what was captured.
type Lookup func(name string) (Fact, bool)

// Text is filled when a request is made. The error is for people.
type Text func(Lookup) (Fact, error)

// Shape says how one request and its reply differ.
type Shape struct {
	Method  string     // POST by default
	Auth    ClientAuth // Config.ClientAuth by default; of a Step, none at all
	Headers []Param
	Rename  map[string]string // standard parameters by their RFC's name
	Omit    []string          // standard parameters that are not sent
	Success []Rule            // what a success says, all of it; none: a 2xx status and no error member
	Errors  []ErrorRule       // the first that holds decides
	Reply   ReplyPaths        // empty: Config.Reply
	Capture []Capture
}

// Rule is one thing that an answer can say; all that is set must hold.
type Rule struct {
	Status   int
	Header   string // must be there; with neither JSON nor Body to look into, say what follows
	JSON     string // JSON pointer; must be there; "/" is the whole answer
	Equals   string // the text at JSON, of the header, or of the body
	Contains string // a part of it, whatever its case
}

// ErrorRule gives a meaning to an answer.
type ErrorRule struct {
	Rule
	Kind Kind
}

// Answer is what rules look at.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte

	parsed bool
	value  any
}

// Holds reports whether the answer says what the rule wants. A rule without any
// condition never holds.
func (r Rule) Holds(a *Answer) bool {
	if r == (Rule{}) || r.Status != 0 && r.Status != a.Status {
		return false
	}
	header, ok := a.header(r.Header)
	if !ok {
		return false
	}
	switch {
	case r.JSON != "":
		v := at(a.json(), r.JSON)
		return v != nil && v != any(repeated{}) && r.says(whole(v))
	case r.Header != "":
		return slices.ContainsFunc(header, r.says)
	}
	return r.says(string(a.Body))
}

func (r Rule) says(s string) bool {
	return (r.Equals == "" || s == r.Equals) && (r.Contains == "" || strings.Contains(strings.ToLower(s), strings.ToLower(r.Contains)))
}

// whole is text, and for an array or an object what it is made of.
func whole(v any) string {
	switch v := v.(type) {
	case []any:
		parts := make([]string, len(v))
		for i, p := range v {
			parts[i] = text(p)
		}
		return strings.Join(parts, " ")
	}
	return text(v)
}

func (a *Answer) header(name string) ([]string, bool) {
	if name == "" {
		return nil, true
	}
	values, ok := a.Header[http.CanonicalHeaderKey(name)]
	return values, ok
}

// json returns the body as JSON or as a form, nil where it is neither. It is
// read once, and only if a rule asks.
func (a *Answer) json() any {
	if !a.parsed {
		a.value, a.parsed = parseAnswer(a.Body), true
	}
	return a.value
}

// Capture keeps a value that the provider returned.
type Capture struct {
	Name     string
	JSON     string // JSON pointer into the reply
	Header   string // a header of the reply; Set-Cookie gives the cookies as a Cookie header has them
	Param    string // a parameter of the callback
	Required bool
	Secret   bool
	Check    func(value string) (string, error) // returns the value as it is kept; nil: as it came
	Choose   *Choose                            // the reply lists several
}

// Choose says how the entries of a list are told apart.
type Choose struct{ Items, Value, Label string }

// Choice is a value that a person chooses.
type Choice struct {
	Name    string
	Options []Option
}

// Option is one value with what a person reads.
type Option struct{ Value, Label string }

// Step is a request of the profile's own.
type Step struct {
	Name   string
	URL    Text
	Body   TokenBody
	Params []Param
	Token  bool // the reply is a token reply that replaces the one before
	Shape
}

// Slot is a further token of the same grant.
type Slot struct {
	Name   string
	Reply  ReplyPaths // where it stands in the token reply; without AccessToken it is not there
	Derive []Param    // of a refresh request that brings it
}

// Literal is a Text that is known already.
func Literal(s string) Text {
	return func(Lookup) (Fact, error) { return Fact{Text: s}, nil }
}

// fill returns the parameters with their texts.
func fill(params []Param, l Lookup) (filled []Param, secrets []secret.Text, err error) {
	for _, p := range params {
		if p.Text != nil {
			v, err := p.Text(l)
			if err != nil {
				return nil, nil, err
			}
			if v.Secret && v.Text != "" {
				secrets = append(secrets, secret.New(v.Text))
			}
			secrets = append(secrets, v.Parts...)
			p = Param{Name: p.Name, Value: v.Text}
		}
		filled = append(filled, p)
	}
	return filled, secrets, nil
}
