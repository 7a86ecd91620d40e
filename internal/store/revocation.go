package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

// This file keeps what is still to be revoked at a provider. The rules are:
//
//   - That a revocation is owed is kept in the transaction that ends the
//     connection, or saves what came too late for it: no crash loses it.
//   - What is owed is what is in force in that transaction, not what was read
//     before: a refresh may have been quicker.
//   - Who takes one on has it alone for a while, in all nodes together. It is
//     forgotten in the transaction that keeps what became of it: a crash before
//     that repeats the request, which harms nobody.

// Owed is a revocation that a provider has not been asked for with success.
type Owed struct {
	Connection behalf.ConnectionID // or the session, or test, that made none
	Generation int64
	Fence      int64
	Assistant  behalf.AssistantID
	Profile    behalf.ProfileID
	Tries      int64 // attempts that were begun
	CreatedAt  time.Time
	Credential behalf.Credential
	Inputs     behalf.Inputs
	User       string
	Tenant     string
	Subject    string
	// Grant is set where no connection was made of the credential: then it is
	// revoked only while the account has no live connection.
	Grant bool
}

type sealedOwed struct {
	Credential sealedCredential `json:"credential"`
	Inputs     sealedInputs     `json:"inputs"`
	User       string           `json:"user,omitempty"`
	Tenant     string           `json:"tenant,omitempty"`
	Subject    string           `json:"subject,omitempty"`
}

// never is when what older code must not take on is due for it.
const never = math.MaxInt64

func (o Owed) place() vault.Place {
	row := strings.Join([]string{string(o.Connection), string(o.Assistant), string(o.Profile), fmt.Sprint(o.Fence)}, "\x00")
	return vault.Place{Table: "revocations", Row: row, Column: "sealed", Generation: o.Generation}
}

// due returns both columns that say when a revocation is due.
func (o Owed) due(t time.Time) (next, grant int64) {
	if o.Grant {
		return never, micros(t)
	}
	return micros(t), 0
}

// RevokeOwing is Revoke, and keeps in the same transaction what is then to be
// revoked at the provider, as far as revocable says that it can be: not before
// hold, for whoever asks at once. It reports whether the connection had not
// ended before.
func (s Scope) RevokeOwing(ctx context.Context, c behalf.Connection, reason string, hold time.Duration, revocable func(behalf.Credential) bool) ([]Owed, bool, error) {
	if err := s.mayChange(c); err != nil {
		return nil, false, err
	}
	var owed []Owed
	ended := false
	err := s.change(ctx, func(t *change) (err error) {
		if ended, err = s.ending(ctx, t, c, reason); err != nil || !ended {
			return err
		}
		if owed, err = s.inForce(ctx, t, c.ID, revocable); err != nil {
			return err
		}
		for i := range owed {
			if err := s.owe(ctx, t, &owed[i], hold); err != nil {
				return err
			}
		}
		if len(owed) == 0 {
			if err := t.outcome(ctx, owedOf(c), notOffered("There was nothing that could be taken back.")); err != nil {
				return err
			}
		}
		return t.EraseCredentials(ctx, string(c.ID))
	})
	return owed, ended, err
}

// inForce returns what is to be revoked of a connection that has just ended: the
// credential in force, and strays beside it. What does not open is passed over.
func (s Scope) inForce(ctx context.Context, t *change, id behalf.ConnectionID, revocable func(behalf.Credential) bool) ([]Owed, error) {
	row, err := t.Connection(ctx, string(id))
	if err != nil {
		return nil, err
	}
	c := connectionFrom(row)
	inputs, err := s.db.openInputs(row)
	if err != nil {
		s.db.log.Error("a connection that is ended cannot be revoked at the provider", "connection", id, "err", err)
		return nil, nil
	}
	kept, err := t.Generations(ctx, row.ID)
	if err != nil {
		return nil, err
	}
	var owed []Owed
	for _, r := range kept {
		g := generationOf(row, r)
		if !g.Current && !g.Stray {
			continue
		}
		got, err := s.credentialIn(ctx, t.Queries, id, r.Generation, r.Fence)
		switch {
		case errors.Is(err, vault.ErrOpen):
			s.db.log.Error("a credential that is erased cannot be revoked at the provider", "connection", id, "err", err)
			continue
		case err != nil:
			return nil, err
		case !revocable(got) || hasTokens(owed, got):
			continue
		}
		o := owedOf(c)
		o.Generation, o.Fence, o.Credential, o.Inputs = r.Generation, r.Fence, got, inputs
		owed = append(owed, o)
	}
	return owed, nil
}

