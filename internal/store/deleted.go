package store

import (
	"context"
	"slices"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
)

// This file keeps profiles that were deleted. The rules are:
//
//   - To everybody but our own upkeep a deleted profile is not there; who asks
//     for it by its id, or by a slug that no other has taken, is told why.
//   - The row and its connections stay as they are, so that restoring is one
//     change. Its name is free meanwhile.
//   - It is forgotten only when nothing is left to be revoked.

// DeleteProfile stops a profile: from now on nothing uses it. It can be
// restored for behalf.KeepDeleted.
func (s Scope) DeleteProfile(ctx context.Context, p behalf.Profile) error {
	if err := s.allow(behalf.WriteProfiles, p.Assistant, "profile"); err != nil {
		return err
	}
	return s.change(ctx, s.deleting(ctx, p, behalf.KeepDeleted))
}

// EndProfile deletes a profile for good: its authorizations are revoked at the
// provider as soon as that can be, also where it was deleted before.
func (s Scope) EndProfile(ctx context.Context, p behalf.Profile) error {
	if err := s.allow(behalf.WriteProfiles, p.Assistant, "profile"); err != nil {
		return err
	}
	if !p.Deleted() {
		return s.change(ctx, s.deleting(ctx, p, 0))
	}
	return s.change(ctx, func(c *change) error {
		rows, err := c.EndDeletedProfile(ctx, query.EndDeletedProfileParams{PurgeAt: micros(c.now), ID: string(p.ID), Assistant: string(p.Assistant)})
		if err != nil || rows == 0 {
			return err
		}
		c.audit(p.Assistant, "profile.end", string(p.ID), p.Name)
		c.noteProfile(p.ID)
		return nil
	})
}

func (s Scope) deleting(ctx context.Context, p behalf.Profile, keep time.Duration) func(*change) error {
	return func(c *change) error {
		action := "profile.delete"
		if keep == 0 {
			action = "profile.end"
		}
		c.audit(p.Assistant, action, string(p.ID), p.Name)
		c.noteProfile(p.ID)
		c.event(behalf.Event{Assistant: p.Assistant, Type: behalf.EventProfileDeleted, Profile: p.ID, Detail: p.Name})
		err := one(c.DeleteProfile(ctx, query.DeleteProfileParams{DeletedAt: micros(c.now), PurgeAt: micros(c.now.Add(keep)), ID: string(p.ID), Assistant: string(p.Assistant), Version: p.Version}))
		if err == ErrStale {
			return conflictStale("profile")
		}
		return err
	}
}

// foundProfile is found for a profile: of one that was deleted it says so.
func (db *DB) foundProfile(ctx context.Context, assistant behalf.AssistantID, idOrSlug string, err error) error {
	if err == nil || !isNoRows(err) {
		return found(err, "profile")
	}
	row, err := db.read.DeletedProfile(ctx, query.DeletedProfileParams{Assistant: string(assistant), ID: idOrSlug})
	if err != nil {
		return found(err, "profile")
	}
	return behalf.ErrDeleted(inState(behalf.Profile{}, row), db.Now())
}

// DeletedProfile returns a deleted profile by its id, or by the slug that it had.
func (s Scope) DeletedProfile(ctx context.Context, assistant behalf.AssistantID, idOrSlug string) (behalf.Profile, error) {
	if err := s.allow(behalf.WriteProfiles, assistant, "profile"); err != nil {
		return behalf.Profile{}, err
	}
	if !text(string(assistant), idOrSlug) {
		return behalf.Profile{}, behalf.NotFound("profile")
	}
	row, err := s.db.read.DeletedProfile(ctx, query.DeletedProfileParams{Assistant: string(assistant), ID: idOrSlug})
	if err := found(err, "profile"); err != nil {
		return behalf.Profile{}, err
	}
	return s.db.profileFrom(row)
}

