// Package secret keeps values that nothing prints.
package secret

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// Mask is what stands in the place of a secret wherever one would be printed.
const Mask = "[secret]"

// Text is a secret string: a password, a token, a client secret.
//
// It is a struct over a pointer, not a string type, because fmt prints the
// contents of a string type that sits in an unexported field of somebody
// else's struct without ever asking its methods. Reveal is the only way out;
// the places that call it are listed in the test of the repository's root.
type Text struct{ p *string }

// New makes a Text of s. An empty s gives the zero Text.
func New(s string) Text {
	if s == "" {
		return Text{}
	}
	return Text{&s}
}

// Reveal returns the secret itself.
func (t Text) Reveal() string {
	if t.p == nil {
		return ""
	}
	return *t.p
}

// Empty reports whether there is no secret.
func (t Text) Empty() bool { return t.p == nil }

// Equal compares in a time that does not depend on where the two differ.
func (t Text) Equal(o Text) bool {
	return subtle.ConstantTimeCompare([]byte(t.Reveal()), []byte(o.Reveal())) == 1
}

// String returns Mask, or "" where there is no secret.
func (t Text) String() string {
	if t.Empty() {
		return ""
	}
	return Mask
}

// GoString returns what String does.
func (t Text) GoString() string { return t.String() }

// Format writes what String does, whatever the verb.
func (t Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// LogValue returns what String does.
func (t Text) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText returns what String does, so that no encoder prints a secret.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText takes the secret from a document that somebody sent.
func (t *Text) UnmarshalText(b []byte) error {
	*t = New(string(b))
	return nil
}
