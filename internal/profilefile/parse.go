package profilefile

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/behalf-dev/behalf"
)

const (
	maxFile  = 1 << 20
	maxDepth = 20

	maxNested = 100  // brackets inside each other, dashes of one line, anchors
	maxBeside = 200  // keys of one mapping
	maxItems  = 5000 // of one list, or in one pair of brackets
)

// Parse reads a file's definitions. The error is Problems. It reports what the
// form of a file can tell; behalf.Compile says the rest.
func Parse(file string, data []byte) ([]Document, error) {
	start := Place{1, 1}
	switch {
	case len(data) > maxFile:
		return nil, Problems{{File: file, Place: start, Message: "The file is larger than 1 MiB."}}
	case !utf8.Valid(data):
		return nil, Problems{{File: file, Place: start, Message: "The file is not valid UTF-8."}}
	}
	parsed, err := parseYAML(data)
	if err != nil {
		return nil, Problems{syntax(file, err)}
	}
	var docs []Document
	var wrong Problems
	for _, doc := range parsed.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType {
			continue // nothing but comments
		}
		r := reader{file: file, places: map[string]Place{}}
		d := Document{File: file, places: r.places}
		r.places[""] = placeOf(doc.Body)
		r.value(doc.Body, reflect.ValueOf(&d.Definition).Elem(), "", 0)
		if wrong = append(wrong, r.wrong...); isObject(doc.Body) { // of anything else there is no more to say
			docs = append(docs, d)
		}
	}
	if len(docs) == 0 && len(wrong) == 0 {
		wrong = Problems{{File: file, Place: start, Message: "The file holds no profile."}}
	}
	return docs, wrong.err()
}

func isObject(n ast.Node) bool {
	return n.Type() == ast.MappingType || n.Type() == ast.MappingValueType
}

