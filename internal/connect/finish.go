package connect

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// Confirmation is what the assistant's backend sends in the request of the
// person who is signed in there.
type Confirmation struct {
	Code     secret.Text // from the return URL, so it came with that person's browser
	Verifier secret.Text // of the session that the backend began for that person
	User     string      // who is signed in
}

const maxFinishTries = 5

// Finish makes the connection of a session that waits for it. The code proves
// which browser authorized, the verifier and the user for whom the session was
// begun; where they do not belong together, somebody was sent a stranger's
// link, and what was authorized is forgotten.
func (c *Connect) Finish(ctx context.Context, db store.Scope, a behalf.Assistant, id behalf.SessionID, n Confirmation) (behalf.ConnectSession, error) {
	s, err := db.Session(ctx, a.ID, id)
	if err != nil {
		return s, err
	}
	switch {
	case s.Status != behalf.SessionPending:
		return s, behalf.Errorf(behalf.CodeConflict, "The session is %s; only one that is pending can be finished.", s.Status.Public())
	case s.Expired(c.db.Now()):
		s, err = db.EndSession(ctx, s, behalf.SessionExpired, expiry(s))
		return s, errors.Join(err, behalf.Errorf(behalf.CodeConflict, "The session was not finished in time. What was authorized has been forgotten."))
	}
	secrets, err := db.SessionSecrets(ctx, s)
	if err != nil {
		return s, stale(err)
	}
	if !secret.HashEqual(n.Code, s.FinishHash) {
		return s, c.wrongCode(ctx, db, s, secrets)
	}
	if !verifies(n.Verifier, s.FinishChallenge) || n.User != s.User {
		return c.stranger(ctx, db, s)
	}
	p, err := db.Profile(ctx, a.ID, string(s.Profile))
	if err != nil {
		return s, err
	}
	result := *secrets.Result
	secrets.Result = nil
	s, err = c.connect(ctx, db, s, p, secrets, result)
	return s, stale(err)
}

// wrongCode counts: a few wrong codes end the session.
func (c *Connect) wrongCode(ctx context.Context, db store.Scope, s behalf.ConnectSession, secrets behalf.SessionSecrets) error {
	wrong := behalf.Invalid("code", "This is not the code that the browser brought.")
	if s.FinishTries++; s.FinishTries < maxFinishTries {
		return errors.Join(wrong, stale(db.SaveSession(ctx, s, secrets)))
	}
	_, err := db.EndSession(ctx, s, behalf.SessionFailed, behalf.Outcome{Code: "not_finished", Detail: "Finish was tried with wrong codes too often.", Fix: "Begin a new connect session."})
	return errors.Join(wrong, stale(err))
}

// stranger ends a session whose browser was another person's than the one it
// was begun for.
func (c *Connect) stranger(ctx context.Context, db store.Scope, s behalf.ConnectSession) (behalf.ConnectSession, error) {
	c.cfg.Log.Warn("finish by another person than the session was begun for", "session", s.ID, "assistant", s.Assistant)
	s, err := db.EndSession(ctx, s, behalf.SessionFailed, behalf.Outcome{Code: "other_person", Detail: "The person who authorized is not the one for whom the session was begun. What was authorized has been forgotten.", Fix: "Begin a session for the person who is signed in, and show the link to nobody else."})
	return s, errors.Join(behalf.Errorf(behalf.CodeForbidden, "The verifier or the user does not belong to this session: another person has authorized. What was authorized has been forgotten."), stale(err))
}

func verifies(verifier secret.Text, challenge string) bool {
	h := sha256.Sum256([]byte(verifier.Reveal()))
	return !verifier.Empty() && secret.New(base64.RawURLEncoding.EncodeToString(h[:])).Equal(secret.New(challenge))
}

func stale(err error) error {
	if errors.Is(err, store.ErrStale) {
		return behalf.Errorf(behalf.CodeConflict, "The session was moved on by another request meanwhile; read it again.")
	}
	return err
}
