package behalf

import "time"

// KeyPrefix begins every key that is shown to us, so that scanners for leaked
// secrets recognise it.
const KeyPrefix = "bhf_"

// Key is what an assistant or an administrator shows to us. The key itself is
// shown once, when it is made; only its hash is kept.
type Key struct {
	ID         KeyID
	Assistant  AssistantID // empty: an administrator's key
	Role       Role        // an administrator's key only
	Name       string
	CreatedAt  time.Time
	ExpiresAt  time.Time // zero: never
	RevokedAt  time.Time
	LastUsedAt time.Time
}

// Actor returns who asks with this key.
func (k Key) Actor() Actor {
	if k.Assistant != "" {
		return Actor{Kind: ActorAssistant, ID: string(k.ID), Assistant: k.Assistant}
	}
	return Actor{Kind: ActorAdministrator, ID: string(k.ID), Role: k.Role}
}

// Good reports whether the key still opens anything.
func (k Key) Good(now time.Time) bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt))
}

// Validate checks a key that is to be made.
func (k Key) Validate(now time.Time) error {
	var p problems
	p.name("name", k.Name)
	switch {
	case k.Assistant != "" && k.Role != "":
		p.add("role", "An assistant's key has no role; leave it out.")
	case k.Assistant == "" && !k.Role.Valid():
		p.add("role", "Expected owner, administrator, developer or viewer, or an assistant instead.")
	}
	if !k.ExpiresAt.IsZero() && !k.ExpiresAt.After(now) {
		p.add("expires_at", "Expected a time in the future.")
	}
	return p.err()
}
