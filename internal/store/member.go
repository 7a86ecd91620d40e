package store

import (
	"context"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store/query"
)

// This file keeps who signs in to the console. The rules are:
//
//   - Owners are made, changed and ended by owners only.
//   - There is always an owner who can sign in: the last one is neither
//     removed, nor disabled, nor given another role.
//   - Who is disabled or removed, or has chosen another password, is signed out
//     everywhere in the same transaction.
//   - A link is found by its hash, and used up in the transaction that it was
//     good for.

// Members returns everybody who may sign in, oldest first.
func (s Scope) Members(ctx context.Context, page Page) ([]behalf.Member, error) {
	if err := s.allow(behalf.ReadMembers, "", "member"); err != nil {
		return nil, err
	}
	if !text(page.After) {
		return nil, nil
	}
	rows, err := s.db.read.Members(ctx, query.MembersParams{After: page.After, Max: page.limit()})
	if err != nil {
		return nil, unavailable(err)
	}
	out := make([]behalf.Member, 0, len(rows))
	for _, r := range rows {
		out = append(out, memberFrom(r))
	}
	return out, nil
}

// Member returns one member; everybody may see themselves.
func (s Scope) Member(ctx context.Context, id behalf.MemberID) (behalf.Member, error) {
	row, err := s.member(ctx, id, behalf.ReadMembers)
	return memberFrom(row), err
}

func (s Scope) member(ctx context.Context, id behalf.MemberID, p behalf.Permission) (query.Member, error) {
	if !s.is(id) {
		if err := s.allow(p, "", "member"); err != nil {
			return query.Member{}, err
		}
	}
	if !text(string(id)) {
		return query.Member{}, behalf.NotFound("member")
	}
	row, err := s.db.read.Member(ctx, string(id))
	return row, found(err, "member")
}

// MemberByEmail returns the member who has an address.
func (s Scope) MemberByEmail(ctx context.Context, email string) (behalf.Member, error) {
	if err := s.allow(behalf.ReadMembers, "", "member"); err != nil {
		return behalf.Member{}, err
	}
	if email = behalf.FoldEmail(email); !text(email) {
		return behalf.Member{}, behalf.NotFound("member")
	}
	row, err := s.db.read.MemberByEmail(ctx, email)
	return memberFrom(row), found(err, "member")
}

// is reports whether it is this member who asks.
func (s Scope) is(id behalf.MemberID) bool {
	return s.actor.Kind == behalf.ActorAdministrator && id != "" && s.actor.ID == string(id)
}

// mayWriteMember holds owners apart.
func (s Scope) mayWriteMember(roles ...behalf.Role) error {
	for _, r := range roles {
		if r == behalf.RoleOwner {
			return s.allow(behalf.WriteOwners, "", "member")
		}
	}
	return s.allow(behalf.WriteMembers, "", "member")
}

// InviteMember keeps somebody new and returns the secret of the link by which
// they come in, for the only time.
func (s Scope) InviteMember(ctx context.Context, m behalf.Member) (behalf.Member, secret.Text, error) {
	if err := s.mayWriteMember(m.Role); err != nil {
		return m, secret.Text{}, err
	}
	m.Email = behalf.FoldEmail(m.Email)
	if err := m.Validate(); err != nil {
		return m, secret.Text{}, err
	}
	link := secret.Random()
	err := s.change(ctx, func(c *change) (err error) {
		if m, err = c.insertMember(ctx, m, "", behalf.Identity{}); err != nil {
			return err
		}
		c.audit("", "member.invite", string(m.ID), m.Email+", "+string(m.Role))
		return c.insertLink(ctx, link, m.ID, behalf.LinkInvite)
	})
	return m, link, err
}

