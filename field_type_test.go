package behalf_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
)

func TestAValueMustReadAsItsType(t *testing.T) {
	for kind, test := range map[behalf.DataType]struct{ good, bad []string }{
		"":                 {[]string{"anything", "ü", "1"}, []string{"two\nlines"}},
		behalf.DataText:    {[]string{"anything"}, nil},
		behalf.DataNumber:  {[]string{"12", "-1.5", "+0.25", "007"}, []string{"x", "1e5", "0x10", "NaN", "Inf", "1,5", "--1", "+-1", ".", "1.2.3", "-"}},
		behalf.DataInteger: {[]string{"12", "-1", "123456789012345678901234567890"}, []string{"1.5", "x", "1 2", "+"}},
		behalf.DataBoolean: {[]string{"true", "false"}, []string{"yes", "1", "True"}},
		behalf.DataEmail:   {[]string{"jane@example.com", "jane+x@mail.example"}, []string{"jane.evil", "jane@", "@example.com", "Jane <jane@example.com>", "a@b", "a b@example.com"}},
		behalf.DataURL:     {[]string{"https://example.com/x?y=1", "http://example.com"}, []string{"example.com", "javascript:evil(1)", "ftp://example.com", "https://u:p@example.com", "https://"}},
		behalf.DataDate:    {[]string{"2026-03-31", "2024-02-29"}, []string{"2026-02-30", "31.03.2026", "2026-3-1", "tomorrow"}},
	} {
		p := compile(t, with(acorn(), field(behalf.AdditionalField{Key: "x", DataType: kind})))
		for _, v := range test.good {
			if err := p.CheckField("x", secret.New(v)); err != nil {
				t.Errorf("%s: %q is refused: %v", kind, v, err)
			}
		}
		for _, v := range test.bad {
			err := p.CheckField("x", secret.New(v))
			if err == nil || strings.Contains(v, "evil") && strings.Contains(err.Error(), v) {
				t.Errorf("%s: %q gives %v", kind, v, err)
			}
		}
		if err := p.CheckField("x", secret.New("")); err != nil {
			t.Errorf("%s: nothing is refused where it is not required: %v", kind, err)
		}
	}
}

var regions = []behalf.Option{{Value: "com", Label: "Americas"}, {Value: "co.uk", Label: "Europe"}}

func TestAnEnumeratedFieldMayDecideTheHost(t *testing.T) {
	d := with(acorn(), field(behalf.AdditionalField{Key: "region", Required: true, Options: regions}))
	d.API.BaseURL = "https://api.acorn.{{region}}/v1"
	if _, err := behalf.Compile(d); !slices.Contains(fields(err), "api.allowed_hosts") {
		t.Errorf("without allowed hosts: %v", err)
	}
	d.API.AllowedHosts = []string{"api.acorn.com", "api.acorn.co.uk", "auth.acorn.example"}
	p := compile(t, d)
	for value, host := range map[string]string{"com": "api.acorn.com", "co.uk": "api.acorn.co.uk", "evil": "", "com/": "", "acorn.com.evil": ""} {
		v := behalf.Values{Plan: p, Credential: &behalf.Credential{}, Inputs: behalf.Inputs{Fields: map[string]secret.Text{"region": secret.New(value)}}}
		a, err := p.Authorize(v, behalf.Call{Method: "GET", Path: "/"}, time.Now)
		switch {
		case host == "" && err == nil:
			t.Errorf("%q led to %s", value, a.URL)
		case host != "" && (err != nil || a.URL.Host != host):
			t.Errorf("%q led to %v, %v", value, a.URL, err)
		}
	}
	if err := p.CheckField("region", secret.New("evil")); err == nil {
		t.Error("a value that is not on the list is taken")
	}

	t.Run("so may a constant", func(t *testing.T) {
		d := d
		d.AdditionalFields = []behalf.AdditionalField{{Key: "region", Visibility: behalf.Hidden, Value: "com"}}
		compile(t, d)
	})
	t.Run("but nothing that is typed", func(t *testing.T) {
		d := d
		d.AdditionalFields = []behalf.AdditionalField{{Key: "region", Value: "com"}}
		if _, err := behalf.Compile(d); !slices.Contains(fields(err), "api.base_url") {
			t.Errorf("it compiles: %v", err)
		}
	})
}

func TestWhatIsWrongWithAFieldIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		f     behalf.AdditionalField
		field string
	}{
		"an unknown type of data":         {behalf.AdditionalField{Key: "x", DataType: "color"}, "data_type"},
		"hidden without a value":          {behalf.AdditionalField{Key: "x", Visibility: behalf.Hidden}, "value"},
		"read-only without a value":       {behalf.AdditionalField{Key: "x", Visibility: behalf.ReadOnly}, "value"},
		"a default that is not listed":    {behalf.AdditionalField{Key: "x", Options: regions, Value: "de"}, "value"},
		"a default of another type":       {behalf.AdditionalField{Key: "x", DataType: behalf.DataInteger, Value: "many"}, "value"},
		"an option without a value":       {behalf.AdditionalField{Key: "x", Options: []behalf.Option{{Label: "none"}}}, "options[0].value"},
		"an option twice":                 {behalf.AdditionalField{Key: "x", Options: []behalf.Option{{Value: "a"}, {Value: "a"}}}, "options[1].value"},
		"an option of two lines":          {behalf.AdditionalField{Key: "x", Options: []behalf.Option{{Value: "a\nb"}}}, "options[0].value"},
		"a password chosen from a list":   {behalf.AdditionalField{Key: "x", Type: behalf.FieldPassword, Options: regions}, "options"},
		"a password that is yes or no":    {behalf.AdditionalField{Key: "x", Type: behalf.FieldPassword, DataType: behalf.DataBoolean}, "options"},
		"more options than can be chosen": {behalf.AdditionalField{Key: "x", Options: make([]behalf.Option, 201)}, "options"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := behalf.Compile(with(acorn(), field(test.f)))
			if !slices.Contains(fields(err), "additional_fields[0]."+test.field) {
				t.Errorf("%s is not named: %v", test.field, err)
			}
		})
	}
}

func TestAConstantTakesNoValueFromAnybody(t *testing.T) {
	for _, visibility := range []behalf.Visibility{behalf.Hidden, behalf.ReadOnly} {
		p := compile(t, with(acorn(), field(behalf.AdditionalField{Key: "region", Visibility: visibility, Value: "eu"})))
		n := behalf.NewSession{User: "42", Fields: map[string]secret.Text{"region": secret.New("us")}}
		if err := n.Validate(behalf.Assistant{}, p); !slices.Contains(fields(err), "fields.region") {
			t.Errorf("%s: %v", visibility, err)
		}
	}
}
