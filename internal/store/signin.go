package store

import (
	"context"
	"encoding/base64"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

// SignIns returns where a member is signed in, last seen first; everybody may
// see their own.
func (s Scope) SignIns(ctx context.Context, member behalf.MemberID) ([]behalf.SignIn, error) {
	if _, err := s.member(ctx, member, behalf.WriteMembers); err != nil {
		return nil, err
	}
	rows, err := s.db.read.SignIns(ctx, query.SignInsParams{Member: string(member), Now: micros(s.db.Now())})
	if err != nil {
		return nil, unavailable(err)
	}
	out := make([]behalf.SignIn, 0, len(rows))
	for _, r := range rows {
		out = append(out, behalf.SignIn{ID: behalf.SignInID(r.ID), Member: behalf.MemberID(r.Member), Agent: r.Agent, Address: r.Address,
			CreatedAt: at(r.CreatedAt), SeenAt: at(r.SeenAt), ExpiresAt: at(r.ExpiresAt)})
	}
	return out, nil
}

// EndSignIn signs one of a member's browsers out.
func (s Scope) EndSignIn(ctx context.Context, member behalf.MemberID, id behalf.SignInID) error {
	return s.endSignIns(ctx, member, func(c *change) (int64, error) {
		if !text(string(id)) {
			return 0, nil
		}
		return c.Queries.EndSignIn(ctx, query.EndSignInParams{ID: string(id), Member: string(member)})
	})
}

// EndSignIns signs a member out everywhere, but for one browser where it is
// named.
func (s Scope) EndSignIns(ctx context.Context, member behalf.MemberID, but behalf.SignInID) error {
	return s.endSignIns(ctx, member, func(c *change) (int64, error) {
		return c.Queries.EndSignIns(ctx, query.EndSignInsParams{Member: string(member), But: string(but)})
	})
}

func (s Scope) endSignIns(ctx context.Context, member behalf.MemberID, end func(*change) (int64, error)) error {
	row, err := s.member(ctx, member, behalf.WriteMembers)
	if err != nil {
		return err
	}
	if !s.is(member) {
		if err := s.mayWriteMember(behalf.Role(row.Role)); err != nil {
			return err
		}
	}
	return s.change(ctx, func(c *change) error {
		n, err := end(c)
		if err == nil && n > 0 {
			c.audit("", "member.sign_out", row.ID, "")
		}
		return err
	})
}

// ForgetSignIns removes sign-ins and links that have ended.
func (s Scope) ForgetSignIns(ctx context.Context) error {
	if err := s.allow(behalf.Maintain, "", "sign-in"); err != nil {
		return err
	}
	now := micros(s.db.Now())
	if err := s.db.write.ForgetSignIns(ctx, now); err != nil {
		return unavailable(err)
	}
	return unavailableIf(s.db.write.ForgetMemberLinks(ctx, now))
}

// KeptSignIn is a sign-in with what the console remembers of it.
type KeptSignIn struct {
	behalf.SignIn
	Data []byte
}

// seenEvery is how exact SeenAt and ExpiresAt are: a page that is only looked
// at writes nothing more often.
const seenEvery = time.Minute

// FindSignIn is a door: it returns the sign-in whose cookie has this hash. It
// reports false for one that never was or has ended.
func (db *DB) FindSignIn(ctx context.Context, hash string) (KeptSignIn, bool, error) {
	if !text(hash) {
		return KeptSignIn{}, false, nil
	}
	row, err := db.read.SignIn(ctx, hash)
	switch err := found(err, "sign-in"); {
	case behalf.CodeOf(err) == behalf.CodeNotFound:
		return KeptSignIn{}, false, nil
	case err != nil:
		return KeptSignIn{}, false, err
	case !db.Now().Before(at(row.ExpiresAt)):
		return KeptSignIn{}, false, nil
	}
	k := KeptSignIn{SignIn: behalf.SignIn{ID: behalf.SignInID(row.ID), Member: behalf.MemberID(row.Member), Agent: row.Agent, Address: row.Address,
		CreatedAt: at(row.CreatedAt), SeenAt: at(row.SeenAt), ExpiresAt: at(row.ExpiresAt)}}
	var encoded string
	if err := db.unseal(row.Sealed, signInPlace(hash), &encoded); err != nil {
		return k, false, err
	}
	k.Data, err = base64.StdEncoding.DecodeString(encoded)
	return k, err == nil, unavailableIf(err)
}

// KeepSignIn keeps a sign-in under its cookie's hash. One that is not fresh and
// has ended meanwhile stays ended; one that is seen again within seenEvery and
// has not changed is not written.
func (db *DB) KeepSignIn(ctx context.Context, hash string, k KeptSignIn, fresh bool) error {
	now := db.Now()
	was, found, err := db.FindSignIn(ctx, hash)
	if err != nil {
		return err
	}
	if found && string(was.Data) == string(k.Data) && k.ExpiresAt.Sub(was.ExpiresAt).Abs() < seenEvery && now.Sub(was.SeenAt) < seenEvery {
		return nil
	}
	sealed, err := db.seal(base64.StdEncoding.EncodeToString(k.Data), signInPlace(hash))
	if err != nil {
		return err
	}
	if fresh {
		if k.ID == "" {
			k.ID = behalf.NewSignInID(now)
		}
		return unavailableIf(db.write.InsertSignIn(ctx, query.InsertSignInParams{ID: string(k.ID), Hash: hash, Member: string(k.Member), Agent: k.Agent, Address: k.Address,
			Sealed: sealed, CreatedAt: micros(now), SeenAt: micros(now), ExpiresAt: micros(k.ExpiresAt)}))
	}
	return unavailableIf(db.write.UpdateSignIn(ctx, query.UpdateSignInParams{Hash: hash, Sealed: sealed, SeenAt: micros(now), ExpiresAt: micros(k.ExpiresAt)}))
}

// DropSignIn ends the sign-in whose cookie has this hash.
func (db *DB) DropSignIn(ctx context.Context, hash string) error {
	if !text(hash) {
		return nil
	}
	_, err := db.write.DeleteSignIn(ctx, hash)
	return unavailableIf(err)
}

func signInPlace(hash string) vault.Place {
	return vault.Place{Table: "sign_ins", Row: hash, Column: "sealed"}
}
