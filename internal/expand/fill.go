package expand

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// A filler fills one text. Its first missing value is reported before its
// first refused one, wherever they stand.
type filler struct {
	lookup  Lookup
	funcs   Funcs
	secret  bool
	missing *MissingError
	refused *ValueError
}

func (f *filler) err() error {
	switch {
	case f.missing != nil:
		return f.missing
	case f.refused != nil:
		return f.refused
	}
	return nil
}

func (f *filler) refuse(name string, p Position, expected string) {
	if f.refused == nil {
		f.refused = &ValueError{name, p, expected}
	}
}

// A named value remembers for errors where it came from.
type named struct {
	Value
	name string // "" if it is literal text
}

// value returns what e stands for, or false after noting what is missing.
func (f *filler) value(e *expr) (named, bool) {
	v, missing := f.eval(e)
	if missing != "" {
		if f.missing == nil {
			f.missing = &MissingError{missing}
		}
		return named{}, false
	}
	if v.Secret {
		f.secret = true
		if f.funcs.Hide != nil {
			f.funcs.Hide(v.Text)
		}
	}
	return v, true
}

// write appends the parts, encoded for their position. It returns the name of
// the first value.
func (f *filler) write(b *strings.Builder, parts []part, p Position) (name string) {
	for _, part := range parts {
		if part.expr == nil {
			b.WriteString(part.lit)
			continue
		}
		v, ok := f.value(part.expr)
		if !ok {
			continue
		}
		s, expected := p.encode(v.Text)
		if expected != "" {
			f.refuse(v.name, p, expected)
		}
		b.WriteString(s)
		if name == "" {
			name = v.name
		}
	}
	return name
}

// segment appends one segment of a path. The whole of it is looked at again,
// because "." beside "{{x}}" may become "..".
func (f *filler) segment(b *strings.Builder, parts []part) {
	begun := b.Len()
	name := f.write(b, parts, Path)
	if isLiteral(parts) {
		return
	}
	if s := b.String()[begun:]; s == "" || dotted(s) {
		f.refuse(name, Path, expectedSegment)
	}
}

// eval returns what e stands for, or the name that has no value.
func (f *filler) eval(e *expr) (v named, missing string) {
	switch e.op {
	case opLiteral:
		// The author's own words may stand where the author's words stand.
		return named{Value: Value{Text: e.text, Enumerated: true, Origin: true}}, ""
	case opName:
		v, ok := f.lookup(e.text)
		if !ok || v.Text == "" {
			return named{}, e.text
		}
		return named{v, e.text}, ""
	case opDefault:
		if v, missing = f.eval(e.args[0]); missing == "" {
			return v, ""
		}
		return f.eval(e.args[1])
	case opNow:
		if f.funcs.Now == nil {
			return named{}, "now"
		}
		return named{Value{Text: f.funcs.Now().UTC().Format(time.RFC3339)}, "now"}, ""
	case opUUID:
		if f.funcs.UUID == nil {
			return named{}, "uuid"
		}
		return named{Value{Text: f.funcs.UUID()}, "uuid"}, ""
	default:
		return f.apply(e.op, e.args)
	}
}

// apply joins the values of the arguments and applies a function of one text.
// What a function made is neither of a closed list nor an origin.
func (f *filler) apply(o op, args []*expr) (v named, missing string) {
	if o == opSubstr {
		return f.substr(args)
	}
	var key string
	if o == opHMAC || o == opHMACBase64 {
		k, missing := f.eval(args[0])
		if missing != "" {
			return named{}, missing
		}
		key, args = k.Text, args[1:]
		v.Secret, v.name = k.Secret, k.name
	}
	var b strings.Builder
	for _, arg := range args {
		a, missing := f.eval(arg)
		if missing != "" {
			return named{}, missing
		}
		b.WriteString(a.Text)
		v.Secret = v.Secret || a.Secret
		if v.name == "" {
			v.name = a.name
		}
	}
	switch x := b.String(); o {
	case opLower:
		v.Text = strings.ToLower(x)
	case opURLEncode:
		v.Text = percentEncode(x)
	case opBase64:
		v.Text = base64.StdEncoding.EncodeToString([]byte(x))
	case opSHA256:
		sum := sha256.Sum256([]byte(x))
		v.Text = hex.EncodeToString(sum[:])
	case opHMAC:
		v.Text = hex.EncodeToString(hmacSHA256(key, x))
	case opHMACBase64:
		v.Text = base64.StdEncoding.EncodeToString(hmacSHA256(key, x))
	case opMD5:
		sum := md5.Sum([]byte(x)) // not for safety: some providers ask for it
		v.Text = hex.EncodeToString(sum[:])
	case opHex:
		v.Text = hex.EncodeToString([]byte(x))
	case opUpper:
		v.Text = strings.ToUpper(x)
	}
	return v, ""
}

func hmacSHA256(key, x string) []byte {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(x))
	return mac.Sum(nil)
}

// leastPart is how many characters a part of a secret has: fewer could be
// guessed, or are too short to be found and masked where they are shown.
const leastPart = 8

// substr returns a part of a text, in characters: what there is of it.
func (f *filler) substr(args []*expr) (v named, missing string) {
	if v, missing = f.eval(args[0]); missing != "" {
		return named{}, missing
	}
	v.Enumerated, v.Origin = false, false
	runes := []rune(v.Text)
	whole := len(runes)
	from, _ := strconv.Atoi(args[1].text) // parse has looked
	runes = runes[min(from, len(runes)):]
	if len(args) == 3 {
		n, _ := strconv.Atoi(args[2].text)
		runes = runes[:min(n, len(runes))]
	}
	if v.Secret && len(runes) < min(whole, leastPart) {
		f.refuse(v.name, Plain, "at least 8 characters of a secret")
	}
	v.Text = string(runes)
	return v, ""
}
