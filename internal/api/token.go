package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/broker"
	"github.com/behalf-dev/behalf/internal/store"
)

// TokenBody names the connection whose access token is wanted.
type TokenBody struct {
	Profile    string `json:"profile,omitempty"`
	User       string `json:"user,omitempty"`
	Tenant     string `json:"tenant,omitempty"`
	Connection string `json:"connection,omitempty"`
}

// Token is an access token that is good now, in the words of RFC 6749 §5.1.
type Token struct {
	AccessToken string     `json:"access_token"`
	TokenType   string     `json:"token_type"`
	ExpiresAt   *time.Time `json:"expires_at,omitempty"`
	Scope       string     `json:"scope"`
	Connection  string     `json:"connection"`
}

func (a *API) token(w http.ResponseWriter, r *http.Request) {
	var b TokenBody
	if err := decodeJSON(r, &b); err != nil {
		// Who has no key learns nothing, not even whether the body was right.
		if _, unknown := a.Authenticate(r); unknown != nil {
			err = unknown
		}
		a.WriteProblem(w, r, err)
		return
	}
	a.giveToken(w, r, broker.Ask{Profile: b.Profile, User: b.User, Tenant: b.Tenant, Connection: behalf.ConnectionID(b.Connection)})
}

func (a *API) connectionToken(w http.ResponseWriter, r *http.Request) {
	a.giveToken(w, r, broker.Ask{Connection: behalf.ConnectionID(r.PathValue("connection"))})
}

func (a *API) giveToken(w http.ResponseWriter, r *http.Request, ask broker.Ask) {
	t, err := a.readToken(r.Context(), r, ask)
	if err != nil {
		a.WriteProblem(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(t) // the caller has gone
}

func (a *API) readToken(ctx context.Context, r *http.Request, ask broker.Ask) (Token, error) {
	actor, err := a.Authenticate(r)
	if err != nil {
		return Token{}, err
	}
	db := a.cfg.DB.As(actor)
	x, err := db.Assistant(ctx, r.PathValue("assistant"))
	if err != nil {
		return Token{}, err
	}
	if !x.TokenReads {
		return Token{}, behalf.Errorf(behalf.CodeForbidden, "This assistant may not read tokens: call through the proxy, or let an administrator switch token_reads on.")
	}
	_, c, err := a.cfg.Broker.Find(ctx, db, x, ask)
	if err != nil {
		return Token{}, a.Offer(r, db, x, ask, err)
	}
	good, err := a.cfg.Broker.Connection(ctx, db, c)
	if err != nil {
		return Token{}, a.Offer(r, db, x, ask, err)
	}
	db.Used(good.Connection, store.UseToken)
	return viewToken(good), nil
}

func viewToken(g broker.Good) Token {
	kind := g.Credential.TokenType
	if kind == "" {
		kind = "Bearer"
	}
	return Token{AccessToken: g.Credential.AccessToken.Reveal(), TokenType: kind, ExpiresAt: told(g.ExpiresAt), Scope: strings.Join(g.ScopesGranted, " "), Connection: string(g.ID)}
}
