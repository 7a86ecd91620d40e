package store

import (
	"encoding/binary"
	"errors"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
)

// This file packs a connection's secrets for memory: a list of texts, each with
// its length before it. It is unpacked with each proxied call, where JSON would
// cost more than everything else.

func packSecrets(c behalf.Credential, in behalf.Inputs) []byte {
	b := make([]byte, 0, 2048)
	for _, t := range []secret.Text{c.AccessToken, c.RefreshToken, c.IDToken} {
		b = packText(b, t.Reveal())
	}
	b = packText(b, c.TokenType)
	b = binary.AppendVarint(binary.AppendVarint(b, micros(c.ExpiresAt)), micros(c.ObtainedAt))
	b = binary.AppendUvarint(b, uint64(len(in.Fields)))
	for key, value := range in.Fields {
		b = packText(packText(b, key), value.Reveal())
	}
	b = binary.AppendUvarint(b, uint64(len(in.Captured)))
	for key, value := range in.Captured {
		b = packText(packText(b, key), value)
	}
	b = binary.AppendUvarint(b, uint64(len(in.Origins)))
	for _, o := range in.Origins {
		b = packText(b, o)
	}
	b = binary.AppendUvarint(b, uint64(len(c.Scopes)))
	for _, s := range c.Scopes {
		b = packText(b, s)
	}
	b = binary.AppendVarint(packText(b, string(c.Renewal)), micros(c.RefreshExpiresAt))
	b = append(b, byte(flag(c.Unfinished)))
	b = binary.AppendUvarint(b, uint64(len(c.Captured)))
	for key, value := range c.Captured {
		b = packText(packText(b, key), value)
	}
	b = binary.AppendUvarint(b, uint64(len(c.Slots)))
	for key, t := range c.Slots {
		b = packSlot(packText(b, key), t)
	}
	return b
}

func packSlot(b []byte, t behalf.Slotted) []byte {
	b = packText(packText(packText(b, t.AccessToken.Reveal()), t.RefreshToken.Reveal()), t.TokenType)
	b = binary.AppendVarint(binary.AppendVarint(b, micros(t.ExpiresAt)), micros(t.ObtainedAt))
	b = append(b, byte(flag(t.Derived)))
	b = binary.AppendUvarint(b, uint64(len(t.Scopes)))
	for _, s := range t.Scopes {
		b = packText(b, s)
	}
	return b
}

func packText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errPacked = errors.New("store: what was packed cannot be unpacked")

// unpacker cuts texts out of one string.
type unpacker struct {
	rest string
	bad  bool
}

func (u *unpacker) uvarint() uint64 {
	var n uint64
	for i := 0; i < len(u.rest) && i < binary.MaxVarintLen64; i++ {
		n |= uint64(u.rest[i]&0x7f) << (7 * i)
		if u.rest[i] < 0x80 {
			u.rest = u.rest[i+1:]
			return n
		}
	}
	u.bad, u.rest = true, ""
	return 0
}

func (u *unpacker) varint() int64 {
	n := u.uvarint()
	return int64(n>>1) ^ -int64(n&1)
}

func (u *unpacker) text() string {
	n := u.uvarint()
	if n > uint64(len(u.rest)) {
		u.bad, u.rest = true, ""
		return ""
	}
	s := u.rest[:n]
	u.rest = u.rest[n:]
	return s
}

// count is a number of things of which each takes at least a byte.
func (u *unpacker) count() int {
	n := u.uvarint()
	if n > uint64(len(u.rest)) {
		u.bad, u.rest = true, ""
		return 0
	}
	return int(n)
}

func (u *unpacker) slot() (t behalf.Slotted) {
	t.AccessToken, t.RefreshToken, t.TokenType = secret.New(u.text()), secret.New(u.text()), u.text()
	t.ExpiresAt, t.ObtainedAt = at(u.varint()), at(u.varint())
	t.Derived = u.uvarint() == 1
	for range u.count() {
		t.Scopes = append(t.Scopes, u.text())
	}
	return t
}

func unpackSecrets(b []byte) (c behalf.Credential, in behalf.Inputs, err error) {
	u := unpacker{rest: string(b)}
	c.AccessToken, c.RefreshToken, c.IDToken = secret.New(u.text()), secret.New(u.text()), secret.New(u.text())
	c.TokenType = u.text()
	c.ExpiresAt, c.ObtainedAt = at(u.varint()), at(u.varint())
	if n := u.count(); n > 0 {
		in.Fields = make(map[string]secret.Text, n)
		for range n {
			key := u.text()
			in.Fields[key] = secret.New(u.text())
		}
	}
	if n := u.count(); n > 0 {
		in.Captured = make(map[string]string, n)
		for range n {
			key := u.text()
			in.Captured[key] = u.text()
		}
	}
	for range u.count() {
		in.Origins = append(in.Origins, u.text())
	}
	for range u.count() {
		c.Scopes = append(c.Scopes, u.text())
	}
	c.Renewal, c.RefreshExpiresAt = behalf.Renewal(u.text()), at(u.varint())
	c.Unfinished = u.uvarint() == 1
	if n := u.count(); n > 0 {
		c.Captured = make(map[string]string, n)
		for range n {
			key := u.text()
			c.Captured[key] = u.text()
		}
	}
	if n := u.count(); n > 0 {
		c.Slots = make(map[string]behalf.Slotted, n)
		for range n {
			key := u.text()
			c.Slots[key] = u.slot()
		}
	}
	if u.bad || u.rest != "" {
		return behalf.Credential{}, behalf.Inputs{}, errPacked
	}
	return c, in, nil
}
