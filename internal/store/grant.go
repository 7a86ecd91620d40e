package store

import (
	"context"
	"errors"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

// This file is about what an authorization brought that no connection is made
// of: it was not finished, it was another account's, or it did not pass a check.
// The rules are:
//
//   - It is forgotten, and revoked at the provider only where that is safe: the
//     account is known, and has no live connection under the same client. At
//     some providers a revocation, or a second grant, ends the first.
//   - That is looked at whenever the provider is about to be asked, not when the
//     session ends: the person may have connected meanwhile.
//   - What is left is noted as left.

// holdGrant is how long whoever asks at once has for it.
const holdGrant = 2 * time.Minute

// Forsaken is what an authorization brought that no connection is made of.
type Forsaken struct {
	Result behalf.SessionResult // its account as far as that is known
	Fields map[string]secret.Text
}

// ForsakeSession is EndSession for one that brought something which was not kept
// in it.
func (s Scope) ForsakeSession(ctx context.Context, n behalf.ConnectSession, status behalf.SessionStatus, why behalf.Outcome, f Forsaken) (behalf.ConnectSession, error) {
	return s.endSession(ctx, n, status, why, &f)
}

// Forsake keeps that what a session brought is to be revoked, where that is
// safe, while the session goes on, or is nobody's: a test. With first set the
// first attempt is the caller's, and begins now.
func (s Scope) Forsake(ctx context.Context, n behalf.ConnectSession, f Forsaken, first bool) (Owed, error) {
	if err := s.allow(behalf.Maintain, n.Assistant, "connect session"); err != nil {
		return Owed{}, err
	}
	o := forsaken(n, f)
	return o, s.change(ctx, func(c *change) error {
		if first {
			return s.owe(ctx, c, &o, holdGrant)
		}
		return s.forsake(ctx, c, n, f)
	})
}

func forsaken(n behalf.ConnectSession, f Forsaken) Owed {
	id := string(n.ID)
	if n.Trial != "" {
		id = string(n.Trial)
	}
	return Owed{Connection: behalf.ConnectionID(id), Generation: n.Version, Assistant: n.Assistant, Profile: n.Profile, User: n.User, Tenant: n.Tenant, Subject: f.Result.Account.Subject,
		Credential: f.Result.Credential, Inputs: behalf.Inputs{Fields: f.Fields, Captured: f.Result.Captured, Origins: f.Result.Origins}, Grant: true}
}

// forsake keeps what is to be revoked, or notes why it is left.
func (s Scope) forsake(ctx context.Context, c *change, n behalf.ConnectSession, f Forsaken) error {
	o := forsaken(n, f)
	if o.Credential.AccessToken.Empty() && o.Credential.RefreshToken.Empty() {
		return nil
	}
	row, err := c.KeptProfile(ctx, query.KeptProfileParams{Assistant: string(n.Assistant), ID: string(n.Profile)})
	if err != nil {
		return err
	}
	why := ""
	switch p, err := s.db.profileFrom(row); {
	case err != nil:
		why = "The profile could not be read."
	case p.Plan == nil || p.Plan.OAuth.RevocationURL == "":
		why = "The profile has no revocation address."
	case o.Subject == "":
		why = "It is not known whose account it is: to revoke it could end a live connection of that account."
	}
	if why == "" {
		return s.owe(ctx, c, &o, 0)
	}
	left := behalf.RevocationProof{Outcome: behalf.RevocationLeft, Detail: why}
	c.tell(o, left)
	return c.outcome(ctx, o, left)
}

// held returns what a session holds that no connection is made of yet; nil:
// nothing, or nothing that can be read.
func (s Scope) held(row query.ConnectSession) (*Forsaken, error) {
	n := sessionFrom(row)
	if n.Status.Ended() || n.ReturnedAt.IsZero() {
		return nil, nil
	}
	var sealed sealedSession
	err := s.db.unseal(row.Sealed, sessionPlace(n.ID, n.Version), &sealed)
	if errors.Is(err, vault.ErrOpen) {
		s.db.log.Error("what a session held cannot be opened", "session", n.ID, "err", err)
		return nil, nil
	}
	secrets := sealed.open()
	if err != nil || secrets.Result == nil {
		return nil, err
	}
	return &Forsaken{*secrets.Result, secrets.Fields}, nil
}

// heldOf is held for a session as it was read.
func (s Scope) heldOf(ctx context.Context, c *change, n behalf.ConnectSession) (*Forsaken, error) {
	row, err := c.Session(ctx, string(n.ID))
	switch {
	case isNoRows(err) || err == nil && (row.Version != n.Version || row.Assistant != string(n.Assistant)):
		return nil, ErrStale
	case err != nil:
		return nil, err
	}
	return s.held(row)
}

// AccountUse says whether a provider's account is in use.
type AccountUse int

const (
	AccountUsed    AccountUse = iota // it has a live connection, or may have one
	AccountWaits                     // it may be about to get one: look again
	AccountNotUsed                   // none of its tokens is needed
)

// AccountUse reports whether an account has a live connection under the client
// of a profile, or is about to get one.
func (s Scope) AccountUse(ctx context.Context, p behalf.Profile, subject string) (AccountUse, error) {
	if err := s.allow(behalf.Maintain, p.Assistant, "connection"); err != nil {
		return AccountUsed, err
	}
	if subject == "" || !text(subject) {
		return AccountUsed, nil
	}
	profiles, err := s.db.read.ProfilesOfSubject(ctx, subject)
	if err != nil {
		return AccountUsed, unavailable(err)
	}
	for _, row := range profiles {
		if s.sameClient(p, row) {
			return AccountUsed, nil
		}
	}
	sessions, err := s.db.read.SessionsUnderWay(ctx)
	if err != nil {
		return AccountUsed, unavailable(err)
	}
	for _, row := range sessions {
		if f, err := s.held(row); err == nil && f != nil && f.Result.Account.Subject != "" && f.Result.Account.Subject != subject {
			continue
		}
		of, err := s.db.read.KeptProfile(ctx, query.KeptProfileParams{Assistant: row.Assistant, ID: row.Profile})
		if err != nil {
			return AccountUsed, unavailable(err)
		}
		if s.sameClient(p, of) {
			return AccountWaits, nil
		}
	}
	return AccountNotUsed, nil
}

// sameClient reports whether two profiles are one client of one provider, or may
// be.
func (s Scope) sameClient(p behalf.Profile, row query.Profile) bool {
	q, err := s.db.profileFrom(row)
	return err != nil || p.Plan == nil || q.Plan == nil || p.ID == q.ID || p.ClientID == q.ClientID && p.Plan.TokenHost() == q.Plan.TokenHost()
}
