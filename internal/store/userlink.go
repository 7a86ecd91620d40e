package store

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/vault"
)

// userLinkPlace is where links to end users' own pages are: in the links
// themselves, so that no row is kept for them.
var userLinkPlace = vault.Place{Table: "links", Row: "user", Column: "sealed"}

// UserLink returns the secret of a link to an end user's own page.
func (s Scope) UserLink(l behalf.UserLink) (secret.Text, error) {
	if err := s.allow(behalf.BeginSessions, l.Assistant, "assistant"); err != nil {
		return secret.Text{}, err
	}
	plain, err := json.Marshal(l)
	if err != nil {
		return secret.Text{}, fmt.Errorf("store: encode link: %w", err)
	}
	sealed, err := s.db.keyring.Seal(plain, userLinkPlace)
	return secret.New(base64.RawURLEncoding.EncodeToString(sealed)), err
}

// UserByLink is the fourth door: who holds a link to an end user's own page may
// see and end that user's connections until it expires. The scope is that of
// the user's assistant; that it touches nobody else's is checked by the caller.
func (db *DB) UserByLink(link secret.Text) (Scope, behalf.UserLink, error) {
	var l behalf.UserLink
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(link.Reveal())
	if err != nil || len(sealed) > 4096 {
		return Scope{}, l, behalf.NotFound("link")
	}
	plain, err := db.keyring.Open(sealed, userLinkPlace)
	if err != nil || json.Unmarshal(plain, &l) != nil || !db.Now().Before(l.ExpiresAt) {
		return Scope{}, behalf.UserLink{}, behalf.NotFound("link")
	}
	return db.As(behalf.Actor{Kind: behalf.ActorAssistant, ID: "own-page", Assistant: l.Assistant}), l, nil
}