// DeletedProfiles returns an assistant's deleted profiles, oldest first.
func (s Scope) DeletedProfiles(ctx context.Context, assistant behalf.AssistantID, page Page) ([]behalf.Profile, error) {
	if err := s.allow(behalf.ReadProfiles, assistant, "profile"); err != nil {
		return nil, err
	}
	if !text(string(assistant), page.After) {
		return nil, nil
	}
	rows, err := s.db.read.DeletedProfiles(ctx, query.DeletedProfilesParams{Assistant: string(assistant), After: page.After, Max: page.limit()})
	if err != nil {
		return nil, unavailable(err)
	}
	return all(rows, s.db.profileFrom)
}

// ProfileOf returns a connection's profile, which may be deleted: it leaves its
// connections. The zero Profile is one that is forgotten.
func ProfileOf(ctx context.Context, s Scope, c behalf.Connection) (behalf.Profile, error) {
	p, err := s.Profile(ctx, c.Assistant, string(c.Profile))
	if behalf.CodeOf(err) != behalf.CodeNotFound {
		return p, err
	}
	deleted, err := s.DeletedProfiles(ctx, c.Assistant, Page{})
	if i := slices.IndexFunc(deleted, func(p behalf.Profile) bool { return p.ID == c.Profile }); i >= 0 {
		return deleted[i], err
	}
	return behalf.Profile{}, err
}

// RestoreProfile undoes the deletion of a profile, while that can be.
func (s Scope) RestoreProfile(ctx context.Context, p behalf.Profile) (behalf.Profile, error) {
	if err := s.allow(behalf.WriteProfiles, p.Assistant, "profile"); err != nil {
		return p, err
	}
	slug, key := slugOf(p), nameKey(p.Name)
	if p.Status == behalf.ProfileReserved {
		slug, key = string(p.ID), string(p.ID)
	}
	err := s.change(ctx, func(c *change) error {
		err := one(c.RestoreProfile(ctx, query.RestoreProfileParams{Slug: slug, NameKey: key, UpdatedAt: micros(c.now), ID: string(p.ID), Assistant: string(p.Assistant),
			Keep: behalf.KeepDeleted.Microseconds(), Now: micros(c.now)}))
		switch {
		case s.db.engine.unique(err):
			return &behalf.Error{Code: behalf.CodeConflict, Field: "name", Message: "Another profile of this assistant has this name by now. Rename or delete that one, then restore this one."}
		case err == ErrStale:
			return behalf.Errorf(behalf.CodeConflict, "This profile is not deleted any more, or its time is over and its authorizations are being revoked.")
		case err != nil:
			return err
		}
		c.audit(p.Assistant, "profile.restore", string(p.ID), p.Name)
		c.noteProfile(p.ID)
		c.event(behalf.Event{Assistant: p.Assistant, Type: behalf.EventProfileRestored, Profile: p.ID, Detail: p.Name})
		return nil
	})
	if err != nil {
		return p, err
	}
	return s.Profile(ctx, p.Assistant, string(p.ID))
}

// ProfileUses returns where a profile is used.
func (s Scope) ProfileUses(ctx context.Context, p behalf.Profile) (behalf.ProfileUses, error) {
	if err := s.allow(behalf.ReadConnections, p.Assistant, "profile"); err != nil {
		return behalf.ProfileUses{}, err
	}
	u := behalf.ProfileUses{Variables: p.VariableNames()}
	if p.Connector != nil {
		u.Connector = *p.Connector
	}
	counts, err := s.db.read.ProfileConnections(ctx, string(p.ID))
	if err != nil {
		return u, unavailable(err)
	}
	for _, n := range counts {
		switch behalf.ConnectionStatus(n.Status) {
		case behalf.ConnectionActive:
			u.Active = n.Number
		case behalf.ConnectionLapsed:
			u.Lapsed = n.Number
		}
	}
	if u.Users, err = s.db.read.ProfileUsers(ctx, string(p.ID)); err != nil {
		return u, unavailable(err)
	}
	u.Links, err = s.db.read.ProfileLinks(ctx, string(p.ID))
	return u, unavailableIf(err)
}

