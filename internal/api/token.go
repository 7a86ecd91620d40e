package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/broker"
	"github.com/behalf-dev/behalf/internal/store"
)

// TokenBody names the connection whose access token is wanted.
type TokenBody struct {
	Profile    string         `json:"profile,omitempty"`
	User       string         `json:"user,omitempty"`
	Tenant     string         `json:"tenant,omitempty"`
	Connection string         `json:"connection,omitempty"`
	Variables  map[string]any `json:"variables,omitempty" doc:"The context object, for placeholders {{context.…}} of the token URL."`
}

// Token is an access token that is good now, in the words of RFC 6749 §5.1.
type Token struct {
	AccessToken string     `json:"access_token"`
	TokenType   string     `json:"token_type"`
	ExpiresAt   *time.Time `json:"expires_at,omitempty"`
	Scope       string     `json:"scope"`
	Connection  string     `json:"connection"`
}

func (a *API) token(w http.ResponseWriter, r *http.Request) { a.Token(w, r, r.PathValue("assistant")) }

// Token serves POST …/token of one assistant; the server may come here without
// the mux.
func (a *API) Token(w http.ResponseWriter, r *http.Request, assistant string) {
	ask, err := readAsk(r)
	if err != nil {
		// Who has no key learns nothing, not even whether the body was right.
		if _, unknown := a.Authenticate(r); unknown != nil {
			err = unknown
		}
		a.WriteProblem(w, r, err)
		return
	}
	a.giveToken(w, r, assistant, ask)
}

func (a *API) connectionToken(w http.ResponseWriter, r *http.Request) {
	a.giveToken(w, r, r.PathValue("assistant"), broker.Ask{Connection: behalf.ConnectionID(r.PathValue("connection"))})
}

// The headers of every token, shared by all answers.
var (
	typeJSON = []string{"application/json"}
	noStore  = []string{"no-store"}
)

// answers are buffers that are used again.
var answers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

func (a *API) giveToken(w http.ResponseWriter, r *http.Request, assistant string, ask broker.Ask) {
	buffer := answers.Get().(*[]byte)
	defer answers.Put(buffer)
	answer, err := a.readToken(r, assistant, ask, (*buffer)[:0])
	if err != nil {
		a.WriteProblem(w, r, err)
		return
	}
	h := w.Header()
	h["Content-Type"], h["Cache-Control"], h["Content-Length"] = typeJSON, noStore, []string{strconv.Itoa(len(answer))}
	_, _ = w.Write(answer) // the caller may have gone
	clear(answer)
	*buffer = answer[:0]
}

// readToken appends the answer to dst.
func (a *API) readToken(r *http.Request, assistant string, ask broker.Ask, dst []byte) ([]byte, error) {
	actor, err := a.Authenticate(r)
	if err != nil {
		return nil, err
	}
	ctx, db := r.Context(), a.cfg.DB.As(actor)
	x, err := db.HeldAssistant(ctx, assistant)
	if err != nil {
		return nil, err
	}
	if !x.TokenReads {
		return nil, behalf.Errorf(behalf.CodeForbidden, "This assistant may not read tokens: call through the proxy, or let an administrator switch token_reads on.")
	}
	ready, err := a.cfg.Broker.Use(ctx, db, x, ask)
	if err != nil {
		return nil, a.Offer(r, db, *x, ready.Named(ask), err)
	}
	if kind := ready.Profile.Plan.Type; !kind.IssuesTokens() {
		return nil, behalf.Errorf(behalf.CodeConflict, "There is no token to give: this profile's connections hold %s. Call through the proxy, which puts it on.", holdings[kind])
	}
	answer, err := db.Answer(ctx, ready.Held, dst, func(c behalf.Credential) []byte { return encodeToken(ready, c) })
	if err == nil {
		db.Used(ready.Connection, store.UseToken, ask.User)
	}
	return answer, err
}

// holdings are what connections hold where no OAuth server issues tokens.
var holdings = map[behalf.AuthorizationType]string{behalf.APIKey: "an API key", behalf.Basic: "a username and a password"}

// encodeToken makes what is answered for as long as the credential is good.
func encodeToken(ready broker.Ready, c behalf.Credential) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(viewToken(ready, c)) // texts and a time can always be encoded
	return b.Bytes()
}

func viewToken(ready broker.Ready, c behalf.Credential) Token {
	kind := c.TokenType
	if kind == "" {
		kind = "Bearer"
	}
	return Token{AccessToken: c.AccessToken.Reveal(), TokenType: kind, ExpiresAt: told(ready.ExpiresAt), Scope: ready.ScopeText(), Connection: string(ready.ID)}
}
