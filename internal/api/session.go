package api

import (
	"context"
	"net/http"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/broker"
	"github.com/behalf-dev/behalf/internal/connect"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// ConnectSession is a connect session on the wire.
type ConnectSession struct {
	ID         string          `json:"id"`
	URL        string          `json:"url,omitempty" doc:"The link for the end user. It is shown once: only a hash of it is kept."`
	Profile    string          `json:"profile"`
	User       string          `json:"user"`
	Tenant     string          `json:"tenant,omitempty"`
	Status     string          `json:"status" enum:"waiting,pending,connected,declined,expired,failed,wrong_account"`
	Connection string          `json:"connection,omitempty"`
	Problem    *behalf.Outcome `json:"problem,omitempty"`
	CreatedAt  time.Time       `json:"created_at"`
	ExpiresAt  time.Time       `json:"expires_at"`
}

// SessionBody is what a connect session begins with.
type SessionBody struct {
	Profile         string            `json:"profile" doc:"Id or slug of the authorization profile."`
	User            string            `json:"user,omitempty" doc:"Your id of the end user, at most 255 characters. Required, but for a profile that is pre-authorized for all users."`
	UserName        string            `json:"user_name,omitempty" doc:"What the page calls the person."`
	Tenant          string            `json:"tenant,omitempty" doc:"The person's organization at the provider, where the profile has tenancy."`
	Fields          map[string]string `json:"fields,omitempty" doc:"Values of additional fields, by key."`
	Variables       map[string]any    `json:"variables,omitempty" doc:"The context object, for placeholders {{context.…}}. It stays with the connection."`
	ReturnURL       string            `json:"return_url,omitempty" doc:"One of the assistant's return URLs. Required where finish is on."`
	FinishChallenge string            `json:"finish_challenge,omitempty" doc:"base64url(SHA-256(verifier)), where your backend keeps the verifier for this user. Required where finish is on."`
	Locale          string            `json:"locale,omitempty" doc:"BCP 47 tag of the language that the pages should have: en, de, es, fr, ja or pt. Left out, the browser decides."`
	Connection      string            `json:"connection,omitempty" doc:"A connection of this user to renew. Another account than its own is refused (wrong_account)."`
	AnyAccount      bool              `json:"allow_other_account,omitempty" doc:"With connection: another account is taken too, as a further connection."`
	ExpiresIn       int64             `json:"expires_in,omitempty" doc:"Seconds, 60 to 3600; 900 by default."`
}

// FinishBody confirms a session.
type FinishBody struct {
	Code     string `json:"code" doc:"finish_code of the return URL."`
	Verifier string `json:"verifier" doc:"Whose SHA-256 the session's finish_challenge was."`
	User     string `json:"user" doc:"Your id of the person who is signed in and in whose request you finish."`
}

// SessionPath names one of its connect sessions.
type SessionPath struct {
	AssistantPath
	Session string `path:"session" maxLength:"80"`
}

func (a *API) createSession(ctx context.Context, db store.Scope, in *struct {
	AssistantPath
	Body SessionBody
}) (*Output[ConnectSession], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	b := in.Body
	sent, err := variables(b.Variables)
	if err != nil {
		return nil, err
	}
	s, link, err := a.cfg.Connect.Begin(ctx, db, x, behalf.NewSession{Profile: b.Profile, User: b.User, UserName: b.UserName, Tenant: b.Tenant, Fields: texts(b.Fields),
		ReturnURL: b.ReturnURL, FinishChallenge: b.FinishChallenge, Locale: b.Locale, Lifetime: seconds(b.ExpiresIn),
		Variables: sent, Connection: behalf.ConnectionID(b.Connection), AnyAccount: b.AnyAccount})
	out := output(viewSession(s, db.Now()))
	out.Body.URL = link
	return out, err
}

// seconds returns what can be no lifetime for a number that is out of reach:
// multiplied it could come out as a good one.
func seconds(n int64) time.Duration {
	if n < 0 || n > int64(behalf.MaxSessionLifetime/time.Second) {
		return -1
	}
	return time.Duration(n) * time.Second
}

func texts(m map[string]string) map[string]secret.Text {
	out := make(map[string]secret.Text, len(m))
	for k, v := range m {
		out[k] = secret.New(v)
	}
	return out
}

func (a *API) getSession(ctx context.Context, db store.Scope, in *SessionPath) (*Output[ConnectSession], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	s, err := db.Session(ctx, x.ID, behalf.SessionID(in.Session))
	return output(viewSession(s, db.Now())), err
}

func (a *API) finishSession(ctx context.Context, db store.Scope, in *struct {
	SessionPath
	Body FinishBody
}) (*Output[ConnectSession], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	s, err := a.cfg.Connect.Finish(ctx, db, x, behalf.SessionID(in.Session), connect.Confirmation{Code: secret.New(in.Body.Code), Verifier: secret.New(in.Body.Verifier), User: in.Body.User})
	return output(viewSession(s, db.Now())), err
}

func viewSession(s behalf.ConnectSession, now time.Time) ConnectSession {
	v := ConnectSession{ID: string(s.ID), Profile: string(s.Profile), User: s.User, Tenant: s.Tenant, Status: s.Status.Public(), Connection: string(s.Connection),
		Problem: s.Problem, CreatedAt: s.CreatedAt, ExpiresAt: s.ExpiresAt}
	if s.Expired(now) {
		v.Status = string(behalf.SessionExpired) // the sweep will say so in a moment
	}
	return v
}

// Headers by which a call names where the end user comes back to, should they
// have to authorize first and the assistant finishes its connections.
const (
	headerReturnURL       = "Behalf-Return-Url"
	headerFinishChallenge = "Behalf-Finish-Challenge"
)

// Offer adds to an error that the end user must authorize a ready link for
// them. An assistant that finishes its connections must have said where the
// person returns to and what its challenge is.
func (a *API) Offer(r *http.Request, db store.Scope, x behalf.Assistant, ask broker.Ask, err error) error {
	if behalf.CodeOf(err) != behalf.CodeAuthorizationRequired {
		return err
	}
	e := *problemErr(err)
	n := behalf.NewSession{Profile: ask.Profile, User: ask.User, Tenant: ask.Tenant, ReturnURL: r.Header.Get(headerReturnURL), FinishChallenge: r.Header.Get(headerFinishChallenge)}
	if ask.Connection != "" {
		if c, err := db.Connection(r.Context(), ask.Connection); err == nil {
			n.Profile, n.User, n.Tenant = string(c.Profile), c.User, c.Tenant
			if c.Status != behalf.ConnectionRevoked {
				n.Connection = c.ID
			}
		}
	}
	if p, err := db.Profile(r.Context(), x.ID, n.Profile); err == nil && p.Plan != nil && p.Plan.Shared() {
		return &e // the message says who can
	}
	_, link, begun := a.cfg.Connect.Begin(r.Context(), db, x, n)
	if begun != nil {
		e.Message += " Begin a connect session for them: this assistant finishes its connections, so a link needs return_url and finish_challenge (or the headers Behalf-Return-URL and Behalf-Finish-Challenge on this call)."
		return &e
	}
	e.ConnectURL = link
	return &e
}
