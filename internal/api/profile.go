package api

import (
	"context"
	"reflect"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// Profile is an authorization profile on the wire. What is secret of it is
// never shown: only that it is set.
type Profile struct {
	ID          string `json:"id"`
	Slug        string `json:"slug"`
	Status      string `json:"status" enum:"reserved,configured,failing"`
	CallbackURL string `json:"callback_url" doc:"The Callback Link: the redirect URI to register at the provider."`
	behalf.Definition
	ClientSecretSet bool      `json:"client_secret_set"`
	SecretsSet      []string  `json:"secrets_set,omitempty" doc:"Fields whose value is kept but not shown."`
	Version         int64     `json:"version"`
	CreatedAt       time.Time `json:"created_at"`
	UpdatedAt       time.Time `json:"updated_at"`

	ClientSecrets   []ClientSecret `json:"client_secrets,omitempty" doc:"Those that are kept, in the order in which they are tried."`
	DeletedAt       *time.Time     `json:"deleted_at,omitempty" doc:"Only of one that was deleted."`
	RestorableUntil *time.Time     `json:"restorable_until,omitempty" doc:"Of a deleted one: until when it can be restored."`

	Warnings []behalf.Warning `json:"warnings,omitempty" doc:"What is probably not meant. Not in lists."`
}

// ClientSecret is a client secret without its value.
type ClientSecret struct {
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"Absent: it does not end."`
	DaysLeft  *int64     `json:"days_left,omitempty" doc:"Whole days until it ends; negative once it has."`
}

// ProfileBody is a profile as it is written.
type ProfileBody struct {
	ID      string `json:"id,omitempty" doc:"An id that was reserved."`
	Reserve bool   `json:"reserve,omitempty" doc:"Only make an id, so that the Callback Link is known before the profile is first saved."`
	From    string `json:"from,omitempty" doc:"Slug of a provider in the catalogue: everything that is left out here is taken from there. Only when a profile is created." maxLength:"80"`
	Variant string `json:"variant,omitempty" doc:"A variant of that provider, such as sandbox." maxLength:"80"`
	behalf.Definition
	ClientSecret     *string    `json:"client_secret,omitempty" doc:"At most 255 characters, write-only. Left out, the secret that is kept stays; empty, it is forgotten." writeOnly:"true"`
	ClientSecretEnds *time.Time `json:"client_secret_expires_at,omitempty" doc:"When client_secret ends at the provider: that is announced 30, 7 and 1 days ahead." writeOnly:"true"`
	Version          int64      `json:"version,omitempty" doc:"When given, the change is refused if the profile has another version by now."`
}

// ProfilePath names one of its profiles.
type ProfilePath struct {
	AssistantPath
	Profile string `path:"profile" doc:"Id or slug." maxLength:"80"`
}

func (b ProfileBody) secrets(now time.Time) []behalf.ClientSecret {
	switch {
	case b.ClientSecret == nil:
		return nil
	case *b.ClientSecret == "":
		return []behalf.ClientSecret{}
	}
	kept := behalf.ClientSecret{Value: secret.New(*b.ClientSecret), CreatedAt: now}
	if b.ClientSecretEnds != nil {
		kept.ExpiresAt = *b.ClientSecretEnds
	}
	return []behalf.ClientSecret{kept}
}

func (a *API) listProfiles(ctx context.Context, db store.Scope, in *struct {
	AssistantPath
	Page
	Deleted bool `query:"deleted" doc:"Those that were deleted, instead."`
}) (*ListOutput[Profile], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	list := db.Profiles
	if in.Deleted {
		list = db.DeletedProfiles
	}
	items, err := list(ctx, x.ID, in.page())
	return listOf(items, in.Limit, func(p behalf.Profile) string { return string(p.ID) }, a.viewProfile), err
}

func (a *API) createProfile(ctx context.Context, db store.Scope, in *struct {
	AssistantPath
	Body ProfileBody
}) (*Output[Profile], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	if in.Body, err = a.drafted(in.Body); err != nil {
		return nil, err
	}
	switch {
	case in.Body.Reserve:
		if err := in.Body.onlyReserves(); err != nil {
			return nil, err
		}
		id, err := db.ReserveProfile(ctx, x.ID)
		if err != nil {
			return nil, err
		}
		p, err := db.Profile(ctx, x.ID, string(id))
		return output(a.viewProfile(p)), err
	case in.Body.ID != "":
		return a.saveProfile(ctx, db, x, in.Body.ID, in.Body)
	}
	p := behalf.Profile{Assistant: x.ID, Definition: in.Body.Definition, Secrets: behalf.ProfileSecrets{Client: in.Body.secrets(db.Now())}}
	p, err = db.CreateProfile(ctx, p)
	return output(a.readProfile(p)), err
}

func (a *API) getProfile(ctx context.Context, db store.Scope, in *ProfilePath) (*Output[Profile], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	p, err := db.Profile(ctx, x.ID, in.Profile)
	return output(a.readProfile(p)), err
}

// readProfile is the answer about one profile: with what is probably not meant.
func (a *API) readProfile(p behalf.Profile) Profile {
	v := a.viewProfile(p)
	if p.Plan != nil {
		v.Warnings = behalf.Lint(p.Definition, a.known(p.Definition))
	}
	return v
}

// onlyReserves refuses what a reservation would drop: it is an id and nothing
// more.
func (b ProfileBody) onlyReserves() error {
	if b.ID == "" && b.ClientSecret == nil && b.ClientSecretEnds == nil && b.Version == 0 && reflect.ValueOf(b.Definition).IsZero() {
		return nil
	}
	return behalf.Invalid("reserve", "A reservation makes an id and keeps nothing else. Send the other fields with that id afterwards.")
}

func (a *API) replaceProfile(ctx context.Context, db store.Scope, in *struct {
	ProfilePath
	Body ProfileBody
}) (*Output[Profile], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	return a.saveProfile(ctx, db, x, in.Profile, in.Body)
}

func (a *API) saveProfile(ctx context.Context, db store.Scope, x behalf.Assistant, name string, b ProfileBody) (*Output[Profile], error) {
	p, err := db.Profile(ctx, x.ID, name)
	if err != nil {
		return nil, err
	}
	if err := sameVersion(b.Version, p.Version); err != nil {
		return nil, err
	}
	p, err = p.Edited(b.Definition, b.secrets(db.Now()))
	if err != nil {
		return nil, err
	}
	p, err = db.SaveProfile(ctx, p)
	return output(a.readProfile(p)), err
}

func (a *API) viewProfile(p behalf.Profile) Profile {
	public, hidden := p.Definition.SplitSecrets()
	v := Profile{ID: string(p.ID), Slug: p.Slug, Status: string(p.Status), CallbackURL: a.cfg.Connect.CallbackURL(p.ID), Definition: public,
		ClientSecretSet: len(p.Secrets.Client) > 0, Version: p.Version, CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt}
	v.DeletedAt, v.RestorableUntil = told(p.DeletedAt), told(p.PurgeAt)
	for _, c := range p.Secrets.Client {
		v.ClientSecrets = append(v.ClientSecrets, a.viewSecret(c))
	}
	for i, f := range p.Definition.AuthorizationFields {
		if f.Value != public.AuthorizationFields[i].Value {
			v.SecretsSet = append(v.SecretsSet, behalf.FieldName(i)+".value")
		}
	}
	if len(hidden) > len(v.SecretsSet) {
		v.SecretsSet = append(v.SecretsSet, "additional_fields")
	}
	return v
}
