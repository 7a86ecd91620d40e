package api

import (
	"context"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
)

// OwnPageBody asks for a link to an end user's own page.
type OwnPageBody struct {
	UserName  string `json:"user_name,omitempty" doc:"What the page calls the person."`
	ReturnURL string `json:"return_url,omitempty" doc:"One of the assistant's return URLs: a way back."`
	Locale    string `json:"locale,omitempty" doc:"BCP 47 tag of the page's language."`
	ExpiresIn int64  `json:"expires_in,omitempty" doc:"Seconds, 60 to 86400; 1800 by default."`
}

// OwnPage is such a link.
type OwnPage struct {
	URL       string    `json:"url" doc:"Show it to the person who is signed in at your place as this user, and to nobody else."`
	ExpiresAt time.Time `json:"expires_at"`
}

func (a *API) createOwnPage(ctx context.Context, db store.Scope, in *struct {
	AssistantPath
	User string `path:"user" maxLength:"1020" doc:"Your id of the end user."`
	Body OwnPageBody
}) (*Output[OwnPage], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	life := behalf.UserLinkLifetime
	if n := in.Body.ExpiresIn; n != 0 {
		life = time.Duration(min(max(n, -1), 1<<20)) * time.Second
	}
	l := behalf.UserLink{Assistant: x.ID, User: in.User, UserName: in.Body.UserName, Locale: in.Body.Locale, ReturnURL: in.Body.ReturnURL, ExpiresAt: db.Now().Add(life)}
	link, err := a.cfg.Connect.Own(db, x, l)
	if err != nil {
		return nil, err
	}
	return output(OwnPage{URL: link, ExpiresAt: l.ExpiresAt}), nil
}

// UserDeleted says what was done about an end user who has left.
type UserDeleted struct {
	Connections []UserConnection `json:"connections" doc:"Those that were ended."`
	Sessions    int64            `json:"connect_sessions" doc:"How many were deleted."`
	Variables   int64            `json:"variables" doc:"How many were deleted."`
}

// UserConnection is a connection that was ended.
type UserConnection struct {
	ID         string `json:"id"`
	Profile    string `json:"profile"`
	Revocation string `json:"revocation" enum:"revoked,retrying,not_offered,earlier" doc:"How it went at the provider, as when a connection is ended."`
}

func (a *API) deleteUser(ctx context.Context, db store.Scope, in *struct {
	AssistantPath
	User string `path:"user" maxLength:"1020" doc:"Your id of the end user."`
}) (*Output[UserDeleted], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	left, err := a.cfg.Broker.Leave(ctx, db, x.ID, in.User)
	out := UserDeleted{Connections: []UserConnection{}, Sessions: left.Sessions, Variables: left.Variables}
	for _, c := range left.Connections {
		out.Connections = append(out.Connections, UserConnection{string(c.Connection.ID), string(c.Connection.Profile), string(c.Revocation)})
	}
	return output(out), err
}
