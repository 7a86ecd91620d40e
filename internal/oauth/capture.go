package oauth

import (
	"net/http"
	"net/url"
	"strings"
)

const (
	maxCaptured = 8 << 10 // of a value that is kept
	maxOptions  = 200     // of what a person chooses from
)

// captured reads what a reply's captures keep. What a person must choose comes
// back as choices.
func captured(r reply, captures []Capture) (Facts, []Choice, *Error) {
	facts, value := Facts{}, parseAnswer(r.body)
	var choices []Choice
	for _, c := range captures {
		var raw string
		switch {
		case c.Choose != nil:
			choice, why := c.Choose.options(value, c)
			switch {
			case why != "":
				return nil, nil, r.fail(Invalid, why)
			case len(choice.Options) > 1:
				choices = append(choices, choice)
				continue
			case len(choice.Options) == 1:
				raw = choice.Options[0].Value
			}
		case strings.EqualFold(c.Header, "Set-Cookie"):
			raw = cookies(r.header)
		case c.Header != "":
			raw = r.header.Get(c.Header)
		default:
			raw = text(at(value, c.JSON))
		}
		fact, why := c.keep(raw)
		if why != "" {
			return nil, nil, r.fail(Invalid, why)
		}
		if fact.Text != "" {
			facts[c.Name] = fact
		}
	}
	return facts, choices, nil
}

// Kept returns what of a callback's parameters is kept. One that comes twice
// is not believed.
func (c Config) Kept(v url.Values) (Facts, error) {
	facts := Facts{}
	for _, want := range c.CallbackShape.Capture {
		values := v[want.Param]
		if len(values) > 1 {
			return nil, callbackError(want.Param + " came more than once")
		}
		fact, why := want.keep(v.Get(want.Param))
		if why != "" {
			return nil, callbackError(why)
		}
		if fact.Text != "" {
			facts[want.Name] = fact
		}
	}
	return facts, nil
}

// keep checks a value; reason says why it cannot be kept.
func (c Capture) keep(raw string) (f Fact, reason string) {
	switch {
	case raw == "" && c.Required:
		return Fact{}, "it does not tell " + c.Name
	case raw == "":
		return Fact{}, ""
	case len(raw) > maxCaptured && !c.Secret || len(raw) > maxToken:
		return Fact{}, c.Name + " is too long"
	case clean(raw, len(raw), nil) != strings.TrimSpace(raw):
		return Fact{}, c.Name + " holds characters that are not allowed"
	}
	f = Fact{Text: strings.TrimSpace(raw), Secret: c.Secret}
	if c.Check != nil {
		var err error
		if f.Text, err = c.Check(f.Text); err != nil {
			return Fact{}, c.Name + " " + err.Error()
		}
	}
	return f, ""
}

// cookies returns what a reply sets, as a Cookie header has it.
func cookies(h http.Header) string {
	var pairs []string
	for _, c := range (&http.Response{Header: h}).Cookies() {
		if c.Value != "" && c.MaxAge >= 0 {
			pairs = append(pairs, c.Name+"="+c.Value)
		}
	}
	return strings.Join(pairs, "; ")
}

// options reads the list that a person chooses from. Entries without a value,
// and values that are there already, are left out.
func (ch Choose) options(value any, c Capture) (Choice, string) {
	items, ok := at(value, ch.Items).([]any)
	if !ok {
		if c.Required {
			return Choice{}, "it does not list what " + c.Name + " is chosen from"
		}
		return Choice{}, ""
	}
	choice, seen := Choice{Name: c.Name}, map[string]bool{}
	for _, item := range items {
		f, why := c.keep(text(at(item, ch.Value)))
		switch {
		case why != "" || f.Text == "" || seen[f.Text]:
			continue
		case len(choice.Options) == maxOptions:
			return Choice{}, "it lists more than can be chosen from"
		}
		seen[f.Text] = true
		label := f.Text
		if ch.Label != "" {
			label = or(clean(text(at(item, ch.Label)), 200, nil), f.Text)
		}
		choice.Options = append(choice.Options, Option{f.Text, label})
	}
	if len(choice.Options) == 0 && c.Required {
		return Choice{}, "it lists nothing that " + c.Name + " could be"
	}
	return choice, ""
}
