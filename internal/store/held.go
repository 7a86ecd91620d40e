package store

import (
	"context"
	"encoding/hex"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

// This file holds in memory what a token read and a proxied call need, so that
// they ask the database nothing. The rules are:
//
//   - Permission and isolation are checked on each use, here as elsewhere.
//   - Each use asks whether what is held is current (follow.go).
//   - Secrets are held sealed, and opened for one use.
//   - What is not there is held as well, and dropped like the rest.
//   - Something that changes while it is loaded is loaded again.

// held is everything that one node holds.
type held struct {
	memory     *vault.Memory
	keys       *otter.Cache[[32]byte, *heldKey]
	assistants *otter.Cache[string, *heldAssistant] // by id or slug
	profiles   *otter.Cache[profileName, *heldProfile]
	owners     *otter.Cache[owner, *owned]
	whose      *otter.Cache[behalf.ConnectionID, ownership] // never changes
}

type (
	heldKey struct {
		key   behalf.Key
		actor behalf.Actor
		err   error
	}
	heldAssistant struct {
		behalf.Assistant
		err error
	}
	heldProfile struct {
		behalf.Profile
		err error
	}
	profileName struct {
		assistant behalf.AssistantID
		name      string // id or slug
	}
	owner struct {
		profile behalf.ProfileID
		user    string
	}
	ownership struct {
		owner
		assistant behalf.AssistantID
	}
)

// owned is all connections of a user under a profile.
type owned struct {
	all []*Held
	err error // not found: no such connection
}

// Held is a connection as this node holds it.
type Held struct {
	behalf.Connection
	db      *DB
	secrets atomic.Pointer[[]byte] // credential and inputs, sealed in memory
	answers atomic.Pointer[[]byte] // what to answer a token read with, sealed in memory
}

const (
	maxHeldNames  = 10_000
	maxHeldKeys   = 100_000
	maxHeldWhose  = 500_000
	maxHeldMemory = 96 << 20 // bytes of connections, with their sealed parts
	heldOverhead  = 1500     // bytes of a connection without its tokens
	maxOwned      = 20       // a user with more connections is not held
)

func newHeld() (*held, error) {
	memory, err := vault.NewMemory()
	if err != nil {
		return nil, err
	}
	return &held{
		memory:     memory,
		keys:       otter.Must(&otter.Options[[32]byte, *heldKey]{MaximumSize: maxHeldKeys}),
		assistants: otter.Must(&otter.Options[string, *heldAssistant]{MaximumSize: maxHeldNames}),
		profiles:   otter.Must(&otter.Options[profileName, *heldProfile]{MaximumSize: maxHeldNames}),
		owners:     otter.Must(&otter.Options[owner, *owned]{MaximumWeight: maxHeldMemory, Weigher: weigh}),
		whose:      otter.Must(&otter.Options[behalf.ConnectionID, ownership]{MaximumSize: maxHeldWhose}),
	}, nil
}

// weigh counts a connection's sealed parts at about what they will be: they are
// made when they are first needed.
func weigh(o owner, v *owned) uint32 {
	return uint32(200 + len(o.user) + len(v.all)*2*heldOverhead)
}

// drop forgets what a line of the change log is about.
func (h *held) drop(n note) {
	switch n.Noun {
	case nounKey:
		if hash, err := hex.DecodeString(n.Object); err == nil && len(hash) == 32 {
			h.keys.Invalidate([32]byte(hash))
		}
	case nounAssistant: // names may have moved from one to another
		h.assistants.InvalidateAll()
	case nounProfile:
		h.profiles.InvalidateAll()
	case nounConnection:
		h.owners.Invalidate(splitHolder(n.Holder))
	}
}

// peek returns a connection that is held already.
func (h *held) peek(c behalf.Connection) *Held {
	v, ok := h.owners.GetIfPresent(owner{c.Profile, c.User})
	if !ok {
		return nil
	}
	for _, one := range v.all {
		if one.ID == c.ID {
			return one
		}
	}
	return nil
}

func (h *held) clear() {
	h.keys.InvalidateAll()
	h.assistants.InvalidateAll()
	h.profiles.InvalidateAll()
	h.owners.InvalidateAll()
}

// loadLimit bounds the loading of something, which outlives who asked first:
// others wait for it too.
const loadLimit = 10 * time.Second

// get returns what is held under a key, loading it first if need be.
func get[K comparable, V any](ctx context.Context, db *DB, c *otter.Cache[K, V], key K, load func(context.Context) (V, error)) (V, error) {
	if err := db.follow.current(ctx); err != nil {
		var none V
		return none, err
	}
	if v, ok := c.GetIfPresent(key); ok {
		return v, nil
	}
	return c.Get(ctx, key, otter.LoaderFunc[K, V](func(ctx context.Context, _ K) (V, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadLimit)
		defer cancel()
		return load(ctx)
	}))
}