// hasTokens reports whether the tokens of a credential are among those owed.
func hasTokens(owed []Owed, got behalf.Credential) bool {
	for _, o := range owed {
		if o.Credential.RefreshToken.Equal(got.RefreshToken) && (!got.RefreshToken.Empty() || o.Credential.AccessToken.Equal(got.AccessToken)) {
			return true
		}
	}
	return false
}

// oweLate keeps that a credential is to be revoked which came when its
// connection had been ended already, in the transaction that does not keep it.
func (s Scope) oweLate(ctx context.Context, t *change, row query.Connection, generation, fence int64, sealed []byte) error {
	profile, err := t.KeptProfile(ctx, query.KeptProfileParams{Assistant: row.Assistant, ID: row.Profile})
	if err != nil {
		return err
	}
	c := connectionFrom(row)
	p, err := s.db.profileFrom(profile)
	if err != nil || p.Plan == nil || p.Plan.OAuth.RevocationURL == "" {
		return nil
	}
	var got sealedCredential
	err = s.db.unseal(sealed, credentialPlace(c.ID, generation, fence), &got)
	inputs, unread := s.db.openInputs(row)
	if err = errors.Join(err, unread); err != nil {
		s.db.log.Error("a late credential cannot be revoked at the provider", "connection", c.ID, "err", err)
		return nil
	}
	o := owedOf(c)
	o.Generation, o.Fence, o.Credential, o.Inputs = generation, fence, got.open(), inputs
	return s.owe(ctx, t, &o, 0)
}

func owedOf(c behalf.Connection) Owed {
	return Owed{Connection: c.ID, Generation: c.Generation, Fence: c.Fence, Assistant: c.Assistant, Profile: c.Profile, User: c.User, Tenant: c.Tenant, Subject: c.Account.Subject}
}

// owe keeps a revocation. With a hold its first attempt begins now.
func (s Scope) owe(ctx context.Context, t *change, o *Owed, hold time.Duration) error {
	o.CreatedAt = t.now
	if hold > 0 {
		o.Tries = 1
	}
	sealed, err := s.db.seal(sealedOwed{sealCredential(o.Credential), sealInputs(o.Inputs), o.User, o.Tenant, o.Subject}, o.place())
	if err != nil {
		return err
	}
	next, grant := o.due(t.now.Add(hold))
	return t.InsertRevocation(ctx, query.InsertRevocationParams{Connection: string(o.Connection), Generation: o.Generation, Fence: o.Fence, Assistant: string(o.Assistant),
		Profile: string(o.Profile), Sealed: sealed, Tries: o.Tries, NextAttemptAt: next, GrantAt: grant, CreatedAt: micros(t.now)})
}

// Owes reports whether the provider is still to be asked to revoke something of
// the connection.
func (s Scope) Owes(ctx context.Context, c behalf.Connection) (bool, error) {
	if err := s.allow(behalf.ReadConnections, c.Assistant, "connection"); err != nil {
		return false, err
	}
	rows, err := s.db.read.RevocationsOf(ctx, string(c.ID))
	return len(rows) > 0 && rows[0].Assistant == string(c.Assistant), unavailableIf(err)
}

// maxClaimed is how many revocations are taken on at a time: they must have
// been asked for before another node takes them.
const maxClaimed = 32

