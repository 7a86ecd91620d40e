package api

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// This file brings an assistant's profiles into the state of a list. The rules are:
//
//   - Everything is checked before anything is changed, and all of it is changed
//     or nothing.
//   - A profile is the one of its name, else the one that its file was written
//     from: a profile that is renamed keeps its connections.
//   - What the list does not hold stays, unless it is asked to be deleted.

// ApplyBody is a list of profiles as they shall be.
type ApplyBody struct {
	Profiles []AppliedProfile `json:"profiles" maxItems:"500"`
	Prune    bool             `json:"prune,omitempty" doc:"Delete the assistant's profiles that are not in the list."`
	DryRun   bool             `json:"dry_run,omitempty" doc:"Check everything and change nothing."`
}

// AppliedProfile is one of the list.
type AppliedProfile struct {
	Was string `json:"was,omitempty" maxLength:"80" doc:"The slug that the profile had when its file was written; matters when it was renamed."`
	behalf.Definition
	ClientSecret *string `json:"client_secret,omitempty" doc:"Left out, the secret that is kept stays." writeOnly:"true"`
}

// Applied says what was changed, or would be.
type Applied struct {
	Changes []AppliedChange `json:"changes"`
}

// AppliedChange is what becomes of one profile.
type AppliedChange struct {
	Action string `json:"action" enum:"create,update,unchanged,delete"`
	Slug   string `json:"slug"`
	Name   string `json:"name"`
	Was    string `json:"was,omitempty" doc:"Its slug until now, where that changes."`
}

func (a *API) applyProfiles(ctx context.Context, db store.Scope, in *struct {
	AssistantPath
	Body ApplyBody
}) (*Output[Applied], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	present, err := allProfiles(ctx, db, x.ID)
	if err != nil {
		return nil, err
	}
	run := applyRun{present: present, taken: map[behalf.ProfileID]bool{}}
	if err := run.plan(db, in.Body); err != nil {
		return nil, err
	}
	if in.Body.DryRun {
		run.changed, run.deleted = nil, nil
	}
	return output(Applied{run.changes}), db.ApplyProfiles(ctx, x.ID, run.changed, run.deleted)
}

func allProfiles(ctx context.Context, db store.Scope, assistant behalf.AssistantID) ([]behalf.Profile, error) {
	var all []behalf.Profile
	for {
		page := store.Page{Limit: 200}
		if n := len(all); n > 0 {
			page.After = string(all[n-1].ID)
		}
		some, err := db.Profiles(ctx, assistant, page)
		if err != nil || len(some) == 0 {
			return all, err
		}
		all = append(all, some...)
	}
}

type applyRun struct {
	present          []behalf.Profile
	taken            map[behalf.ProfileID]bool
	changed, deleted []behalf.Profile
	changes          []AppliedChange
}

func (r *applyRun) plan(db store.Scope, b ApplyBody) error {
	wrong := &behalf.Error{Code: behalf.CodeInvalid, Message: "Nothing was changed."}
	slugs := map[string]int{}
	targets := r.match(b.Profiles)
	for i, in := range b.Profiles {
		field := fmt.Sprintf("profiles[%d]", i)
		p, change, err := r.one(db, in, targets[i])
		if err != nil {
			if err := nest(wrong, field, err); err != nil {
				return err
			}
			continue
		}
		if first, ok := slugs[change.Slug]; ok {
			wrong.Fields = append(wrong.Fields, behalf.FieldError{Field: field + ".name", Message: fmt.Sprintf("Profile %d of the list has this name too, or one that looks the same in an address.", first+1)})
			continue
		}
		slugs[change.Slug] = i
		r.changes = append(r.changes, change)
		if change.Action != "unchanged" {
			r.changed = append(r.changed, p)
		}
	}
	if len(wrong.Fields) > 0 {
		wrong.Field = wrong.Fields[0].Field
		return wrong
	}
	for _, p := range r.present {
		if b.Prune && !r.taken[p.ID] {
			r.deleted = append(r.deleted, p)
			r.changes = append(r.changes, AppliedChange{Action: "delete", Slug: p.Slug, Name: p.Name})
		}
	}
	return nil
}

// match finds the profile that each of the list is about: by its name first, so
// that a file which was copied does not take over the profile of the original.
func (r *applyRun) match(list []AppliedProfile) []*behalf.Profile {
	out := make([]*behalf.Profile, len(list))
	by := func(slug func(AppliedProfile) string) {
		for i, in := range list {
			j := slices.IndexFunc(r.present, func(p behalf.Profile) bool { return p.Slug == slug(in) && p.Slug != "" })
			if out[i] == nil && j >= 0 && !r.taken[r.present[j].ID] {
				out[i] = &r.present[j]
				r.taken[r.present[j].ID] = true
			}
		}
	}
	by(func(in AppliedProfile) string { return behalf.Slug(in.Name) })
	by(func(in AppliedProfile) string { return in.Was })
	return out
}

func (r *applyRun) one(db store.Scope, in AppliedProfile, target *behalf.Profile) (behalf.Profile, AppliedChange, error) {
	slug := behalf.Slug(in.Name)
	var client []behalf.ClientSecret
	if in.ClientSecret != nil && *in.ClientSecret != "" {
		client = []behalf.ClientSecret{{Value: secret.New(*in.ClientSecret), CreatedAt: db.Now()}}
	}
	if target == nil {
		p := behalf.Profile{Definition: in.Definition, Secrets: behalf.ProfileSecrets{Client: client}}
		_, err := behalf.Compile(in.Definition)
		return p, AppliedChange{Action: "create", Slug: slug, Name: in.Name}, errors.Join(err, p.Secrets.Validate())
	}
	if len(client) == 1 && len(target.Secrets.Client) > 0 && target.Secrets.Client[0].Value.Equal(client[0].Value) {
		client = target.Secrets.Client // the same secret, and those beside it
	}
	p, err := target.Edited(in.Definition, client)
	change := AppliedChange{Action: "update", Slug: slug, Name: in.Name}
	if slug != target.Slug {
		change.Was = target.Slug
	}
	if err == nil && p.Same(*target) {
		change.Action = "unchanged"
	}
	return p, change, errors.Join(err, p.Secrets.Validate())
}

// nest puts the fields of err below field. What is no error of a field is returned.
func nest(into *behalf.Error, field string, err error) error {
	if err == nil {
		return nil
	}
	e := (*behalf.Error)(nil)
	if !errors.As(err, &e) || e.Code != behalf.CodeInvalid {
		return err
	}
	fields := e.Fields
	if len(fields) == 0 {
		fields = []behalf.FieldError{{Field: e.Field, Message: e.Message}}
	}
	for _, f := range fields {
		into.Fields = append(into.Fields, behalf.FieldError{Field: field + "." + f.Field, Message: f.Message})
	}
	return nil
}
