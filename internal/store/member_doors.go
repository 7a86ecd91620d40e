package store

import (
	"context"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store/query"
)

// This file is the doors by which members come in: a password, a link, a single
// sign-on, and the sign-in that any of them leads to. The rules are:
//
//   - A refusal does not tell who exists, by its words or by its time.
//   - Who is disabled comes in by none.
//   - Coming in is audited as what the member does.

const metaSetUp = "set_up" // whoever writes this row of meta is the first owner

func notSignedIn() error {
	return behalf.Errorf(behalf.CodeUnauthenticated, "The email address or the password is not right.")
}

// MemberByPassword returns the member who has this address and password.
func (db *DB) MemberByPassword(ctx context.Context, email string, password secret.Text) (behalf.Member, error) {
	row := query.Member{}
	if email = behalf.FoldEmail(email); text(email) {
		var err error
		if row, err = db.read.MemberByEmail(ctx, email); err != nil && behalf.CodeOf(found(err, "member")) != behalf.CodeNotFound {
			return behalf.Member{}, unavailable(err)
		}
	}
	if !secret.IsPassword(password, row.Password) || row.DisabledAt != 0 {
		return behalf.Member{}, notSignedIn()
	}
	return db.cameIn(ctx, memberFrom(row), "password")
}

// cameIn notes that a member has signed in.
func (db *DB) cameIn(ctx context.Context, m behalf.Member, by string) (behalf.Member, error) {
	err := db.As(m.Actor()).change(ctx, func(c *change) error {
		c.audit("", "member.sign_in", string(m.ID), by)
		m.SignedInAt = c.now
		return c.MemberSignedIn(ctx, query.MemberSignedInParams{ID: string(m.ID), SignedInAt: micros(c.now)})
	})
	return m, err
}

// SignedIn returns a member who has come in before, as they are now.
func (db *DB) SignedIn(ctx context.Context, id behalf.MemberID) (behalf.Member, error) {
	row, err := db.read.Member(ctx, string(id))
	if err := found(err, "member"); behalf.CodeOf(err) == behalf.CodeUnavailable {
		return behalf.Member{}, err
	}
	if err != nil || row.DisabledAt != 0 {
		return behalf.Member{}, behalf.Errorf(behalf.CodeUnauthenticated, "Nobody is signed in.")
	}
	return memberFrom(row), nil
}

func noLink() error {
	return behalf.Errorf(behalf.CodeNotFound, "The link was used, has ended, or was replaced by a newer one.")
}

// MemberByLink returns what a link is good for, and whose it is. It uses
// nothing up.
func (db *DB) MemberByLink(ctx context.Context, link secret.Text) (behalf.MemberLink, behalf.Member, error) {
	l, row, err := db.memberByLink(ctx, db.read, link)
	return l, memberFrom(row), err
}

func (db *DB) memberByLink(ctx context.Context, q *query.Queries, link secret.Text) (l behalf.MemberLink, m query.Member, err error) {
	row, err := q.MemberLink(ctx, secret.Hash(link))
	switch err := found(err, "link"); {
	case behalf.CodeOf(err) == behalf.CodeNotFound:
		return l, m, noLink()
	case err != nil:
		return l, m, err
	}
	l = behalf.MemberLink{Member: behalf.MemberID(row.Member), Purpose: behalf.LinkPurpose(row.Purpose), CreatedAt: at(row.CreatedAt), ExpiresAt: at(row.ExpiresAt)}
	if !db.Now().Before(l.ExpiresAt) {
		return l, m, noLink()
	}
	if l.Purpose == behalf.LinkSetUp {
		if n, err := q.CountMembers(ctx); err != nil || n > 0 {
			return l, m, either(err, noLink())
		}
		return l, m, nil
	}
	m, err = q.Member(ctx, row.Member)
	if err := found(err, "member"); behalf.CodeOf(err) == behalf.CodeUnavailable {
		return l, m, err
	}
	if err != nil || m.DisabledAt != 0 {
		return l, m, noLink()
	}
	return l, m, nil
}

func either(err, ours error) error {
	if err != nil {
		return unavailable(err)
	}
	return ours
}

// Arrival is what somebody fills in who comes by a link.
type Arrival struct {
	Email    string // with LinkSetUp
	Name     string
	Password secret.Text // but with LinkSignIn
}

// UseLink lets the holder of a link in, and uses it up.
func (db *DB) UseLink(ctx context.Context, link secret.Text, a Arrival) (behalf.Member, error) {
	l, m, err := db.MemberByLink(ctx, link)
	switch {
	case err != nil:
		return m, err
	case l.Purpose == behalf.LinkSignIn:
		return db.cameIn(ctx, m, "link")
	case l.Purpose == behalf.LinkSetUp:
		m = behalf.Member{Email: behalf.FoldEmail(a.Email), Role: behalf.RoleOwner}
	}
	if m.Name = a.Name; m.Name == "" {
		m.Name = a.Email
	}
	hash, err := arrives(m, a.Password)
	if err != nil {
		return m, err
	}
	if l.Purpose == behalf.LinkSetUp {
		return db.firstOwner(ctx, link, m, hash)
	}
	return db.arrived(ctx, link, l, m, hash)
}

