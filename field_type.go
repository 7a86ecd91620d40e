package behalf

import (
	"net/mail"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DataType is what the value of an additional field must read as.
type DataType string

const (
	DataText    DataType = "text"
	DataNumber  DataType = "number"
	DataInteger DataType = "integer"
	DataBoolean DataType = "boolean"
	DataEmail   DataType = "email"
	DataURL     DataType = "url"
	DataDate    DataType = "date"
)

var dataTypes = []string{"", string(DataText), string(DataNumber), string(DataInteger), string(DataBoolean), string(DataEmail), string(DataURL), string(DataDate)}

// Option is one of the values that a person chooses from.
type Option struct {
	Value string `json:"value" doc:"What the placeholder becomes."`
	Label string `json:"label,omitempty" doc:"What the page shows; the value by default."`
}

// Text returns what the page shows.
func (o Option) Text() string {
	if o.Label != "" {
		return o.Label
	}
	return o.Value
}

// Choices returns what a person may choose from; none: anything may be typed.
func (f AdditionalField) Choices() []Option {
	if len(f.Options) == 0 && f.DataType == DataBoolean {
		return []Option{{Value: "true", Label: "Yes"}, {Value: "false", Label: "No"}}
	}
	return f.Options
}

// offers reports whether a value is one that the profile's author wrote: of a
// closed list, or a constant. Only such a one may decide a whole host.
func (f AdditionalField) offers(value string) bool {
	if len(f.Options) == 0 {
		return !f.Asked() && value == f.Value
	}
	return slices.ContainsFunc(f.Options, func(o Option) bool { return o.Value == value })
}

// closed reports whether only values of the profile's author can come.
func (f AdditionalField) closed() bool { return len(f.Options) > 0 || !f.Asked() && f.Value != "" }

// misfit returns what was expected of a value, or "".
func (f AdditionalField) misfit(value string) string {
	if value == "" {
		return ""
	}
	if len(f.Choices()) > 0 && !slices.ContainsFunc(f.Choices(), func(o Option) bool { return o.Value == value }) {
		return "Choose one of the list."
	}
	switch f.DataType {
	case DataNumber:
		if !decimal(value, true) {
			return "Expected a number, such as 12.5."
		}
	case DataInteger:
		if !decimal(value, false) {
			return "Expected a whole number, such as 12."
		}
	case DataEmail:
		if a, err := mail.ParseAddress(value); err != nil || a.Address != value || !strings.Contains(value[strings.LastIndexByte(value, '@'):], ".") {
			return "Expected an email address, such as jane@example.com."
		}
	case DataURL:
		if u, err := url.Parse(value); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
			return "Expected a web address that begins with https://."
		}
	case DataDate:
		if _, err := time.Parse(time.DateOnly, value); err != nil {
			return "Expected a date as year, month and day: 2026-03-31."
		}
	}
	return ""
}

// decimal reports whether s is a number in digits, as people write it: no
// exponent, no hexadecimal, no infinity.
func decimal(s string, fraction bool) bool {
	digits := strings.TrimPrefix(strings.TrimPrefix(s, "-"), "+")
	if len(s)-len(digits) > 1 || digits == "" || strings.Trim(digits, "0123456789.") != "" {
		return false
	}
	if !fraction {
		return !strings.Contains(digits, ".")
	}
	_, err := strconv.ParseFloat(digits, 64)
	return err == nil
}

// choices checks the list of an additional field, and its constant or default.
func (p *problems) choices(at string, f AdditionalField) {
	p.oneOf(at+".data_type", string(f.DataType), dataTypes...)
	seen := map[string]bool{}
	for i, o := range f.Options {
		field := indexed(at+".options", i)
		switch {
		case o.Value == "":
			p.add(field+".value", "Required.")
		case seen[o.Value]:
			p.add(field+".value", "Two options have this value.")
		}
		seen[o.Value] = true
		p.line(field+".value", o.Value, maxText)
		p.line(field+".label", o.Label, maxName)
	}
	if len(f.Options) > maxOptions {
		p.add(at+".options", "Expected at most %d options.", maxOptions)
	}
	if f.Type == FieldPassword && len(f.Choices()) > 0 {
		p.add(at+".options", "A password is not chosen from a list.")
	}
	if why := f.misfit(f.Value); why != "" {
		p.add(at+".value", "%s", why)
	}
	if !f.Asked() && f.Value == "" {
		p.add(at+".value", "Required: a field that is hidden or read-only is a constant, nobody can enter it.")
	}
}

const maxOptions = 200
