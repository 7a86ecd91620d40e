package behalf

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// This file says what becomes of what has ended. The rules are:
//
//   - A deleted profile stops at once: nothing is given out, and nobody connects.
//   - For KeepDeleted it can be restored, and its connections are kept alive for
//     that. Then they are revoked at the provider, and forgotten.
//   - A revocation that the provider did not take is asked for again, until
//     GiveUpRevoking.

const (
	KeepDeleted    = 30 * 24 * time.Hour
	GiveUpRevoking = 7 * 24 * time.Hour
)

// Deleted reports whether the profile was deleted.
func (p Profile) Deleted() bool { return !p.DeletedAt.IsZero() }

// ErrDeleted is the error of whoever asks for a profile that was deleted.
func ErrDeleted(p Profile, now time.Time) *Error {
	e := Errorf(CodeNotFound, "This authorization profile was deleted on %s. Its connections are being revoked at the provider; make a new profile.", date(p.DeletedAt))
	if now.Before(p.PurgeAt) {
		e = Errorf(CodeNotFound, "This authorization profile was deleted on %s. Nothing is given out of its connections; it can be restored until %s.", date(p.DeletedAt), date(p.PurgeAt))
	}
	e.Field = "profile"
	return e
}

func date(t time.Time) string { return t.UTC().Format("2 January 2006") }

// ProfileUses says where a profile is used, for whoever is about to delete it.
type ProfileUses struct {
	Active    int64    // connections that work
	Lapsed    int64    // connections whose person must authorize again
	Users     int64    // people who have one of them
	Links     int64    // connect links that are open
	Variables []string // names that the profile fills in from variables
	Connector string   // that its calls go through
}

// Revocation says how the end of a connection went at the provider.
type Revocation string

const (
	RevocationDone       Revocation = "revoked"     // the provider has taken its tokens back
	RevocationRetrying   Revocation = "retrying"    // it did not answer as it should, and is asked again
	RevocationNotOffered Revocation = "not_offered" // there is no way to ask it, or nothing to take back
	RevocationEarlier    Revocation = "earlier"     // the connection had ended before
	RevocationGivenUp    Revocation = "given_up"    // it was asked until GiveUpRevoking, in vain: the person must end it there
	RevocationLeft       Revocation = "left"        // of what no connection was made of: to revoke it might end a live one
)

// RevocationProof says what became of one revocation.
type RevocationProof struct {
	Outcome  Revocation
	Host     string // that was asked; empty: none
	Answer   string // class of its last answer, as 2xx; empty: none came
	Attempts int64
	Detail   string
	At       time.Time // of the outcome; while there is none, when the connection ended
	NextAt   time.Time // of one that is to be asked for again
}

// Sentence says it in words, for logs and events.
func (p RevocationProof) Sentence() string {
	if p.Host == "" {
		return p.Detail
	}
	answer := "no answer came"
	if p.Answer != "" {
		answer = "the last answer was " + p.Answer
	}
	return strings.TrimSpace(fmt.Sprintf("%s Attempts at %s: %d; %s.", p.Detail, p.Host, p.Attempts, answer))
}

// WorstRevocation returns the proof that matters most of those of one
// connection: what somebody must do something about, else what is not over.
func WorstRevocation(all []RevocationProof) (RevocationProof, bool) {
	for _, o := range []Revocation{RevocationGivenUp, RevocationRetrying, RevocationLeft, RevocationDone, RevocationNotOffered} {
		for _, p := range all {
			if p.Outcome == o {
				return p, true
			}
		}
	}
	return RevocationProof{}, false
}

// secretNotices are how long before the last client secret ends it is told.
var secretNotices = []time.Duration{30 * 24 * time.Hour, 7 * 24 * time.Hour, 24 * time.Hour, 0}

// SecretEnds returns when the profile's last client secret ends; zero: it has
// none, or one that does not end.
func (p Profile) SecretEnds() time.Time {
	var last time.Time
	for _, c := range p.Secrets.Client {
		if c.ExpiresAt.IsZero() {
			return time.Time{}
		}
		if c.ExpiresAt.After(last) {
			last = c.ExpiresAt
		}
	}
	return last
}

// SecretNotice returns what is to be told now of the end of the client secret,
// and the time that it was due at, if that is after told.
func (p Profile) SecretNotice(told, now time.Time) (due time.Time, event EventType, detail string) {
	ends := p.SecretEnds()
	if ends.IsZero() {
		return time.Time{}, "", ""
	}
	for _, before := range secretNotices {
		if at := ends.Add(-before); !at.After(now) {
			due = at
		}
	}
	switch {
	case !due.After(told):
		return time.Time{}, "", ""
	case !ends.After(now):
		return due, EventClientSecretEnded, fmt.Sprintf("The client secret ended on %s. Enter a new one: the provider will refuse to connect and to refresh.", date(ends))
	}
	return due, EventClientSecretEnding, fmt.Sprintf("The client secret ends on %s. Enter a new one beside it before that.", date(ends))
}

// VariableNames returns the variables that the definition is filled with.
func (d Definition) VariableNames() []string {
	var out []string
	for name := range (&linter{d: d}).used() {
		if strings.HasPrefix(name, "env.") || strings.HasPrefix(name, "context.") {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
