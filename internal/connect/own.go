package connect

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// This file is the end user's own page: what is connected, when it was last
// used, and how to end it. The rules are:
//
//   - The link says whose page it is; nothing in a form can name another user.
//   - Ending a connection is asked twice, and told with what the provider said.

// Own makes the link to an end user's own page.
func (c *Connect) Own(db store.Scope, a behalf.Assistant, l behalf.UserLink) (string, error) {
	if err := l.Validate(a, c.db.Now()); err != nil {
		return "", err
	}
	link, err := db.UserLink(l)
	return c.cfg.PublicURL.JoinPath("own", link.Reveal()).String(), err
}

// ownPage lists what one person has connected.
type ownPage struct {
	Assistant, Person, Action, ReturnURL string
	Connections                          []ownConnection
	Told                                 *ownTold // of the one that was just ended
	Brand                                look.Brand
}

// ownConnection is one of them.
type ownConnection struct {
	ID, Provider, Account, Tenant string
	Lapsed                        bool
	Since, Used                   time.Time // Used is zero where it never was
	For                           string    // the message that says what it was last used for, or ""
	Scopes                        []string
	ManageURL                     string // the provider's own page of connected applications
}

// ownTold says how the end of a connection went at the provider.
type ownTold struct {
	Provider   string
	ManageURL  string
	Revocation behalf.Revocation
}

// said is the text that says what the provider did; empty: nothing is to be said.
func (t ownTold) said() string {
	switch t.Revocation {
	case behalf.RevocationDone:
		return "own.revoked"
	case behalf.RevocationRetrying:
		return "own.revoking"
	case behalf.RevocationNotOffered:
		return "own.unrevoked"
	}
	return ""
}

const maxOwn = 200 // connections on the page

// OwnPage serves GET /own/{link}.
func (c *Connect) OwnPage(w http.ResponseWriter, r *http.Request) {
	db, l, err := c.db.UserByLink(secret.New(r.PathValue("link")))
	if err != nil {
		renderOutcome(w, r, outcomePage{Kind: unknown}, "")
		return
	}
	c.showOwn(w, r, db, l, nil)
}

// OwnEnd serves POST /own/{link}: it ends one of the person's connections.
func (c *Connect) OwnEnd(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	db, l, err := c.db.UserByLink(secret.New(r.PathValue("link")))
	if err != nil || r.ParseForm() != nil {
		renderOutcome(w, r, outcomePage{Kind: unknown}, "")
		return
	}
	x, err := db.Connection(r.Context(), behalf.ConnectionID(r.PostForm.Get("connection")))
	if behalf.CodeOf(err) == behalf.CodeNotFound || err == nil && (x.Assistant != l.Assistant || x.User != l.User) {
		c.showOwn(w, r, db, l, nil) // ended already, or none of this person's
		return
	}
	told := &ownTold{}
	if err == nil {
		told.Revocation, err = c.cfg.Broker.Disconnect(context.WithoutCancel(r.Context()), db, x, "ended by the person on their own page")
	}
	if err != nil {
		c.unavailable(w, r, err)
		return
	}
	told.Provider = string(x.Profile)
	if p, err := db.Profile(r.Context(), x.Assistant, string(x.Profile)); err == nil {
		told.Provider, told.ManageURL = p.Provider, p.OAuth.Revoke.ManageURL
	}
	c.cfg.Log.Info("connection ended by the person", "assistant", l.Assistant, "connection", x.ID)
	c.showOwn(w, r, db, l, told)
}

func (c *Connect) showOwn(w http.ResponseWriter, r *http.Request, db store.Scope, l behalf.UserLink, told *ownTold) {
	page, err := c.own(r.Context(), db, l)
	if err != nil {
		c.unavailable(w, r, err)
		return
	}
	page.Action, page.Told = (&url.URL{Path: r.URL.Path}).EscapedPath(), told
	writePage(w, r, http.StatusOK, look.Policy{Form: true}, page.page(spoken(r, l.Locale)))
}

func (c *Connect) own(ctx context.Context, db store.Scope, l behalf.UserLink) (ownPage, error) {
	a, err := db.Assistant(ctx, string(l.Assistant))
	if err != nil {
		return ownPage{}, err
	}
	page := ownPage{Assistant: a.Name, Person: l.Shown(), ReturnURL: l.ReturnURL, Brand: brandOf(a)}
	all, err := db.Connections(ctx, l.Assistant, store.ConnectionFilter{User: l.User}, store.Page{Limit: maxOwn})
	if err != nil {
		return page, err
	}
	for _, x := range all {
		if x.Status == behalf.ConnectionRevoked {
			continue
		}
		own := ownConnection{ID: string(x.ID), Account: x.Account.Label, Tenant: x.Tenant, Lapsed: x.Status == behalf.ConnectionLapsed,
			Since: x.CreatedAt, Used: x.LastUsedAt, Scopes: x.ScopesGranted, Provider: string(x.Profile)}
		if p, err := db.Profile(ctx, x.Assistant, string(x.Profile)); err == nil {
			own.Provider, own.ManageURL = p.Provider, p.OAuth.Revoke.ManageURL
		}
		kind, err := db.LastUse(ctx, x)
		if err != nil {
			return page, err
		}
		own.For = usedFor[kind]
		page.Connections = append(page.Connections, own)
	}
	return page, nil
}

var usedFor = map[string]string{store.UseProxy: "own.used.call", store.UseToken: "own.used.token"}

func (p ownPage) values(l look.Language) look.Values { return names(l, p.Assistant, "", p.Person) }

// day writes a date as every language reads it.
func day(t time.Time) string { return t.UTC().Format("2006-01-02") }
