package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

// Session returns a connect session by id.
func (s Scope) Session(ctx context.Context, assistant behalf.AssistantID, id behalf.SessionID) (behalf.ConnectSession, error) {
	if err := s.allow(behalf.ReadSessions, assistant, "connect session"); err != nil {
		return behalf.ConnectSession{}, err
	}
	if !text(string(id)) {
		return behalf.ConnectSession{}, behalf.NotFound("connect session")
	}
	row, err := s.db.read.Session(ctx, string(id))
	if err := found(err, "connect session"); err != nil {
		return behalf.ConnectSession{}, err
	}
	if row.Assistant != string(assistant) {
		return behalf.ConnectSession{}, behalf.NotFound("connect session")
	}
	return sessionFrom(row), nil
}

// CreateSession keeps a new session and what it was given, sealed.
func (s Scope) CreateSession(ctx context.Context, n behalf.ConnectSession, secrets behalf.SessionSecrets) error {
	if err := s.mayBegin(n); err != nil {
		return err
	}
	_, err := s.db.read.Profile(ctx, query.ProfileParams{Assistant: string(n.Assistant), ID: string(n.Profile)})
	if err := found(err, "profile"); err != nil {
		return err
	}
	sealed, err := s.db.sealSession(n.ID, 1, secrets)
	if err != nil {
		return err
	}
	return s.change(ctx, func(c *change) error {
		c.audit(n.Assistant, "session.create", string(n.ID), "")
		return c.InsertSession(ctx, query.InsertSessionParams{ID: string(n.ID), Assistant: string(n.Assistant), Profile: string(n.Profile), ProfileVersion: n.ProfileVersion,
			EndUser: n.User, UserName: n.UserName, Tenant: n.Tenant, Locale: n.Locale, ReturnUrl: n.ReturnURL, Status: string(n.Status), FinishChallenge: n.FinishChallenge,
			LinkHash: n.LinkHash, BrowserHash: []byte{}, StateHash: []byte{}, FinishHash: []byte{}, Sealed: sealed, CreatedAt: micros(n.CreatedAt), ExpiresAt: micros(n.ExpiresAt), Trial: string(n.Trial)})
	})
}

// SessionSecrets returns what is sealed of a session.
func (s Scope) SessionSecrets(ctx context.Context, n behalf.ConnectSession) (behalf.SessionSecrets, error) {
	if err := s.mayRun(n); err != nil {
		return behalf.SessionSecrets{}, err
	}
	row, err := s.db.read.Session(ctx, string(n.ID))
	if err := found(err, "connect session"); err != nil {
		return behalf.SessionSecrets{}, err
	}
	if row.Assistant != string(n.Assistant) {
		return behalf.SessionSecrets{}, behalf.NotFound("connect session")
	}
	if row.Version != n.Version {
		return behalf.SessionSecrets{}, ErrStale
	}
	var sealed sealedSession
	err = s.db.unseal(row.Sealed, sessionPlace(n.ID, n.Version), &sealed)
	return sealed.open(), err
}

// SaveSession moves a session on: one compare-and-swap by its version, so that
// reload, back button and two tabs cannot both win. It returns ErrStale where
// another was first.
func (s Scope) SaveSession(ctx context.Context, n behalf.ConnectSession, secrets behalf.SessionSecrets) error {
	if err := s.mayRun(n); err != nil {
		return err
	}
	return s.change(ctx, func(c *change) error { return s.updateSession(ctx, c, n, secrets) })
}

// EndSession ends a session without a connection and forgets what it held.
func (s Scope) EndSession(ctx context.Context, n behalf.ConnectSession, status behalf.SessionStatus, why behalf.Outcome) (behalf.ConnectSession, error) {
	return s.endSession(ctx, n, status, why, nil)
}

func (s Scope) endSession(ctx context.Context, n behalf.ConnectSession, status behalf.SessionStatus, why behalf.Outcome, brought *Forsaken) (behalf.ConnectSession, error) {
	n.Status, n.Problem, n.EndedAt = status, &why, s.db.Now()
	if err := s.mayRun(n); err != nil {
		return n, err
	}
	err := s.change(ctx, func(c *change) (err error) {
		if brought == nil {
			brought, err = s.heldOf(ctx, c, n)
		}
		if err == nil && brought != nil {
			err = s.forsake(ctx, c, n, *brought)
		}
		if err != nil {
			return err
		}
		c.audit(n.Assistant, "session."+string(status), string(n.ID), why.Code)
		return s.updateSession(ctx, c, n, behalf.SessionSecrets{})
	})
	n.Version++
	return n, err
}

// OverdueSessions returns sessions whose time is over but that have not ended.
func (s Scope) OverdueSessions(ctx context.Context) ([]behalf.ConnectSession, error) {
	if err := s.allow(behalf.Maintain, "", "connect session"); err != nil {
		return nil, err
	}
	now := s.db.Now()
	rows, err := s.db.read.OverdueSessions(ctx, query.OverdueSessionsParams{Now: micros(now), PendingSince: micros(now.Add(-behalf.FinishLifetime)), Max: maxPage})
	if err != nil {
		return nil, unavailable(err)
	}
	out := make([]behalf.ConnectSession, 0, len(rows))
	for _, r := range rows {
		out = append(out, sessionFrom(r))
	}
	return out, nil
}

// ForgetSessions deletes what is left of sessions that ended before a time.
func (s Scope) ForgetSessions(ctx context.Context, before time.Time) error {
	if err := s.allow(behalf.Maintain, "", "connect session"); err != nil {
		return err
	}
	return s.change(ctx, func(c *change) error {
		if err := c.ForgetSessionOutcomes(ctx, micros(before)); err != nil {
			return err
		}
		return c.DeleteSessions(ctx, micros(before))
	})
}