func (c *change) insertMember(ctx context.Context, m behalf.Member, password string, i behalf.Identity) (behalf.Member, error) {
	m.ID, m.CreatedAt, m.UpdatedAt, m.Version = behalf.NewMemberID(c.now), c.now, c.now, 1
	err := c.InsertMember(ctx, query.InsertMemberParams{ID: string(m.ID), Email: m.Email, Name: m.Name, Role: string(m.Role), Password: password,
		Issuer: i.Issuer, Subject: i.Subject, CreatedAt: micros(c.now), UpdatedAt: micros(c.now)})
	if c.scope.db.engine.unique(err) {
		return m, &behalf.Error{Code: behalf.CodeConflict, Field: "email", Message: "Somebody with this address is here already."}
	}
	return m, err
}

func (c *change) insertLink(ctx context.Context, link secret.Text, id behalf.MemberID, p behalf.LinkPurpose) error {
	return c.InsertMemberLink(ctx, query.InsertMemberLinkParams{Hash: secret.Hash(link), Member: string(id), Purpose: string(p),
		CreatedAt: micros(c.now), ExpiresAt: micros(c.now.Add(p.Lifetime()))})
}

// LinkMember returns the secret of a new link for a member, which replaces
// those before it: LinkInvite for who has not come in yet, else LinkReset; for
// our own work also LinkSignIn.
func (s Scope) LinkMember(ctx context.Context, id behalf.MemberID, p behalf.LinkPurpose) (secret.Text, error) {
	row, err := s.member(ctx, id, behalf.WriteMembers)
	if err != nil {
		return secret.Text{}, err
	}
	if err := s.mayWriteMember(behalf.Role(row.Role)); err != nil {
		return secret.Text{}, err
	}
	if p == behalf.LinkSignIn || p == behalf.LinkSetUp {
		if err := s.allow(behalf.Maintain, "", "member"); err != nil {
			return secret.Text{}, err
		}
	}
	link := secret.Random()
	return link, s.change(ctx, func(c *change) error {
		if err := c.DeleteMemberLinks(ctx, row.ID); err != nil {
			return err
		}
		c.audit("", "member.link", row.ID, string(p))
		return c.insertLink(ctx, link, id, p)
	})
}

// SetUp returns the secret of a link by which the first owner comes in, and
// none where there is anybody already.
func (s Scope) SetUp(ctx context.Context) (secret.Text, error) {
	if err := s.allow(behalf.Maintain, "", "member"); err != nil {
		return secret.Text{}, err
	}
	if n, err := s.db.read.CountMembers(ctx); err != nil || n > 0 {
		return secret.Text{}, unavailableIf(err)
	}
	link := secret.Random()
	return link, s.change(ctx, func(c *change) error {
		c.audit("", "member.set_up", "", "")
		return c.insertLink(ctx, link, "", behalf.LinkSetUp)
	})
}

// SaveMember saves name, role and whether a member is disabled, by the version.
// Members may rename themselves.
func (s Scope) SaveMember(ctx context.Context, m behalf.Member) (behalf.Member, error) {
	row, err := s.member(ctx, m.ID, behalf.WriteMembers)
	if err != nil {
		return m, err
	}
	was := memberFrom(row)
	if was.Role != m.Role || was.Good() != m.Good() || !s.is(m.ID) {
		if err := s.mayWriteMember(was.Role, m.Role); err != nil {
			return m, err
		}
	}
	if err := m.Validate(); err != nil {
		return m, err
	}
	err = s.change(ctx, func(c *change) error {
		if was.Role == behalf.RoleOwner && (m.Role != behalf.RoleOwner || !m.Good()) {
			if err := c.notTheLastOwner(ctx, was); err != nil {
				return err
			}
		}
		if !m.Good() {
			if err := c.leave(ctx, row.ID); err != nil {
				return err
			}
		}
		c.audit("", "member.save", row.ID, memberChange(was, m))
		err := one(c.UpdateMember(ctx, query.UpdateMemberParams{ID: row.ID, Name: m.Name, Role: string(m.Role), DisabledAt: micros(m.DisabledAt), UpdatedAt: micros(c.now), Version: m.Version}))
		if err == ErrStale {
			return conflictStale("member")
		}
		return err
	})
	m.Version++
	return m, err
}