// absent splits an error into what is held as an answer and what is not.
func absent(err error) (answer, failure error) {
	if err == nil || behalf.CodeOf(err) == behalf.CodeNotFound {
		return err, nil
	}
	return nil, err
}

// heldKey returns the key with a hash.
func (db *DB) heldKey(ctx context.Context, hash [32]byte) (*heldKey, error) {
	return get(ctx, db, db.held.keys, hash, func(ctx context.Context) (*heldKey, error) {
		row, err := db.read.KeyByHash(ctx, hash[:])
		answer, err := absent(found(err, "key"))
		if err != nil {
			return nil, err
		}
		k := keyFrom(row)
		return &heldKey{k, k.Actor(), answer}, nil
	})
}

// HeldAssistant is Assistant for the hot paths.
func (s Scope) HeldAssistant(ctx context.Context, idOrSlug string) (*behalf.Assistant, error) {
	if !text(idOrSlug) {
		return nil, behalf.NotFound("assistant")
	}
	a, err := get(ctx, s.db, s.db.held.assistants, idOrSlug, func(ctx context.Context) (*heldAssistant, error) {
		row, err := s.db.read.Assistant(ctx, idOrSlug)
		answer, err := absent(found(err, "assistant"))
		if err != nil || answer != nil {
			return &heldAssistant{err: answer}, err
		}
		a, err := assistantFrom(row)
		return &heldAssistant{a, nil}, err
	})
	switch {
	case err != nil:
		return nil, err
	case a.err != nil:
		return nil, s.noAssistant(a.err)
	}
	return &a.Assistant, s.allow(behalf.ReadAssistants, a.ID, "assistant")
}

// HeldProfile is Profile for the hot paths.
func (s Scope) HeldProfile(ctx context.Context, assistant behalf.AssistantID, idOrSlug string) (*behalf.Profile, error) {
	if err := s.allow(behalf.ReadProfiles, assistant, "profile"); err != nil {
		return nil, err
	}
	if !text(string(assistant), idOrSlug) {
		return nil, behalf.NotFound("profile")
	}
	p, err := get(ctx, s.db, s.db.held.profiles, profileName{assistant, idOrSlug}, func(ctx context.Context) (*heldProfile, error) {
		row, err := s.db.read.Profile(ctx, query.ProfileParams{Assistant: string(assistant), ID: idOrSlug})
		answer, err := absent(s.db.foundProfile(ctx, assistant, idOrSlug, err))
		if err != nil || answer != nil {
			return &heldProfile{err: answer}, err
		}
		p, err := s.db.profileFrom(row)
		return &heldProfile{p, nil}, err
	})
	if err != nil {
		return nil, err
	}
	return &p.Profile, p.err
}

// HeldConnections is ConnectionsOf for the hot paths: those that were not ended,
// the default one first.
func (s Scope) HeldConnections(ctx context.Context, assistant behalf.AssistantID, profile behalf.ProfileID, user, tenant string) ([]*Held, error) {
	if err := s.allow(behalf.UseConnections, assistant, "connection"); err != nil {
		return nil, err
	}
	if !text(string(assistant), string(profile), user, tenant) {
		return nil, nil
	}
	all, err := s.db.owned(ctx, assistant, owner{profile, user})
	switch {
	case errors.Is(err, errMany):
		rows, err := s.db.read.ConnectionsOf(ctx, query.ConnectionsOfParams{Assistant: string(assistant), Profile: string(profile), EndUser: user, Tenant: tenant})
		return s.db.holding(rows), unavailableIf(err)
	case err != nil:
		return nil, err
	case len(all) > 0 && all[0].Assistant != assistant:
		return nil, behalf.NotFound("connection")
	case tenant == "":
		return all, nil
	}
	var some []*Held
	for _, h := range all {
		if h.Tenant == tenant {
			some = append(some, h)
		}
	}
	return some, nil
}