// parseYAML keeps a fault of the parser from ending the program: files come
// from anywhere.
func parseYAML(data []byte) (f *ast.File, err error) {
	defer func() {
		if recover() != nil {
			f, err = nil, errors.New("not YAML")
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if at := tooLarge(tokens); at != nil {
		return nil, &yaml.SyntaxError{Message: "it is nested too deeply, or has too much beside each other", Token: at}
	}
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// tooLarge returns the token at which a file is what no definition is: deep, or
// with many keys beside each other. The parser's time grows with the square of
// either; a megabyte of them would take it hours.
func tooLarge(tokens token.Tokens) *token.Token {
	brackets, commas, dashes, marks, line := 0, 0, 0, 0, 0
	keys, items := map[int]int{}, map[int]int{} // of what is open, by their column
	for i, t := range tokens {
		if p := t.Position; p.Line != line {
			dashes, line = 0, p.Line
			further := func(column, _ int) bool { return column > p.Column }
			maps.DeleteFunc(keys, further)
			maps.DeleteFunc(items, further)
		}
		column := 0
		switch t.Type {
		case token.DocumentHeaderType:
			clear(keys)
			clear(items)
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			if brackets = max(brackets-1, 0); brackets == 0 {
				commas = 0
			}
		case token.CollectEntryType:
			commas++
		case token.AnchorType, token.AliasType, token.TagType:
			marks++
		case token.SequenceEntryType:
			dashes++
			items[t.Position.Column]++
		case token.MappingKeyType:
			dashes, column = dashes+1, t.Position.Column
		case token.MappingValueType:
			if i > 0 && brackets == 0 {
				column = tokens[i-1].Position.Column
			}
		}
		if column > 0 {
			keys[column]++
		}
		if max(brackets, dashes, marks) > maxNested || keys[column] > maxBeside || max(commas, items[t.Position.Column]) > maxItems {
			return t
		}
	}
	return nil
}

// Value reads a part of a definition as it would stand in a file, as maps and
// lists. Anchors would let a few lines grow to more than there is memory.
func Value(text string) (v any, err error) {
	defer func() {
		if recover() != nil {
			v, err = nil, errors.New("not YAML")
		}
	}()
	parsed, err := parseYAML([]byte(text))
	if err != nil {
		return nil, err
	}
	for _, doc := range parsed.Docs {
		if ast.Filter(ast.AnchorType, doc) != nil || ast.Filter(ast.AliasType, doc) != nil || ast.Filter(ast.TagType, doc) != nil {
			return nil, errors.New("anchors, aliases and tags are not taken here: write the value itself")
		}
	}
	err = yaml.Unmarshal([]byte(text), &v)
	return v, err
}

func syntax(file string, err error) Problem {
	p := Problem{File: file, Place: Place{1, 1}, Message: "This is not YAML."}
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil && at.GetToken().Position != nil {
		p.Place = Place{at.GetToken().Position.Line, at.GetToken().Position.Column}
		p.Message = "This is not YAML: " + at.GetMessage() + "."
		if strings.Contains(at.GetMessage(), "'\t'") {
			p.Message = "This is not YAML: a tab stands where YAML takes spaces only."
		}
	}
	return p
}

// reader fills a definition from the nodes of a document.
type reader struct {
	file   string
	places map[string]Place
	wrong  Problems
}

func (r *reader) add(n ast.Node, field, format string, args ...any) {
	r.wrong = append(r.wrong, Problem{File: r.file, Place: placeOf(n), Field: field, Message: fmt.Sprintf(format, args...)})
}

func placeOf(n ast.Node) Place {
	switch m := n.(type) {
	case *ast.MappingNode:
		if len(m.Values) > 0 {
			return placeOf(m.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return placeOf(m.Key)
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return Place{t.Position.Line, t.Position.Column}
	}
	return Place{1, 1}
}

func (r *reader) value(n ast.Node, v reflect.Value, field string, depth int) {
	switch node := n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		r.add(n, field, "Anchors, aliases and tags are not taken here: write the value itself.")
		return
	case *ast.NullNode:
		return // key: without a value is the same as leaving it out
	case *ast.MappingValueNode:
		n = ast.Mapping(node.GetToken(), false, node)
	}
	if depth > maxDepth {
		r.add(n, field, "This is nested too deeply.")
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		r.value(n, fresh.Elem(), field, depth)
		v.Set(fresh)
	case reflect.Struct:
		r.object(n, v, field, depth)
	case reflect.Map:
		r.strings(n, v, field)
	case reflect.Slice:
		r.list(n, v, field, depth)
	default:
		r.scalar(n, v, field)
	}
}

func (r *reader) pairs(n ast.Node, field string) []*ast.MappingValueNode {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		r.add(n, field, "Expected keys with values.")
		return nil
	}
	return m.Values
}

// key returns the name of a pair; "" and an error where it is none or stands twice.
func (r *reader) key(pair *ast.MappingValueNode, seen map[string]bool, field string) string {
	s, ok := pair.Key.(ast.ScalarNode)
	if !ok || pair.Key.Type() == ast.MergeKeyType {
		r.add(pair.Key, field, "Expected a name as the key.")
		return ""
	}
	name := literal(s)
	if seen[name] {
		r.add(pair.Key, join(field, name), "This key stands here twice.")
		return ""
	}
	seen[name] = true
	return name
}

func join(field, name string) string {
	if len(name) > 60 || !clean(name) {
		name = "…" // a name of nobody's making
	}
	if field == "" {
		return name
	}
	return field + "." + name
}

func clean(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c == 0x7f })
}

func (r *reader) object(n ast.Node, v reflect.Value, field string, depth int) {
	known := members(v.Type())
	seen := map[string]bool{}
	for _, pair := range r.pairs(n, field) {
		name := r.key(pair, seen, field)
		if name == "" {
			continue
		}
		at := join(field, name)
		r.places[at] = placeOf(pair.Key)
		if name == "client_secret" && field == "" {
			name = "client_secret_from"
		} else if name == "client_secret_from" && field == "" {
			name = ""
		}
		index, ok := known[name]
		switch {
		case !ok && nearest(name, known) != "":
			r.add(pair.Key, at, "There is no such key; %s is one.", nearest(name, known))
		case !ok:
			r.add(pair.Key, at, "There is no such key.")
		default:
			r.value(pair.Value, v.FieldByIndex(index), at, depth+1)
		}
	}
	r.references(n, v, field)
}

// references moves env:NAME and file:/path from where a secret would stand to
// where a definition keeps them, and refuses a secret that stands in the file.
func (r *reader) references(n ast.Node, v reflect.Value, field string) {
	refuse := func(at string) {
		r.wrong = append(r.wrong, Problem{File: r.file, Place: r.place(n, at), Field: at,
			Message: "Expected env:NAME or file:/path: secrets do not stand in profile files."})
	}
	switch d := v.Addr().Interface().(type) {
	case *behalf.Definition:
		if d.ClientSecretFrom != "" && !behalf.IsReference(d.ClientSecretFrom) {
			d.ClientSecretFrom = ""
			refuse("client_secret")
		}
	case *behalf.AdditionalField:
		if d.Type == behalf.FieldPassword && !reference(&d.Value, &d.ValueFrom) {
			refuse(field + ".value")
		}
	case *behalf.AuthorizationField:
		if d.WriteOnly() && !reference(&d.Value, &d.ValueFrom) {
			refuse(field + ".value")
		}
	}
}

func reference(value, from *string) bool {
	if *value == "" {
		return true
	}
	ok := behalf.IsReference(*value)
	if ok {
		*from = *value
	}
	*value = ""
	return ok
}

func (r *reader) place(n ast.Node, field string) Place {
	if p, ok := r.places[field]; ok {
		return p
	}
	return placeOf(n)
}

// members returns the members of a struct by their JSON name, with those that
// are embedded.
func members(t reflect.Type) map[string][]int {
	out := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" && !f.Anonymous {
			out[name] = f.Index
		}
	}
	delete(out, "value_from") // it stands as the value of a secret field
	return out
}