// mayRun decides who may move a session: the browser that holds its link, the
// assistant that began it (to finish it), and our own sweep.
func (s Scope) mayRun(n behalf.ConnectSession) error {
	switch s.actor.Kind {
	case behalf.ActorEndUser:
		if s.actor.ID == string(n.ID) && s.actor.Assistant == n.Assistant {
			return nil
		}
		return behalf.NotFound("connect session")
	case behalf.ActorSystem:
		return nil
	}
	return s.allow(behalf.BeginSessions, n.Assistant, "connect session")
}

func (s Scope) updateSession(ctx context.Context, c *change, n behalf.ConnectSession, secrets behalf.SessionSecrets) error {
	sealed, err := s.db.sealSession(n.ID, n.Version+1, secrets)
	if err != nil {
		return err
	}
	outcome := ""
	if n.Problem != nil {
		b, err := json.Marshal(n.Problem)
		if err != nil {
			return err
		}
		outcome = string(b)
	}
	return one(c.UpdateSession(ctx, query.UpdateSessionParams{ProfileVersion: n.ProfileVersion, Tenant: n.Tenant, Status: string(n.Status), Connection: string(n.Connection),
		Outcome: outcome, FinishTries: n.FinishTries, BrowserHash: orEmpty(n.BrowserHash), StateHash: orEmpty(n.StateHash), FinishHash: orEmpty(n.FinishHash), RedirectUri: n.RedirectURI,
		Issuer: n.Issuer, Sealed: sealed, RedirectedAt: micros(n.RedirectedAt), ReturnedAt: micros(n.ReturnedAt), EndedAt: micros(n.EndedAt), ID: string(n.ID), Assistant: string(n.Assistant), Version: n.Version}))
}

func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func sessionPlace(id behalf.SessionID, version int64) vault.Place {
	return vault.Place{Table: "connect_sessions", Row: string(id), Column: "sealed", Generation: version}
}

// sealedSession is the form in which a session's secrets are sealed.
type sealedSession struct {
	Fields       map[string]string `json:"fields,omitempty"`
	TenantFixed  bool              `json:"tenant_fixed,omitempty"`
	State        string            `json:"state,omitempty"`
	CodeVerifier string            `json:"code_verifier,omitempty"`
	Nonce        string            `json:"nonce,omitempty"`
	Reconnect    behalf.Reconnect  `json:"reconnect,omitzero"`
	Result       *sealedResult     `json:"result,omitempty"`
	Choosing     *behalf.Choosing  `json:"choosing,omitempty"`
}

type sealedResult struct {
	Credential sealedCredential  `json:"credential"`
	Subject    string            `json:"subject"`
	Label      string            `json:"label"`
	Captured   map[string]string `json:"captured,omitempty"`
	Origins    []string          `json:"origins,omitempty"`
	Into       string            `json:"into,omitempty"`
}

func (db *DB) sealSession(id behalf.SessionID, version int64, s behalf.SessionSecrets) ([]byte, error) {
	sealed := sealedSession{Fields: revealed(s.Fields), TenantFixed: s.TenantFixed, State: s.State.Reveal(), CodeVerifier: s.CodeVerifier.Reveal(), Nonce: s.Nonce.Reveal(), Reconnect: s.Reconnect}
	sealed.Choosing = s.Choosing
	if r := s.Result; r != nil {
		sealed.Result = &sealedResult{sealCredential(r.Credential), r.Account.Subject, r.Account.Label, r.Captured, r.Origins, string(r.Into)}
	}
	b, err := db.seal(sealed, sessionPlace(id, version))
	if err != nil {
		return nil, fmt.Errorf("store: session: %w", err)
	}
	return b, nil
}

func (s sealedSession) open() behalf.SessionSecrets {
	out := behalf.SessionSecrets{Fields: concealed(s.Fields), TenantFixed: s.TenantFixed, State: secret.New(s.State), CodeVerifier: secret.New(s.CodeVerifier), Nonce: secret.New(s.Nonce), Reconnect: s.Reconnect}
	out.Choosing = s.Choosing
	if r := s.Result; r != nil {
		out.Result = &behalf.SessionResult{Credential: r.Credential.open(), Account: behalf.Account{Subject: r.Subject, Label: r.Label}, Captured: r.Captured, Origins: r.Origins, Into: behalf.ConnectionID(r.Into)}
	}
	return out
}

func sessionFrom(row query.ConnectSession) behalf.ConnectSession {
	s := behalf.ConnectSession{ID: behalf.SessionID(row.ID), Assistant: behalf.AssistantID(row.Assistant), Profile: behalf.ProfileID(row.Profile), ProfileVersion: row.ProfileVersion,
		User: row.EndUser, UserName: row.UserName, Tenant: row.Tenant, Locale: row.Locale, ReturnURL: row.ReturnUrl, Status: behalf.SessionStatus(row.Status),
		Connection: behalf.ConnectionID(row.Connection), FinishChallenge: row.FinishChallenge, FinishTries: row.FinishTries, LinkHash: row.LinkHash,
		BrowserHash: row.BrowserHash, StateHash: row.StateHash, FinishHash: row.FinishHash, RedirectURI: row.RedirectUri, Issuer: row.Issuer, Version: row.Version, Trial: behalf.TranscriptID(row.Trial),
		CreatedAt: at(row.CreatedAt), ExpiresAt: at(row.ExpiresAt), RedirectedAt: at(row.RedirectedAt), ReturnedAt: at(row.ReturnedAt), EndedAt: at(row.EndedAt)}
	if row.Outcome != "" {
		s.Problem = &behalf.Outcome{}
		_ = json.Unmarshal([]byte(row.Outcome), s.Problem) // written by updateSession; a damaged one shows as an empty outcome
	}
	return s
}