// KeptProfile returns a profile by id, deleted or not, for our own upkeep.
func (s Scope) KeptProfile(ctx context.Context, assistant behalf.AssistantID, id behalf.ProfileID) (behalf.Profile, error) {
	if err := s.allow(behalf.Maintain, assistant, "profile"); err != nil {
		return behalf.Profile{}, err
	}
	row, err := s.db.read.KeptProfile(ctx, query.KeptProfileParams{Assistant: string(assistant), ID: string(id)})
	if err := found(err, "profile"); err != nil {
		return behalf.Profile{}, err
	}
	return s.db.profileFrom(row)
}

// OverdueProfiles returns deleted profiles that cannot be restored any more.
func (s Scope) OverdueProfiles(ctx context.Context) ([]behalf.Profile, error) {
	if err := s.allow(behalf.Maintain, "", "profile"); err != nil {
		return nil, err
	}
	rows, err := s.db.read.OverdueProfiles(ctx, query.OverdueProfilesParams{Keep: behalf.KeepDeleted.Microseconds(), Now: micros(s.db.Now()), Max: maxPage})
	if err != nil {
		return nil, unavailable(err)
	}
	return all(rows, s.db.profileFrom)
}

// ForgetProfile deletes what is left of an overdue profile: connections that
// ended and owe the provider nothing, and, when there are no others, all of it.
// It reports whether nothing is left.
func (s Scope) ForgetProfile(ctx context.Context, p behalf.Profile) (bool, error) {
	if err := s.allow(behalf.Maintain, p.Assistant, "profile"); err != nil {
		return false, err
	}
	gone := false
	err := s.change(ctx, func(c *change) error {
		if err := c.ForgetEndedCredentials(ctx, query.ForgetEndedCredentialsParams{Profile: string(p.ID), Now: micros(c.now)}); err != nil {
			return err
		}
		if err := c.ForgetEndedConnections(ctx, query.ForgetEndedConnectionsParams{Profile: string(p.ID), Now: micros(c.now)}); err != nil {
			return err
		}
		left, err := c.HasConnections(ctx, string(p.ID))
		if err != nil || left > 0 {
			return err
		}
		if waiting, err := c.HasRevocations(ctx, string(p.ID)); err != nil || waiting > 0 {
			return err
		}
		if err := c.ForgetRevocationOutcomes(ctx, string(p.ID)); err != nil {
			return err
		}
		if err := c.ForgetSessionsOf(ctx, string(p.ID)); err != nil {
			return err
		}
		if err := c.ForgetTranscriptsOf(ctx, string(p.ID)); err != nil {
			return err
		}
		rows, err := c.ForgetProfile(ctx, query.ForgetProfileParams{ID: string(p.ID), Assistant: string(p.Assistant)})
		if err != nil || rows == 0 {
			return err
		}
		gone = true
		c.audit(p.Assistant, "profile.forget", string(p.ID), p.Name)
		c.noteProfile(p.ID)
		return nil
	})
	return gone, err
}

// TellSecret announces the end of a profile's client secret, where that is due
// and was not done; however many nodes notice, it is told once.
func (s Scope) TellSecret(ctx context.Context, p behalf.Profile) error {
	if err := s.allow(behalf.Maintain, p.Assistant, "profile"); err != nil {
		return err
	}
	if p.SecretEnds().IsZero() {
		return nil
	}
	told, err := s.db.read.SecretTold(ctx, string(p.ID))
	if err := found(err, "profile"); err != nil {
		return err
	}
	due, event, detail := p.SecretNotice(at(told), s.db.Now())
	if due.IsZero() {
		return nil
	}
	return s.change(ctx, func(c *change) error {
		rows, err := c.TellSecret(ctx, query.TellSecretParams{Told: micros(due), ID: string(p.ID)})
		if err != nil || rows == 0 {
			return err
		}
		c.audit(p.Assistant, string(event), string(p.ID), detail)
		c.noteProfile(p.ID)
		c.event(behalf.Event{Assistant: p.Assistant, Type: event, Profile: p.ID, Detail: detail})
		return nil
	})
}