// nearest returns the known name that was probably meant.
func nearest(name string, known map[string][]int) string {
	best, least := "", 3
	for k := range known {
		if d := distance(name, k); d < least || d == least && best != "" && k < best {
			best, least = k, d
		}
	}
	return best
}

// distance is Levenshtein's, for short names.
func distance(a, b string) int {
	if len(a) > 60 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func (r *reader) strings(n ast.Node, v reflect.Value, field string) {
	m := reflect.MakeMap(v.Type())
	seen := map[string]bool{}
	for _, pair := range r.pairs(n, field) {
		name := r.key(pair, seen, field)
		if name == "" {
			continue
		}
		at := join(field, name)
		r.places[at] = placeOf(pair.Key)
		value := reflect.New(v.Type().Elem()).Elem()
		r.value(pair.Value, value, at, 0)
		m.SetMapIndex(reflect.ValueOf(name), value)
	}
	if m.Len() > 0 {
		v.Set(m)
	}
}

func (r *reader) list(n ast.Node, v reflect.Value, field string, depth int) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		r.add(n, field, "Expected a list.")
		return
	}
	for i, item := range s.Values {
		at := fmt.Sprintf("%s[%d]", field, i)
		r.places[at] = placeOf(item)
		value := reflect.New(v.Type().Elem()).Elem()
		r.value(item, value, at, depth+1)
		v.Set(reflect.Append(v, value))
	}
}

func (r *reader) scalar(n ast.Node, v reflect.Value, field string) {
	s, ok := n.(ast.ScalarNode)
	if !ok {
		r.add(n, field, "Expected one value.")
		return
	}
	switch text := literal(s); v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		if _, ok := n.(*ast.BoolNode); !ok {
			r.add(n, field, "Expected true or false.")
			return
		}
		v.SetBool(text == "true" || text == "True" || text == "TRUE")
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(text, 10, 64)
		if _, ok := n.(*ast.IntegerNode); !ok || err != nil {
			r.add(n, field, "Expected a whole number.")
			return
		}
		v.SetInt(i)
	}
}

// literal returns the text of a scalar. What YAML takes for a number is kept as
// it was written, so that a client id such as 0123 stays one.
func literal(s ast.ScalarNode) string {
	switch n := s.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	}
	if t := s.GetToken(); t != nil && t.Type != token.UnknownType {
		return t.Value
	}
	return fmt.Sprint(s.GetValue())
}
