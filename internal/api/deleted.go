package api

import (
	"context"
	"math"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
)

// ProfileUses says where a profile is used.
type ProfileUses struct {
	Connections struct {
		Active int64 `json:"active" doc:"They can be used now."`
		Lapsed int64 `json:"lapsed" doc:"Their person would have to authorize again."`
	} `json:"connections"`
	Users        int64    `json:"users" doc:"People who have one of these connections."`
	ConnectLinks int64    `json:"connect_links" doc:"Open connect links."`
	Variables    []string `json:"variables" doc:"The variables that it is filled with."`
	Connector    string   `json:"connector,omitempty" doc:"The connector that its calls go through."`
}

// DeletedProfile says what a deletion did, or would do.
type DeletedProfile struct {
	ID              string      `json:"id"`
	Slug            string      `json:"slug"`
	Name            string      `json:"name"`
	DeletedAt       *time.Time  `json:"deleted_at,omitempty" doc:"Absent after a dry run."`
	RestorableUntil *time.Time  `json:"restorable_until,omitempty" doc:"Until then its connections are kept alive, and nothing of them is given out; then they are revoked at the provider."`
	Uses            ProfileUses `json:"uses"`
}

func (a *API) deleteProfile(ctx context.Context, db store.Scope, in *struct {
	ProfilePath
	DryRun bool `query:"dry_run" doc:"Only say where it is used; change nothing."`
	AtOnce bool `query:"at_once" doc:"Revoke its connections at the provider now. It cannot be restored then. Works on a deleted profile, too."`
}) (*Output[DeletedProfile], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	p, err := db.Profile(ctx, x.ID, in.Profile)
	if err != nil && in.AtOnce {
		if gone, none := db.DeletedProfile(ctx, x.ID, in.Profile); none == nil {
			p, err = gone, nil
		}
	}
	switch {
	case err != nil:
		return nil, err
	case !db.Actor().May(behalf.WriteProfiles, x.ID):
		return nil, behalf.Forbidden(db.Actor(), behalf.WriteProfiles)
	}
	uses, err := db.ProfileUses(ctx, p)
	if err != nil {
		return nil, err
	}
	out := DeletedProfile{ID: string(p.ID), Slug: p.Slug, Name: p.Name, Uses: viewUses(uses)}
	if in.DryRun {
		return output(out), nil
	}
	drop := db.DeleteProfile
	if in.AtOnce {
		drop = db.EndProfile
	}
	if err := drop(ctx, p); err != nil {
		return nil, err
	}
	gone, err := db.DeletedProfile(ctx, x.ID, string(p.ID))
	if err != nil {
		return nil, err
	}
	out.DeletedAt = told(gone.DeletedAt)
	if !in.AtOnce {
		out.RestorableUntil = told(gone.PurgeAt)
	}
	return output(out), nil
}

func viewUses(u behalf.ProfileUses) ProfileUses {
	v := ProfileUses{Users: u.Users, ConnectLinks: u.Links, Variables: orNone(u.Variables), Connector: u.Connector}
	v.Connections.Active, v.Connections.Lapsed = u.Active, u.Lapsed
	return v
}

func (a *API) restoreProfile(ctx context.Context, db store.Scope, in *ProfilePath) (*Output[Profile], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	p, err := db.DeletedProfile(ctx, x.ID, in.Profile)
	if behalf.CodeOf(err) == behalf.CodeNotFound {
		if _, there := db.Profile(ctx, x.ID, in.Profile); there == nil {
			err = behalf.Errorf(behalf.CodeConflict, "This profile is not deleted.")
		}
	}
	if err != nil {
		return nil, err
	}
	p, err = db.RestoreProfile(ctx, p)
	return output(a.readProfile(p)), err
}

func (a *API) viewSecret(c behalf.ClientSecret) ClientSecret {
	v := ClientSecret{CreatedAt: c.CreatedAt, ExpiresAt: told(c.ExpiresAt)}
	if v.ExpiresAt != nil {
		left := int64(math.Floor(c.ExpiresAt.Sub(a.cfg.DB.Now()).Hours() / 24))
		v.DaysLeft = &left
	}
	return v
}
