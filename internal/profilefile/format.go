package profilefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"

	"github.com/behalf-dev/behalf"
)

// Format writes a definition as a file, in the order of its fields and without
// any secret: those that it names stand as env:NAME or file:/path.
func Format(d behalf.Definition) ([]byte, error) {
	d, _ = d.SplitSecrets()
	object, err := ordered(d)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if len(object) == 0 {
		return nil, errors.New("profilefile: the definition is empty")
	}
	writeObject(&b, object, 0)
	return b.Bytes(), check(d, b.Bytes())
}

// check reads back what was written.
func check(d behalf.Definition, file []byte) error {
	docs, err := Parse("", file)
	if err != nil {
		return fmt.Errorf("profilefile: what was written does not read back: %w", err)
	}
	want, _ := json.Marshal(d)
	got, _ := json.Marshal(docs[0].Definition)
	if !bytes.Equal(want, got) {
		return errors.New("profilefile: what was written reads back as another definition")
	}
	return nil
}

type member struct {
	name  string
	value any // string, json.Number, bool, []any, []member
}

// ordered returns a definition's members in the order of its fields.
func ordered(d behalf.Definition) ([]member, error) {
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	v, err := readValue(dec)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	object, _ := v.([]member)
	return atHome(object), nil
}

func readValue(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		object := []member{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := readValue(d)
			if err != nil {
				return nil, err
			}
			object = append(object, member{name.(string), v})
		}
		_, err = d.Token()
		return atHome(object), err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := readValue(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = d.Token()
		return list, err
	}
	return t, nil
}

// atHome puts references where the secrets would stand.
func atHome(object []member) []member {
	for i, m := range object {
		switch m.name {
		case "client_secret_from":
			object[i].name = "client_secret"
		case "value_from":
			object[i].name = "value"
		}
	}
	return object
}

func writeObject(b *bytes.Buffer, object []member, indent int) {
	for i, m := range object {
		if i > 0 || indent == 0 {
			b.WriteString(strings.Repeat(" ", indent))
		}
		b.WriteString(scalar(m.name) + ":")
		writeValue(b, m.value, indent)
	}
}

// writeValue writes what stands behind the colon of a key at indent.
func writeValue(b *bytes.Buffer, v any, indent int) {
	switch v := v.(type) {
	case []member:
		if len(v) == 0 {
			b.WriteString(" {}\n")
			return
		}
		b.WriteString("\n" + strings.Repeat(" ", indent+2))
		writeObject(b, v, indent+2)
	case []any:
		if len(v) == 0 {
			b.WriteString(" []\n")
			return
		}
		b.WriteString("\n")
		for _, item := range v {
			b.WriteString(strings.Repeat(" ", indent+2) + "-")
			if object, ok := item.([]member); ok && len(object) > 0 {
				b.WriteString(" ")
				writeObject(b, object, indent+4)
				continue
			}
			writeValue(b, item, indent+2)
		}
	case string:
		if block, ok := literalBlock(v, indent+2); ok {
			b.WriteString(block)
			return
		}
		b.WriteString(" " + scalar(v) + "\n")
	default:
		b.WriteString(" " + fmt.Sprint(v) + "\n")
	}
}

// plain is text that means itself without quotes, wherever it stands.
var plain = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./+@-]*(?::[A-Za-z0-9_./+@-]+)*(?: [A-Za-z0-9(][A-Za-z0-9_.,;()+@/-]*)*$`)

func scalar(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan":
	default:
		if plain.MatchString(s) && len(s) <= 200 {
			return s
		}
	}
	return quoted(s)
}

// quoted is a JSON string, which YAML 1.2 reads as the same.
func quoted(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // text always encodes
	return strings.TrimSuffix(b.String(), "\n")
}

// literalBlock writes text of several lines as people write it.
func literalBlock(s string, indent int) (string, bool) {
	lines := strings.Split(s, "\n")
	if len(lines) < 2 {
		return "", false
	}
	for _, line := range lines {
		if line == "" || line != strings.TrimSpace(line) || strings.ContainsFunc(line, func(c rune) bool {
			return c < 0x20 || c == 0x7f || c >= 0x80 && c < 0xa0 || c == '\u2028' || c == '\u2029' || c == '\ufeff'
		}) {
			return "", false
		}
	}
	var b strings.Builder
	b.WriteString(" |-\n")
	for _, line := range lines {
		b.WriteString(strings.Repeat(" ", indent) + line + "\n")
	}
	return b.String(), true
}

// Equal reports whether two definitions are the same as files.
func Equal(a, b behalf.Definition) bool {
	a, _ = a.SplitSecrets()
	b, _ = b.SplitSecrets()
	left, err := json.Marshal(a)
	right, err2 := json.Marshal(b)
	return err == nil && err2 == nil && reflect.DeepEqual(left, right)
}