// arrives checks all fields of an arrival at once.
func arrives(m behalf.Member, password secret.Text) (string, error) {
	wrong, hash := m.Validate(), ""
	var err error
	if wrong == nil {
		hash, err = hashPassword(m, password)
		return hash, err
	}
	return "", behalf.Together(wrong, behalf.CheckPassword(m, password))
}

func (db *DB) firstOwner(ctx context.Context, link secret.Text, m behalf.Member, hash string) (behalf.Member, error) {
	err := db.As(behalf.System("set up")).change(ctx, func(c *change) error {
		rows, err := c.InsertMeta(ctx, query.InsertMetaParams{Name: metaSetUp, Value: []byte{1}})
		if err != nil || rows == 0 {
			return either(err, noLink()) // another link made the first owner a moment ago
		}
		if err := one(c.UseMemberLink(ctx, secret.Hash(link))); err != nil {
			return either(nil, noLink())
		}
		if m, err = c.insertMember(ctx, m, hash, behalf.Identity{}); err != nil {
			return err
		}
		c.audit("", "member.create", string(m.ID), m.Email+", the first owner")
		return nil
	})
	if err != nil {
		return m, err
	}
	return db.cameIn(ctx, m, "link")
}

func (db *DB) arrived(ctx context.Context, link secret.Text, l behalf.MemberLink, m behalf.Member, hash string) (behalf.Member, error) {
	err := db.As(m.Actor()).change(ctx, func(c *change) error {
		if err := one(c.UseMemberLink(ctx, secret.Hash(link))); err != nil {
			return either(nil, noLink())
		}
		if err := c.leave(ctx, string(m.ID)); err != nil {
			return err
		}
		c.audit("", "member.password", string(m.ID), "by "+string(l.Purpose)+" link")
		return c.setPassword(ctx, query.Member{ID: string(m.ID), Version: m.Version}, m.Name, hash)
	})
	if err != nil {
		return m, err
	}
	return db.cameIn(ctx, m, "link")
}

// MemberByIdentity returns who somebody is that a single sign-on vouches for:
// by subject, else by an address that the issuer has verified. Who is not here
// yet is taken in where the identity has a role.
func (db *DB) MemberByIdentity(ctx context.Context, i behalf.Identity) (behalf.Member, error) {
	var m behalf.Member
	err := db.As(behalf.System("single sign-on")).change(ctx, func(c *change) error {
		row, err := c.MemberBySubject(ctx, query.MemberBySubjectParams{Issuer: i.Issuer, Subject: i.Subject})
		if behalf.CodeOf(found(err, "member")) == behalf.CodeNotFound && i.Email != "" {
			row, err = c.MemberByEmail(ctx, i.Email)
		}
		if err := found(err, "member"); err != nil {
			if behalf.CodeOf(err) != behalf.CodeNotFound {
				return err
			}
			m, err = c.takeIn(ctx, i)
			return err
		}
		m, err = c.recognise(ctx, row, i)
		return err
	})
	if err != nil {
		return m, err
	}
	return db.cameIn(ctx, m, "single sign-on")
}

func (c *change) takeIn(ctx context.Context, i behalf.Identity) (behalf.Member, error) {
	m := behalf.Member{Email: i.Email, Name: i.Name, Role: i.Role, SSO: true}
	if i.Role == "" {
		return m, behalf.Errorf(behalf.CodeForbidden, "You are not among the people of this server. Ask one of its administrators to invite you.")
	}
	if err := m.Validate(); err != nil {
		return m, err
	}
	m, err := c.insertMember(ctx, m, "", i)
	c.audit("", "member.create", string(m.ID), m.Email+", "+string(m.Role)+", by single sign-on")
	return m, err
}

// recognise binds a member to the identity that they came with. An address that
// is bound to another subject already is not bound again: addresses are given
// to others, subjects are not.
func (c *change) recognise(ctx context.Context, row query.Member, i behalf.Identity) (behalf.Member, error) {
	was := memberFrom(row)
	switch {
	case !was.Good():
		return was, behalf.Errorf(behalf.CodeForbidden, "Your account here is disabled. Ask an administrator.")
	case row.Subject != "" && (row.Subject != i.Subject || row.Issuer != i.Issuer):
		return was, behalf.Errorf(behalf.CodeForbidden, "Your address belongs to somebody else here. Ask an administrator to remove the old account.")
	}
	m := was
	if m.Name == "" {
		m.Name = i.Name
	}
	if i.Mapped && i.Role != "" {
		m.Role = i.Role
	}
	if was.Role == behalf.RoleOwner && m.Role != behalf.RoleOwner && !was.Invited() {
		if err := c.notTheLastOwner(ctx, was); err != nil {
			m.Role = was.Role // a claim does not lock everybody out
		}
	}
	if m.SSO = true; m == was {
		return m, nil
	}
	c.audit("", "member.save", row.ID, "by single sign-on "+memberChange(was, m))
	m.Version++
	return m, one(c.SetMemberIdentity(ctx, query.SetMemberIdentityParams{ID: row.ID, Issuer: i.Issuer, Subject: i.Subject, Name: m.Name, Role: string(m.Role), UpdatedAt: micros(c.now), Version: row.Version}))
}