// HeldConnection is Connection for the hot paths, of one that was not ended.
func (s Scope) HeldConnection(ctx context.Context, id behalf.ConnectionID) (*Held, error) {
	if !text(string(id)) {
		return nil, behalf.NotFound("connection")
	}
	whose, ok := s.db.held.whose.GetIfPresent(id)
	if !ok {
		c, err := s.Connection(ctx, id)
		if err != nil {
			return nil, err
		}
		whose = ownership{owner{c.Profile, c.User}, c.Assistant}
		s.db.held.whose.Set(id, whose)
	}
	row, err := s.one(ctx, whose, id)
	if err != nil {
		return nil, err
	}
	return row, s.allow(behalf.UseConnections, row.Assistant, "connection")
}

func (s Scope) one(ctx context.Context, whose ownership, id behalf.ConnectionID) (*Held, error) {
	all, err := s.db.owned(ctx, whose.assistant, whose.owner)
	if err != nil && !errors.Is(err, errMany) {
		return nil, err
	}
	for _, h := range all {
		if h.ID == id {
			return h, nil
		}
	}
	row, err := s.connection(ctx, s.db.read, id) // ended, or one of many
	if err != nil {
		return nil, err
	}
	return s.db.hold(row), nil
}

var errMany = errors.New("store: a user with more connections than are held")

// owned returns all live connections of a user under a profile of the assistant.
func (db *DB) owned(ctx context.Context, assistant behalf.AssistantID, o owner) ([]*Held, error) {
	v, err := get(ctx, db, db.held.owners, o, func(ctx context.Context) (*owned, error) {
		rows, err := db.read.ConnectionsOwned(ctx, query.ConnectionsOwnedParams{Assistant: string(assistant), Profile: string(o.profile), EndUser: o.user, Max: maxOwned + 1})
		switch {
		case err != nil:
			return nil, unavailable(err)
		case len(rows) > maxOwned:
			return &owned{err: errMany}, nil
		}
		return &owned{all: db.holding(rows)}, nil
	})
	if err != nil {
		return nil, err
	}
	return db.unwritten.over(v.all), v.err
}

func (db *DB) holding(rows []query.Connection) []*Held {
	out := make([]*Held, 0, len(rows))
	for _, r := range rows {
		out = append(out, db.hold(r))
	}
	return out
}

func (db *DB) hold(row query.Connection) *Held {
	return &Held{Connection: connectionFrom(row), db: db}
}

// HeldSecrets returns what is sealed of a held connection.
func (s Scope) HeldSecrets(ctx context.Context, h *Held) (behalf.Credential, behalf.Inputs, error) {
	if err := s.allow(behalf.UseConnections, h.Assistant, "connection"); err != nil {
		return behalf.Credential{}, behalf.Inputs{}, err
	}
	if sealed := h.secrets.Load(); sealed != nil {
		return h.open(*sealed)
	}
	got, inputs, err := s.Secrets(ctx, h.Connection)
	if err != nil {
		return got, inputs, err
	}
	sealed := s.db.held.memory.Seal(packSecrets(got, inputs), h.label("secrets"))
	h.secrets.Store(&sealed)
	return got, inputs, nil
}

func (h *Held) label(part string) string {
	return part + " " + string(h.ID) + " " + strconv.FormatInt(h.Generation, 36) + " " + strconv.FormatInt(h.Fence, 36)
}

func (h *Held) open(sealed []byte) (behalf.Credential, behalf.Inputs, error) {
	plain, err := h.db.held.memory.Open(nil, sealed, h.label("secrets"))
	if err != nil {
		return behalf.Credential{}, behalf.Inputs{}, unavailable(err)
	}
	return unpackSecrets(plain)
}

// Answer appends to dst what a token read of a held connection is answered with.
// It is made once, by make, and held sealed.
func (s Scope) Answer(ctx context.Context, h *Held, dst []byte, make func(behalf.Credential) []byte) ([]byte, error) {
	if err := s.allow(behalf.UseConnections, h.Assistant, "connection"); err != nil {
		return nil, err
	}
	if sealed := h.answers.Load(); sealed != nil {
		return s.db.held.memory.Open(dst, *sealed, h.label("answer"))
	}
	got, _, err := s.HeldSecrets(ctx, h)
	if err != nil {
		return nil, err
	}
	answer := make(got)
	sealed := s.db.held.memory.Seal(answer, h.label("answer"))
	h.answers.Store(&sealed)
	return append(dst, answer...), nil
}

// Forget drops a held connection that turned out to be old.
func (db *DB) Forget(h *Held) { db.held.owners.Invalidate(owner{h.Profile, h.User}) }

// hash32 is secret.Hash as a key of a map.
func hash32(t secret.Text) [32]byte { return [32]byte(secret.Hash(t)) }