func memberChange(was, m behalf.Member) string {
	switch {
	case was.Role != m.Role:
		return "role " + string(was.Role) + " to " + string(m.Role)
	case was.Good() && !m.Good():
		return "disabled"
	case !was.Good() && m.Good():
		return "enabled"
	}
	return ""
}

// RemoveMember ends a member for good.
func (s Scope) RemoveMember(ctx context.Context, m behalf.Member) error {
	row, err := s.member(ctx, m.ID, behalf.WriteMembers)
	if err != nil {
		return err
	}
	was := memberFrom(row)
	if err := s.mayWriteMember(was.Role); err != nil {
		return err
	}
	return s.change(ctx, func(c *change) error {
		if was.Role == behalf.RoleOwner {
			if err := c.notTheLastOwner(ctx, was); err != nil {
				return err
			}
		}
		if err := c.leave(ctx, row.ID); err != nil {
			return err
		}
		c.audit("", "member.remove", row.ID, row.Email)
		err := one(c.DeleteMember(ctx, query.DeleteMemberParams{ID: row.ID, Version: m.Version}))
		if err == ErrStale {
			return conflictStale("member")
		}
		return err
	})
}

// notTheLastOwner holds the owners until the transaction ends.
func (c *change) notTheLastOwner(ctx context.Context, m behalf.Member) error {
	n, err := c.LockOwners(ctx)
	if err == nil && n <= 1 && !m.Invited() && m.Good() {
		return behalf.Errorf(behalf.CodeConflict, "This is the last owner who can sign in. Make somebody else an owner first.")
	}
	return err
}

// leave signs a member out everywhere, and ends their links.
func (c *change) leave(ctx context.Context, member string) error {
	if _, err := c.EndSignIns(ctx, query.EndSignInsParams{Member: member}); err != nil {
		return err
	}
	return c.DeleteMemberLinks(ctx, member)
}

// ChangePassword gives the member who asks another password, and signs them out
// everywhere but where they are. Who has a password must say it.
func (s Scope) ChangePassword(ctx context.Context, old, password secret.Text, here behalf.SignInID) error {
	id := behalf.MemberID(s.actor.ID)
	if !s.is(id) {
		return behalf.Errorf(behalf.CodeForbidden, "Only members have a password.")
	}
	row, err := s.member(ctx, id, behalf.ReadMembers)
	if err != nil {
		return err
	}
	if row.Password != "" && !secret.IsPassword(old, row.Password) {
		return behalf.Invalid("old", "This is not your password.")
	}
	hash, err := hashPassword(memberFrom(row), password)
	if err != nil {
		return err
	}
	return s.change(ctx, func(c *change) error {
		if _, err := c.EndSignIns(ctx, query.EndSignInsParams{Member: row.ID, But: string(here)}); err != nil {
			return err
		}
		c.audit("", "member.password", row.ID, "")
		return c.setPassword(ctx, row, row.Name, hash)
	})
}

func hashPassword(m behalf.Member, password secret.Text) (string, error) {
	if err := behalf.CheckPassword(m, password); err != nil {
		return "", err
	}
	hash, err := secret.HashPassword(password)
	return hash, unavailableIf(err)
}

func (c *change) setPassword(ctx context.Context, row query.Member, name, hash string) error {
	err := one(c.SetMemberPassword(ctx, query.SetMemberPasswordParams{ID: row.ID, Name: name, Password: hash, UpdatedAt: micros(c.now), Version: row.Version}))
	if err == ErrStale {
		return conflictStale("member")
	}
	return err
}

func memberFrom(row query.Member) behalf.Member {
	return behalf.Member{ID: behalf.MemberID(row.ID), Email: row.Email, Name: row.Name, Role: behalf.Role(row.Role), Password: row.Password != "", SSO: row.Subject != "",
		DisabledAt: at(row.DisabledAt), SignedInAt: at(row.SignedInAt), Version: row.Version, CreatedAt: at(row.CreatedAt), UpdatedAt: at(row.UpdatedAt)}
}