// ClaimOwed returns revocations that are due; for hold they are this node's.
func (s Scope) ClaimOwed(ctx context.Context, hold time.Duration) ([]Owed, error) {
	if err := s.allow(behalf.Maintain, "", "revocation"); err != nil {
		return nil, err
	}
	now := micros(s.db.Now())
	rows, err := s.db.read.DueRevocations(ctx, query.DueRevocationsParams{Now: now, Max: maxClaimed})
	if err != nil {
		return nil, unavailable(err)
	}
	grants, err := s.db.read.DueGrants(ctx, query.DueGrantsParams{Now: now, Max: maxClaimed})
	if err != nil {
		return nil, unavailable(err)
	}
	return s.claim(ctx, append(rows, grants...), hold)
}

// ClaimOwedOf is ClaimOwed for what one connection owes and nobody has taken on.
func (s Scope) ClaimOwedOf(ctx context.Context, c behalf.Connection, hold time.Duration) ([]Owed, error) {
	if err := s.allow(behalf.Maintain, c.Assistant, "revocation"); err != nil {
		return nil, err
	}
	rows, err := s.db.read.RevocationsOf(ctx, string(c.ID))
	if err != nil {
		return nil, unavailable(err)
	}
	now := micros(s.db.Now())
	var due []query.Revocation
	for _, r := range rows {
		if r.NextAttemptAt <= now {
			due = append(due, r)
		}
	}
	return s.claim(ctx, due, hold)
}

func (s Scope) claim(ctx context.Context, rows []query.Revocation, hold time.Duration) ([]Owed, error) {
	var mine []Owed
	for _, r := range rows {
		o := Owed{Connection: behalf.ConnectionID(r.Connection), Generation: r.Generation, Fence: r.Fence, Assistant: behalf.AssistantID(r.Assistant), Profile: behalf.ProfileID(r.Profile),
			Tries: r.Tries + 1, CreatedAt: at(r.CreatedAt), Grant: r.GrantAt > 0}
		next, grant := o.due(s.db.Now().Add(hold))
		taken, err := s.db.write.ClaimRevocation(ctx, query.ClaimRevocationParams{NextAttemptAt: next, GrantAt: grant, Connection: r.Connection, Generation: r.Generation, Fence: r.Fence, Tries: r.Tries})
		if err != nil {
			return mine, unavailable(err)
		}
		if taken == 0 {
			continue
		}
		var sealed sealedOwed
		if err := s.db.unseal(r.Sealed, o.place(), &sealed); err != nil {
			s.db.log.Error("a revocation that is owed cannot be opened", "connection", o.Connection, "err", err)
			if s.db.Now().Sub(o.CreatedAt) >= behalf.GiveUpRevoking {
				_ = s.Settle(ctx, o, behalf.RevocationProof{Outcome: behalf.RevocationGivenUp, Detail: "What was to be revoked could not be read."}) // or the next time
			}
			continue
		}
		o.Credential, o.Inputs, o.User, o.Tenant, o.Subject = sealed.Credential.open(), sealed.Inputs.open(), sealed.User, sealed.Tenant, sealed.Subject
		mine = append(mine, o)
	}
	return mine, nil
}

// Postpone says when a revocation is tried again, and how the attempt went.
func (s Scope) Postpone(ctx context.Context, o Owed, proof behalf.RevocationProof) error {
	if err := s.allow(behalf.Maintain, o.Assistant, "revocation"); err != nil {
		return err
	}
	next, grant := o.due(proof.NextAt)
	return unavailableIf(s.db.write.PostponeRevocation(ctx, query.PostponeRevocationParams{NextAttemptAt: next, GrantAt: grant, Tries: o.Tries, Host: proof.Host, Answer: proof.Answer,
		Connection: string(o.Connection), Generation: o.Generation, Fence: o.Fence}))
}

