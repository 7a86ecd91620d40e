package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

// Profile returns one of an assistant's profiles by id or slug, with its plan.
func (s Scope) Profile(ctx context.Context, assistant behalf.AssistantID, idOrSlug string) (behalf.Profile, error) {
	if err := s.allow(behalf.ReadProfiles, assistant, "profile"); err != nil {
		return behalf.Profile{}, err
	}
	if !text(string(assistant), idOrSlug) {
		return behalf.Profile{}, behalf.NotFound("profile")
	}
	row, err := s.db.read.Profile(ctx, query.ProfileParams{Assistant: string(assistant), ID: idOrSlug})
	if err := s.db.foundProfile(ctx, assistant, idOrSlug, err); err != nil {
		return behalf.Profile{}, err
	}
	return s.db.profileFrom(row)
}

// Profiles returns an assistant's profiles, oldest first, without those that
// are only reserved.
func (s Scope) Profiles(ctx context.Context, assistant behalf.AssistantID, page Page) ([]behalf.Profile, error) {
	if err := s.allow(behalf.ReadProfiles, assistant, "profile"); err != nil {
		return nil, err
	}
	if !text(string(assistant), page.After) {
		return nil, nil
	}
	rows, err := s.db.read.Profiles(ctx, query.ProfilesParams{Assistant: string(assistant), After: page.After, Max: page.limit()})
	if err != nil {
		return nil, unavailable(err)
	}
	return all(rows, s.db.profileFrom)
}

// ReserveProfile makes an id, so that the Callback Link is known before the
// profile is first saved.
func (s Scope) ReserveProfile(ctx context.Context, assistant behalf.AssistantID) (behalf.ProfileID, error) {
	p := behalf.Profile{Assistant: assistant, Status: behalf.ProfileReserved}
	p, err := s.insertProfile(ctx, p, func(p *behalf.Profile) { p.Slug = string(p.ID); p.Name = string(p.ID) }, "profile.reserve")
	return p.ID, err
}

// CreateProfile keeps a new profile. Its definition must compile.
func (s Scope) CreateProfile(ctx context.Context, p behalf.Profile) (behalf.Profile, error) {
	if err := s.allow(behalf.WriteProfiles, p.Assistant, "profile"); err != nil {
		return p, err
	}
	p, err := p.Edited(p.Definition, p.Secrets.Client)
	if err != nil {
		return p, err
	}
	if err := p.Secrets.Validate(); err != nil {
		return p, err
	}
	p.Status = behalf.ProfileConfigured
	return s.insertProfile(ctx, p, func(p *behalf.Profile) { p.Slug = slugOf(*p) }, "profile.create")
}

