package connect

import (
	"net/http"
	"slices"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
)

// way is how the person authorizes, as far as the page says it differently. It
// is also the name of its messages.
type way string

const (
	wayRedirect     way = "next"          // on the application's own page
	wayKey          way = "key"           // with a key
	wayLogin        way = "login"         // with a username and a password that go on every call
	wayPassword     way = "password"      // with a password that is forgotten once there is a token
	wayPasswordKept way = "password_kept" // with a password that is kept for the next token
	wayClient       way = "client"        // with nothing but what the profile asks
)

func wayOf(p *behalf.Plan) way {
	switch {
	case p.Type == behalf.APIKey:
		return wayKey
	case p.Type == behalf.Basic:
		return wayLogin
	case p.Type == behalf.OAuth2Password && p.Reissues():
		return wayPasswordKept
	case p.Type == behalf.OAuth2Password:
		return wayPassword
	case p.Type == behalf.OAuth2ClientCredentials:
		return wayClient
	}
	return wayRedirect
}

// steps returns the messages of what happens next.
func (w way) steps() []string {
	id := "ask." + string(orRedirect(w)) + "."
	return []string{id + "1", id + "2", id + "3"}
}

func orRedirect(w way) way {
	if w == "" {
		return wayRedirect
	}
	return w
}

// leaves reports whether the person goes on to the application's own page.
func (w way) leaves() bool { return orRedirect(w) == wayRedirect }

// warning returns the message that a person must read before they type, or "".
func (w way) warning() string {
	if w == wayPassword || w == wayPasswordKept || w == wayLogin {
		return "ask.warning." + string(w)
	}
	return ""
}

// keyboards are what a phone offers for a type of data.
var keyboards = map[behalf.DataType]string{behalf.DataNumber: "decimal", behalf.DataInteger: "numeric", behalf.DataEmail: "email", behalf.DataURL: "url"}

// kind returns the type attribute of an input. A number stays text: browsers
// drop what they do not take for one without a word.
func (in input) kind() string {
	switch in.Data {
	case behalf.DataEmail, behalf.DataURL, behalf.DataDate:
		return string(in.Data)
	}
	return "text"
}

// chosen reports whether the value is among the options.
func (in input) chosen() bool {
	return slices.ContainsFunc(in.Options, func(o behalf.Option) bool { return o.Value == in.Value })
}

// shown returns the text of the option that stands in a field which cannot be
// changed.
func (in input) shown() string {
	for _, o := range in.Options {
		if o.Value == in.Value {
			return o.Text()
		}
	}
	return in.Value
}

func listed(values []string) []behalf.Option {
	var out []behalf.Option
	for _, v := range values {
		out = append(out, behalf.Option{Value: v})
	}
	return out
}

// wordsOf returns a speaker of messages in the session's language.
func wordsOf(r *http.Request, x run) func(id string) string {
	l := spoken(r, x.session.Locale)
	v := names(l, x.assistant.Name, x.profile.Provider, person(x.session))
	return func(id string) string { return l.Text(id, look.Values(v)) }
}

// in says in the reader's language what is not the profile's own words: the
// fields that the type asks for, and yes and no.
func (in input) in(l look.Language, p *behalf.Plan, f behalf.AdditionalField) input {
	if !slices.ContainsFunc(p.AdditionalFields, func(own behalf.AdditionalField) bool { return own.Key == f.Key }) {
		in.Label = l.Text("field."+f.Key, nil)
	}
	if len(f.Options) == 0 && len(in.Options) > 0 {
		for i := range in.Options {
			in.Options[i].Label = l.Text("option."+in.Options[i].Value, nil)
		}
	}
	return in
}
