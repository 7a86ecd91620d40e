package expand

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	tenant   = "tenant"
	maxDepth = 16 // of parentheses
	maxName  = 255
)

// A part is literal text or a placeholder.
type part struct {
	offset int // in the text, in bytes
	lit    string
	expr   *expr // nil for literal text
}

type op int

const (
	opName op = iota
	opLiteral
	opDefault
	opLower
	opURLEncode
	opBase64
	opSHA256
	opHMAC
	opHMACBase64
	opMD5
	opHex
	opUpper
	opSubstr
	opNow
	opUUID
)

type expr struct {
	op   op
	text string // the name of opName, the text of opLiteral
	args []*expr
}

// function returns the function of that name with the least and the greatest
// number of its arguments, -1 for any.
func function(name string) (o op, least, most int, ok bool) {
	switch name {
	case "default":
		return opDefault, 2, 2, true
	case "lower":
		return opLower, 1, -1, true
	case "urlencode":
		return opURLEncode, 1, -1, true
	case "base64":
		return opBase64, 1, -1, true
	case "sha256":
		return opSHA256, 1, -1, true
	case "hmac":
		return opHMAC, 2, -1, true
	case "hmac_base64":
		return opHMACBase64, 2, -1, true
	case "md5":
		return opMD5, 1, -1, true
	case "hex":
		return opHex, 1, -1, true
	case "upper":
		return opUpper, 1, -1, true
	case "substr":
		return opSubstr, 2, 3, true
	case "now":
		return opNow, 0, 0, true
	case "uuid":
		return opUUID, 0, 0, true
	}
	return 0, 0, 0, false
}

// IsName reports whether {{s}} asks for a value named s: words of letters,
// digits, "_" and "-" with dots between them, at most 255 bytes, and not the
// name of a function.
func IsName(s string) bool {
	_, _, _, reserved := function(s)
	return !reserved && isWord(s)
}

func isWord(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	first := true
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '.' || c == '-':
			if first {
				return false
			}
		case !isWordByte(c):
			return false
		}
		first = c == '.'
	}
	return !first
}

func isWordByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.'
}

type parser struct {
	text string
	at   int
}

// parse splits a text into literal text and placeholders.
func parse(text string) ([]part, error) {
	if i := invalid(text); i >= 0 {
		return nil, &SyntaxError{i, "UTF-8 without NUL"}
	}
	p := parser{text: text}
	var parts []part
	begun := 0 // of the literal text before p.at
	for {
		i := strings.IndexByte(text[p.at:], '{')
		if i < 0 {
			break
		}
		p.at += i
		offset := p.at
		var e *expr
		switch {
		case p.skip("{{"):
			var err error
			if e, err = p.placeholder(); err != nil {
				return nil, err
			}
		case p.skip("{tenant}"):
			e = &expr{op: opName, text: tenant}
		default:
			p.at++
			continue
		}
		if begun < offset {
			parts = append(parts, part{offset: begun, lit: text[begun:offset]})
		}
		parts = append(parts, part{offset: offset, expr: e})
		begun = p.at
	}
	if begun < len(text) {
		parts = append(parts, part{offset: begun, lit: text[begun:]})
	}
	return parts, nil
}

// invalid returns the offset of the first NUL or invalid UTF-8, or -1.
func invalid(s string) int {
	for i, r := range s {
		if r == 0 {
			return i
		}
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return i
			}
		}
	}
	return -1
}

func (p *parser) placeholder() (*expr, error) {
	e, err := p.call(0)
	if err != nil {
		return nil, err
	}
	if !p.skip("}}") {
		return nil, p.expected(`"}}"`)
	}
	return e, nil
}

// call parses a function with its arguments, or one operand.
func (p *parser) call(depth int) (*expr, error) {
	p.space()
	begun := p.at
	o, least, most, ok := function(p.word())
	if !ok {
		p.at = begun
		e, err := p.operand(depth)
		p.space()
		return e, err
	}
	e := &expr{op: o}
	for p.space(); p.at < len(p.text) && p.text[p.at] != '}' && p.text[p.at] != ')'; p.space() {
		if len(e.args) == most {
			return nil, p.expected("no further argument")
		}
		arg, err := p.operand(depth)
		if err != nil {
			return nil, err
		}
		if o == opSubstr && len(e.args) > 0 && !isNumber(arg) {
			return nil, p.expected("a number: from where, and how many characters")
		}
		e.args = append(e.args, arg)
	}
	if len(e.args) < least {
		return nil, p.expected("an argument: a name, a literal in double quotes, or a function in parentheses")
	}
	return e, nil
}

// isNumber reports whether an argument is a small number as it stands there.
func isNumber(e *expr) bool {
	n, err := strconv.Atoi(e.text)
	return (e.op == opName || e.op == opLiteral) && err == nil && n >= 0 && n <= 1<<16
}

func (p *parser) operand(depth int) (*expr, error) {
	switch {
	case p.skip(`"`):
		return p.literal()
	case p.skip("("):
		if depth == maxDepth {
			return nil, p.expected("fewer parentheses inside each other")
		}
		e, err := p.call(depth + 1)
		if err != nil {
			return nil, err
		}
		if !p.skip(")") {
			return nil, p.expected(`")"`)
		}
		return e, nil
	}
	begun := p.at
	w := p.word()
	if o, least, _, ok := function(w); ok {
		if least > 0 {
			p.at = begun
			return nil, p.expected("parentheses around a function with its arguments")
		}
		return &expr{op: o}, nil
	}
	if !isWord(w) {
		p.at = begun
		return nil, p.expected("a name, a function, or a literal in double quotes")
	}
	return &expr{op: opName, text: w}, nil
}

// literal parses what follows the opening quote.
func (p *parser) literal() (*expr, error) {
	var b strings.Builder
	for p.at < len(p.text) {
		c := p.text[p.at]
		p.at++
		switch c {
		case '"':
			return &expr{op: opLiteral, text: b.String()}, nil
		case '\\':
			if p.at == len(p.text) || p.text[p.at] != '"' && p.text[p.at] != '\\' {
				return nil, p.expected(`\" or \\`)
			}
			c = p.text[p.at]
			p.at++
		}
		b.WriteByte(c)
	}
	return nil, p.expected("a closing double quote")
}

func (p *parser) word() string {
	begun := p.at
	for p.at < len(p.text) && isWordByte(p.text[p.at]) {
		p.at++
	}
	return p.text[begun:p.at]
}

func (p *parser) space() {
	for p.at < len(p.text) && (p.text[p.at] == ' ' || p.text[p.at] == '\t') {
		p.at++
	}
}

func (p *parser) skip(s string) bool {
	if !strings.HasPrefix(p.text[p.at:], s) {
		return false
	}
	p.at += len(s)
	return true
}

func (p *parser) expected(what string) error { return &SyntaxError{p.at, what} }

// names returns the names in the parts, each once, in the order of the text:
// all of them, or only those without which filling always fails.
func names(parts []part, needed bool) []string {
	var list []string
	seen := map[string]bool{}
	var visit func(e *expr)
	visit = func(e *expr) {
		switch {
		case e.op == opName && !seen[e.text]:
			seen[e.text] = true
			list = append(list, e.text)
		case e.op == opDefault && needed:
			return
		}
		args := e.args
		if e.op == opSubstr {
			args = args[:1] // the others are numbers
		}
		for _, a := range args {
			visit(a)
		}
	}
	for _, p := range parts {
		if p.expr != nil {
			visit(p.expr)
		}
	}
	return list
}