// Settle keeps what became of a revocation, and forgets that it is owed.
func (s Scope) Settle(ctx context.Context, o Owed, proof behalf.RevocationProof) error {
	if err := s.allow(behalf.Maintain, o.Assistant, "revocation"); err != nil {
		return err
	}
	return s.change(ctx, func(c *change) error {
		rows, err := c.DeleteRevocation(ctx, query.DeleteRevocationParams{Connection: string(o.Connection), Generation: o.Generation, Fence: o.Fence})
		if err != nil || rows == 0 {
			return err
		}
		c.tell(o, proof)
		return c.outcome(ctx, o, proof)
	})
}

// tell writes the audit line, and the event of a revocation that somebody must
// make by hand.
func (c *change) tell(o Owed, proof behalf.RevocationProof) {
	action := map[behalf.Revocation]string{behalf.RevocationDone: "session.grant_revoked", behalf.RevocationLeft: "session.grant_left", behalf.RevocationNotOffered: "session.grant_left",
		behalf.RevocationGivenUp: "session.grant_given_up"}
	if !o.Grant {
		action = map[behalf.Revocation]string{behalf.RevocationDone: "connection.revoked_at_provider", behalf.RevocationNotOffered: "connection.revocation_given_up",
			behalf.RevocationGivenUp: "connection.revocation_given_up"}
	}
	c.audit(o.Assistant, action[proof.Outcome], string(o.Connection), proof.Sentence())
	if !o.Grant && proof.Outcome == behalf.RevocationGivenUp {
		c.event(behalf.Event{Assistant: o.Assistant, Type: behalf.EventRevocationGivenUp, Profile: o.Profile, Connection: o.Connection, User: o.User, Detail: proof.Sentence()})
	}
}

func notOffered(why string) behalf.RevocationProof {
	return behalf.RevocationProof{Outcome: behalf.RevocationNotOffered, Detail: why}
}

// outcome keeps the proof of what became of a revocation.
func (c *change) outcome(ctx context.Context, o Owed, proof behalf.RevocationProof) error {
	return c.InsertRevocationOutcome(ctx, query.InsertRevocationOutcomeParams{Connection: string(o.Connection), Generation: o.Generation, Fence: o.Fence, Assistant: string(o.Assistant),
		Profile: string(o.Profile), Outcome: string(proof.Outcome), Host: proof.Host, Answer: proof.Answer, Attempts: proof.Attempts, Detail: proof.Detail, At: micros(c.now)})
}

// RevocationProofs returns how the end of a connection went at the provider, for
// each credential that was to be revoked. It is empty for one that has not
// ended.
func (s Scope) RevocationProofs(ctx context.Context, c behalf.Connection) ([]behalf.RevocationProof, error) {
	if _, err := s.connection(ctx, s.db.read, c.ID); err != nil {
		return nil, err
	}
	return s.db.proofs(ctx, string(c.ID))
}

// GrantProofs is RevocationProofs for what a session brought that no connection
// was made of.
func (s Scope) GrantProofs(ctx context.Context, n behalf.ConnectSession) ([]behalf.RevocationProof, error) {
	if _, err := s.Session(ctx, n.Assistant, n.ID); err != nil {
		return nil, err
	}
	return s.db.proofs(ctx, string(n.ID))
}

func (db *DB) proofs(ctx context.Context, id string) ([]behalf.RevocationProof, error) {
	waiting, err := db.read.RevocationsOf(ctx, id)
	if err != nil {
		return nil, unavailable(err)
	}
	over, err := db.read.RevocationOutcomes(ctx, id)
	if err != nil {
		return nil, unavailable(err)
	}
	var out []behalf.RevocationProof
	for _, r := range waiting {
		next := r.NextAttemptAt
		if r.GrantAt > 0 {
			next = r.GrantAt
		}
		out = append(out, behalf.RevocationProof{Outcome: behalf.RevocationRetrying, Host: r.Host, Answer: r.Answer, Attempts: r.Tries, At: at(r.CreatedAt), NextAt: at(next)})
	}
	for _, r := range over {
		out = append(out, behalf.RevocationProof{Outcome: behalf.Revocation(r.Outcome), Host: r.Host, Answer: r.Answer, Attempts: r.Attempts, Detail: r.Detail, At: at(r.At)})
	}
	return out, nil
}