// ApplyProfiles creates the profiles that have no id yet, saves the others of
// changed, and deletes those of deleted: all of it, or with an error nothing.
func (s Scope) ApplyProfiles(ctx context.Context, assistant behalf.AssistantID, changed, deleted []behalf.Profile) error {
	if err := s.allow(behalf.WriteProfiles, assistant, "profile"); err != nil {
		return err
	}
	a, err := s.Assistant(ctx, string(assistant))
	if err != nil {
		return err
	}
	var steps []func(*change) error
	for _, p := range deleted {
		steps = append(steps, s.deleting(ctx, p, behalf.KeepDeleted))
	}
	for _, p := range changed {
		step, err := s.applying(ctx, a, p)
		if err != nil {
			return err
		}
		steps = append(steps, step)
	}
	return s.change(ctx, func(c *change) error {
		for _, step := range steps {
			if err := step(c); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s Scope) applying(ctx context.Context, a behalf.Assistant, p behalf.Profile) (func(*change) error, error) {
	plan, err := behalf.Compile(p.Definition)
	if err != nil {
		return nil, err
	}
	if err := p.Secrets.Validate(); err != nil {
		return nil, err
	}
	p.Assistant, p.Plan, p.Status, p.Slug = a.ID, plan, behalf.ProfileConfigured, slugOf(p)
	if p.ID != "" {
		return s.saving(ctx, p)
	}
	return s.inserting(ctx, &p, func(p *behalf.Profile) { p.Slug = slugOf(*p) }, "profile.create")
}

func slugOf(p behalf.Profile) string {
	if slug := behalf.Slug(p.Name); slug != "" {
		return slug
	}
	return string(p.ID) // a name without a Latin letter
}

func (s Scope) insertProfile(ctx context.Context, p behalf.Profile, name func(*behalf.Profile), action string) (behalf.Profile, error) {
	if err := s.allow(behalf.WriteProfiles, p.Assistant, "profile"); err != nil {
		return p, err
	}
	a, err := s.Assistant(ctx, string(p.Assistant))
	if err != nil {
		return p, err
	}
	p.Assistant = a.ID
	step, err := s.inserting(ctx, &p, name, action)
	if err != nil {
		return p, err
	}
	return p, s.change(ctx, step)
}

func (s Scope) inserting(ctx context.Context, p *behalf.Profile, name func(*behalf.Profile), action string) (func(*change) error, error) {
	now := s.db.Now()
	p.ID, p.Version, p.CreatedAt, p.UpdatedAt = behalf.NewProfileID(now), 1, now, now
	name(p)
	definition, sealed, err := s.db.sealProfile(*p, p.Version)
	if err != nil {
		return nil, err
	}
	return func(c *change) error {
		if err := c.usable(ctx, p.ConnectorName()); err != nil {
			return err
		}
		c.audit(p.Assistant, action, string(p.ID), p.Name)
		c.noteProfile(p.ID)
		err := c.InsertProfile(ctx, query.InsertProfileParams{ID: string(p.ID), Assistant: string(p.Assistant), Slug: p.Slug, NameKey: nameKey(p.Name),
			Status: string(p.Status), Definition: definition, Sealed: sealed, Version: 1, CreatedAt: micros(now), UpdatedAt: micros(now)})
		return s.nameTaken(err)
	}, nil
}

func (s Scope) nameTaken(err error) error {
	if s.db.engine.unique(err) {
		return &behalf.Error{Code: behalf.CodeConflict, Field: "name", Message: "Another profile of this assistant has this name, or one that looks the same in an address."}
	}
	return err
}

func nameKey(name string) string { return strings.ToLower(strings.Join(strings.Fields(name), " ")) }

// SaveProfile saves a changed profile by its version. Secrets that are to stay
// must be in p, as Profile returned them.
func (s Scope) SaveProfile(ctx context.Context, p behalf.Profile) (behalf.Profile, error) {
	if err := s.allow(behalf.WriteProfiles, p.Assistant, "profile"); err != nil {
		return p, err
	}
	plan, err := behalf.Compile(p.Definition)
	if err != nil {
		return p, err
	}
	if err := p.Secrets.Validate(); err != nil {
		return p, err
	}
	p.Plan, p.Status, p.Slug = plan, behalf.ProfileConfigured, slugOf(p)
	step, err := s.saving(ctx, p)
	if err != nil {
		return p, err
	}
	err = s.change(ctx, func(c *change) error {
		p.UpdatedAt = c.now
		return step(c)
	})
	p.Version++
	return p, err
}

func (s Scope) saving(ctx context.Context, p behalf.Profile) (func(*change) error, error) {
	definition, sealed, err := s.db.sealProfile(p, p.Version+1)
	if err != nil {
		return nil, err
	}
	return func(c *change) error {
		if err := c.usable(ctx, p.ConnectorName()); err != nil {
			return err
		}
		c.audit(p.Assistant, "profile.save", string(p.ID), p.Name)
		c.noteProfile(p.ID)
		err := one(c.UpdateProfile(ctx, query.UpdateProfileParams{Slug: p.Slug, NameKey: nameKey(p.Name), Status: string(p.Status), Definition: definition,
			Sealed: sealed, UpdatedAt: micros(c.now), ID: string(p.ID), Assistant: string(p.Assistant), Version: p.Version}))
		if err == ErrStale {
			return conflictStale("profile")
		}
		return s.nameTaken(err)
	}, nil
}

// SetProfileStatus moves a profile between configured and failing, and tells of
// it once however many nodes notice.
func (s Scope) SetProfileStatus(ctx context.Context, p behalf.Profile, to behalf.ProfileStatus, detail string) error {
	if err := s.allow(behalf.Maintain, p.Assistant, "profile"); err != nil {
		return err
	}
	from, event := behalf.ProfileConfigured, behalf.EventProfileFailing
	if to == behalf.ProfileConfigured {
		from, event = behalf.ProfileFailing, behalf.EventProfileRecovered
	}
	return s.change(ctx, func(c *change) error {
		rows, err := c.SetProfileStatus(ctx, query.SetProfileStatusParams{Status: string(to), ProbeAt: micros(c.now.Add(probeAfter(0))), ID: string(p.ID), Before: string(from)})
		if err != nil {
			return err
		}
		if rows == 0 { // another node was first, and this one has not heard of it
			s.db.held.drop(note{Noun: nounProfile, Object: string(p.ID)})
			return nil
		}
		c.audit(p.Assistant, string(event), string(p.ID), detail)
		c.noteProfile(p.ID)
		c.event(behalf.Event{Assistant: p.Assistant, Type: event, Profile: p.ID, Detail: detail})
		return nil
	})
}

// sealedProfile is the form in which a profile's secrets are sealed.
type sealedProfile struct {
	Client []sealedSecret    `json:"client,omitempty"`
	Fields map[string]string `json:"fields,omitempty"`
}

type sealedSecret struct {
	Value     string `json:"value"`
	CreatedAt int64  `json:"created_at,omitempty"`
	ExpiresAt int64  `json:"expires_at,omitempty"`
}

// profilePlace binds a profile's secrets to its definition, which says where
// they are sent: one that was changed behind our back does not open them.
func profilePlace(id behalf.ProfileID, version int64, definition string) vault.Place {
	return vault.Place{Table: "profiles", Row: fmt.Sprintf("%s\x00%x", id, sha256.Sum256([]byte(definition))), Column: "sealed", Generation: version}
}

// sealProfile splits a profile into what is kept readable and what is sealed:
// no secret value is ever in a plain column.
func (db *DB) sealProfile(p behalf.Profile, version int64) (definition string, sealed []byte, err error) {
	public, fields := p.Definition.SplitSecrets()
	plain, err := json.Marshal(public)
	if err != nil {
		return "", nil, fmt.Errorf("store: encode profile: %w", err)
	}
	secrets := sealedProfile{Fields: map[string]string{}}
	for key, value := range fields {
		secrets.Fields[key] = value.Reveal()
	}
	for _, c := range p.Secrets.Client {
		secrets.Client = append(secrets.Client, sealedSecret{Value: c.Value.Reveal(), CreatedAt: micros(c.CreatedAt), ExpiresAt: micros(c.ExpiresAt)})
	}
	sealed, err = db.seal(secrets, profilePlace(p.ID, version, string(plain)))
	return string(plain), sealed, err
}

// profileFrom opens a row. A profile that was opened before and has not changed
// is taken from memory: its plan is not compiled again.
func (db *DB) profileFrom(row query.Profile) (behalf.Profile, error) {
	if p, ok := db.plans.get(row.ID, row.Version); ok {
		return inState(p, row), nil
	}
	p := behalf.Profile{ID: behalf.ProfileID(row.ID), Assistant: behalf.AssistantID(row.Assistant), Version: row.Version, CreatedAt: at(row.CreatedAt)}
	p = inState(p, row)
	var secrets sealedProfile
	if err := db.unseal(row.Sealed, profilePlace(p.ID, p.Version, row.Definition), &secrets); err != nil {
		return p, err
	}
	if err := json.Unmarshal([]byte(row.Definition), &p.Definition); err != nil {
		return p, unavailable(err)
	}
	fields := map[string]secret.Text{}
	for key, value := range secrets.Fields {
		fields[key] = secret.New(value)
	}
	p.Definition = p.Definition.JoinSecrets(fields)
	for _, c := range secrets.Client {
		p.Secrets.Client = append(p.Secrets.Client, behalf.ClientSecret{Value: secret.New(c.Value), CreatedAt: at(c.CreatedAt), ExpiresAt: at(c.ExpiresAt)})
	}
	if p.Status == behalf.ProfileReserved {
		return p, nil
	}
	plan, err := behalf.Compile(p.Definition)
	if err != nil {
		return p, unavailable(fmt.Errorf("store: profile %s no longer compiles: %w", p.ID, err))
	}
	p.Plan = plan
	db.plans.put(p)
	return p, nil
}

// inState returns the profile in the state of its row: what may change without
// its version.
func inState(p behalf.Profile, row query.Profile) behalf.Profile {
	p.Status, p.Slug, p.UpdatedAt, p.DeletedAt, p.PurgeAt = behalf.ProfileStatus(row.Status), row.Slug, at(row.UpdatedAt), at(row.DeletedAt), at(row.PurgeAt)
	if p.Deleted() {
		p.Slug, p.PurgeAt = cmp.Or(row.WasSlug, row.Slug), at(cmp.Or(row.PurgeAt, row.DeletedAt+behalf.KeepDeleted.Microseconds()))
	}
	return p
}

// plans keeps opened profiles by id and version.
type plans struct {
	mu sync.RWMutex
	m  map[string]behalf.Profile
}

const maxPlans = 10_000

func (c *plans) get(id string, version int64) (behalf.Profile, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	p, ok := c.m[id]
	return p, ok && p.Version == version
}

func (c *plans) put(p behalf.Profile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || len(c.m) >= maxPlans {
		c.m = map[string]behalf.Profile{}
	}
	c.m[string(p.ID)] = p
}

// seal encodes and seals a value for its place.
func (db *DB) seal(v any, place vault.Place) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("store: encode for %s: %w", place, err)
	}
	return db.keyring.Seal(plain, place)
}

// unseal opens and decodes what seal made.
func (db *DB) unseal(sealed []byte, place vault.Place, v any) error {
	plain, err := db.keyring.Open(sealed, place)
	if err != nil {
		return &behalf.Error{Code: behalf.CodeUnavailable, Message: "A sealed value cannot be opened: it was damaged, moved, or sealed with another key. Restore it from a backup.", Err: fmt.Errorf("store: open %s: %w", place, err)}
	}
	if err := json.Unmarshal(plain, v); err != nil {
		return unavailable(fmt.Errorf("store: decode %s", place)) // the decoder's error would show the value
	}
	return nil
}
