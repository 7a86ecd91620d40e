package vault

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/behalf-dev/behalf/internal/secret"
)

// This file writes a root key for people: printed, kept in a safe, and typed in
// after years. The rules are:
//
//   - Every line has a checksum of its own: who mistypes is told where.
//   - The last line belongs to the key and to the database: lines of two kits, or
//     the kit of another database, are told apart from a typing error.
//   - Letters that look alike are read alike (Crockford's base 32).

const (
	kitMark    = "behalf/recovery-kit/v1"
	kitLines   = rootSize/kitPiece + 1 // the key, and what it belongs to
	kitPiece   = 8                     // bytes in a line
	kitHalf    = kitPiece / 2
	kitSum     = 2  // bytes of checksum behind them
	kitLetters = 16 // in a line
)

var (
	kitBase = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)
	kitAs   = strings.NewReplacer("O", "0", "I", "1", "L", "1", "-", "", " ", "", "\t", "")
	kitLine = regexp.MustCompile(`(?m)^[ \t]*([1-5])[ \t.:)]+([0-9A-Za-z]{3,6}(?:[ \t-]+[0-9A-Za-z]{3,6}){2,4})[ \t\r]*$`)
)

// ErrKit is returned for a text that is not the code of one recovery kit.
var ErrKit = errors.New("vault: the lines are not those of one recovery kit: each is right by itself, but they do not belong together")

// Kit is what a recovery kit's code says.
type Kit struct {
	Root RootKey
	of   [kitPiece]byte
}

// Kit returns the root key of a database as lines to be printed and typed.
func (r RootKey) Kit(database string) (secret.Text, error) {
	key, err := rootBytes(r.text)
	if err != nil {
		return secret.Text{}, errors.New("vault: recovery kit: there is no root key")
	}
	of := kitOf(key, database)
	var b strings.Builder
	for i := range kitLines {
		piece := append(key, of[:]...)[i*kitPiece:][:kitPiece]
		letters := kitBase.EncodeToString(append(piece[:kitPiece:kitPiece], kitChecksum(i, piece)...))
		fmt.Fprintf(&b, "%d  %s-%s-%s-%s\n", i+1, letters[:4], letters[4:8], letters[8:12], letters[12:])
	}
	return secret.New(b.String()), nil
}

// ParseKit finds the lines of a kit in a text: in what somebody typed, in the
// page itself, or in what its QR code says. Its errors name the line that is
// wrong, and quote nothing.
func ParseKit(text secret.Text) (Kit, error) {
	lines, err := kitText(text)
	if err != nil {
		return Kit{}, err
	}
	var all []byte
	for i, letters := range lines {
		piece, err := kitPieceOf(i, letters)
		if err != nil {
			return Kit{}, err
		}
		all = append(all, piece...)
	}
	k := Kit{of: [kitPiece]byte(all[rootSize:])}
	if whole := kitOf(all[:rootSize], ""); !hmac.Equal(k.of[:kitHalf], whole[:kitHalf]) {
		return Kit{}, ErrKit
	}
	k.Root, err = ParseRootKey(rootText(all[:rootSize]))
	return k, err
}

func kitText(text secret.Text) (lines [kitLines]string, err error) {
	for _, m := range kitLine.FindAllStringSubmatch(text.Reveal(), -1) {
		i, letters := m[1][0]-'1', kitAs.Replace(strings.ToUpper(m[2]))
		if lines[i] != "" && lines[i] != letters {
			return lines, fmt.Errorf("vault: line %d of the code is there twice: give the text of one kit only", i+1)
		}
		lines[i] = letters
	}
	for i, l := range lines {
		if l == "" {
			return lines, fmt.Errorf("vault: line %d of the code is missing: it begins with its number, and has four groups of four letters or digits", i+1)
		}
	}
	return lines, nil
}

func kitPieceOf(i int, letters string) ([]byte, error) {
	if len(letters) != kitLetters {
		return nil, fmt.Errorf("vault: line %d of the code has %d letters and digits instead of %d", i+1, len(letters), kitLetters)
	}
	b, err := kitBase.DecodeString(letters)
	if err != nil || subtle.ConstantTimeCompare(b[kitPiece:], kitChecksum(i, b[:kitPiece])) != 1 {
		return nil, fmt.Errorf("vault: line %d of the code has a typing error", i+1)
	}
	return b[:kitPiece], nil
}

// Of reports whether this is a kit of the database.
func (k Kit) Of(database string) bool {
	key, err := rootBytes(k.Root.text)
	of := kitOf(key, database)
	return err == nil && hmac.Equal(of[:], k.of[:])
}

// kitOf is the last line: the first half is of the key, the second of the key
// and the database.
func kitOf(key []byte, database string) [kitPiece]byte {
	half := func(of string) []byte {
		m := hmac.New(sha256.New, key)
		_, _ = m.Write([]byte(kitMark + "\n" + of))
		return m.Sum(nil)[:kitHalf]
	}
	return [kitPiece]byte(append(half(""), half(database)...))
}

func kitChecksum(line int, piece []byte) []byte {
	sum := sha256.Sum256(append([]byte(fmt.Sprintf("%s\n%d\n", kitMark, line)), piece...))
	return sum[:kitSum]
}

func rootBytes(text secret.Text) ([]byte, error) {
	encoded, marked := strings.CutPrefix(strings.TrimSpace(text.Reveal()), rootMark+" ")
	key, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if !marked || err != nil || len(key) != rootSize {
		return nil, ErrKeyFormat // err would quote the position, and so a part of the key
	}
	return key, nil
}

func rootText(key []byte) secret.Text {
	return secret.New(rootMark + " " + base64.RawURLEncoding.EncodeToString(key) + "\n")
}
