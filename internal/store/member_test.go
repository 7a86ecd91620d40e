package store_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
)

func TestTheLastOwnerStays(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		one := h.member(behalf.RoleOwner)
		if _, _, err := h.System.InviteMember(t.Context(), behalf.Member{Email: "invited@behalf.example", Role: behalf.RoleOwner}); err != nil {
			t.Fatal(err)
		}
		db := h.DB.As(one.Actor())
		lower, disabled := one, one
		lower.Role, disabled.DisabledAt = behalf.RoleViewer, h.DB.Now()
		for name, err := range map[string]error{"another role": discard(db.SaveMember(t.Context(), lower)), "disabled": discard(db.SaveMember(t.Context(), disabled)), "removed": db.RemoveMember(t.Context(), one)} {
			if behalf.CodeOf(err) != behalf.CodeConflict {
				t.Errorf("%s: %v", name, err)
			}
		}
		two := h.member(behalf.RoleOwner)
		var both sync.WaitGroup
		errs := make([]error, 2)
		for i, m := range []behalf.Member{one, two} {
			both.Go(func() { errs[i] = h.System.RemoveMember(t.Context(), m) })
		}
		both.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Errorf("two owners are removed at once: %v", errs)
		}
	})
}

func TestOnlyOwnersChangeOwners(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		owner, other, viewer := h.member(behalf.RoleOwner), h.member(behalf.RoleOwner), h.member(behalf.RoleViewer)
		admin := h.member(behalf.RoleAdministrator)
		db := h.DB.As(admin.Actor())
		lower, higher, self := other, viewer, admin
		lower.Role, higher.Role, self.Role = behalf.RoleViewer, behalf.RoleOwner, behalf.RoleOwner
		for name, err := range map[string]error{
			"makes one":        discard(db.SaveMember(t.Context(), higher)),
			"becomes one":      discard(db.SaveMember(t.Context(), self)),
			"lowers one":       discard(db.SaveMember(t.Context(), lower)),
			"removes one":      db.RemoveMember(t.Context(), other),
			"signs one out":    db.EndSignIns(t.Context(), other.ID, ""),
			"links one":        discard(db.LinkMember(t.Context(), other.ID, behalf.LinkReset)),
			"signs in by link": discard(db.LinkMember(t.Context(), viewer.ID, behalf.LinkSignIn)),
			"invites one": func() error {
				_, _, err := db.InviteMember(t.Context(), behalf.Member{Email: "o@behalf.example", Role: behalf.RoleOwner})
				return err
			}(),
		} {
			if behalf.CodeOf(err) != behalf.CodeForbidden {
				t.Errorf("an administrator %s: %v", name, err)
			}
		}
		if _, err := h.DB.As(owner.Actor()).SaveMember(t.Context(), lower); err != nil {
			t.Error(err)
		}
		viewerDB := h.DB.As(viewer.Actor())
		renamed := viewer
		renamed.Name = "Another name"
		if _, err := viewerDB.SaveMember(t.Context(), renamed); err != nil {
			t.Errorf("renames themselves: %v", err)
		}
		higher.Role = behalf.RoleAdministrator
		if _, err := viewerDB.SaveMember(t.Context(), higher); behalf.CodeOf(err) != behalf.CodeForbidden {
			t.Errorf("promotes themselves: %v", err)
		}
	})
}

func TestAMembersLinkIsGoodOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		ctx, arrival := t.Context(), store.Arrival{Email: "first@behalf.example", Name: "First", Password: secret.New(memberPassword)}
		first, err := h.System.SetUp(ctx)
		if err != nil {
			t.Fatal(err)
		}
		second, err := h.System.SetUp(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(h.dump(), first.Reveal()) {
			t.Error("the database holds the link")
		}
		var both sync.WaitGroup
		errs := make([]error, 4)
		for i, link := range []secret.Text{first, second, first, second} {
			both.Go(func() { errs[i] = discard(h.DB.UseLink(ctx, link, arrival)) })
		}
		both.Wait()
		good := 0
		for _, err := range errs {
			if err == nil {
				good++
			} else if code := behalf.CodeOf(err); code != behalf.CodeNotFound {
				t.Errorf("refused by %v", err)
			}
		}
		if good != 1 {
			t.Errorf("%d became the first owner", good)
		}
		if link, err := h.System.SetUp(ctx); err != nil || !link.Empty() {
			t.Errorf("the server can be set up again: %v", err)
		}

		m := h.member(behalf.RoleViewer)
		old, err := h.System.LinkMember(ctx, m.ID, behalf.LinkReset)
		if err != nil {
			t.Fatal(err)
		}
		link, err := h.System.LinkMember(ctx, m.ID, behalf.LinkReset)
		if err != nil {
			t.Fatal(err)
		}
		for name, l := range map[string]secret.Text{"replaced": old, "unknown": secret.Random(), "none": {}, "odd": secret.New("\x00")} {
			if _, err := h.DB.UseLink(ctx, l, arrival); behalf.CodeOf(err) != behalf.CodeNotFound {
				t.Errorf("%s: %v", name, err)
			}
		}
		h.Clock.Advance(behalf.LinkReset.Lifetime())
		if _, err := h.DB.UseLink(ctx, link, arrival); behalf.CodeOf(err) != behalf.CodeNotFound {
			t.Errorf("ended: %v", err)
		}
	})
}

func TestWhoComesInByPassword(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		ctx, m := t.Context(), h.member(behalf.RoleViewer)
		if got, err := h.DB.MemberByPassword(ctx, " "+strings.ToUpper(m.Email), secret.New(memberPassword)); err != nil || got.ID != m.ID {
			t.Errorf("%v, %v", got.ID, err)
		}
		_, wrong := h.DB.MemberByPassword(ctx, m.Email, secret.New("wrong"))
		_, unknown := h.DB.MemberByPassword(ctx, "nobody@behalf.example", secret.New(memberPassword))
		_, odd := h.DB.MemberByPassword(ctx, "\x00", secret.New(memberPassword))
		_, none := h.DB.MemberByPassword(ctx, m.Email, secret.Text{})
		for name, err := range map[string]error{"wrong": wrong, "unknown": unknown, "odd": odd, "none": none} {
			if err == nil || err.Error() != wrong.Error() {
				t.Errorf("%s tells something: %v", name, err)
			}
		}
		if strings.Contains(h.dump(), memberPassword) {
			t.Error("the database holds the password")
		}
		db := h.DB.As(m.Actor())
		another := secret.New("another-" + memberPassword)
		if err := db.ChangePassword(ctx, secret.New("wrong"), another, ""); behalf.CodeOf(err) != behalf.CodeInvalid {
			t.Errorf("changed without the old one: %v", err)
		}
		if err := db.ChangePassword(ctx, secret.New(memberPassword), another, ""); err != nil {
			t.Error(err)
		}
		if _, err := h.DB.MemberByPassword(ctx, m.Email, secret.New(memberPassword)); err == nil {
			t.Error("the old password still works")
		}
		m = h.same(m)
		m.DisabledAt = h.DB.Now()
		if _, err := h.System.SaveMember(ctx, m); err != nil {
			t.Fatal(err)
		}
		if _, err := h.DB.MemberByPassword(ctx, m.Email, another); err == nil || err.Error() != wrong.Error() {
			t.Errorf("a disabled member: %v", err)
		}
		if _, err := h.DB.SignedIn(ctx, m.ID); behalf.CodeOf(err) != behalf.CodeUnauthenticated {
			t.Errorf("a disabled member stays signed in: %v", err)
		}
	})
}

func TestASignInThatHasEndedStaysSo(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		ctx, m := t.Context(), h.member(behalf.RoleViewer)
		keep := func(hash string, fresh bool, data string) error {
			return h.DB.KeepSignIn(ctx, hash, store.KeptSignIn{SignIn: behalf.SignIn{Member: m.ID, ExpiresAt: h.DB.Now().Add(time.Hour)}, Data: []byte(data)}, fresh)
		}
		if err := errors.Join(keep("one", true, "kept-remark-1"), keep("two", true, "kept-remark-2")); err != nil {
			t.Fatal(err)
		}
		if k, found, err := h.DB.FindSignIn(ctx, "one"); err != nil || !found || string(k.Data) != "kept-remark-1" || k.Member != m.ID {
			t.Errorf("%v, %v, %v", k, found, err)
		}
		if strings.Contains(h.dump(), "kept-remark") {
			t.Error("what is remembered is not sealed")
		}
		if err := h.DB.As(m.Actor()).EndSignIns(ctx, m.ID, ""); err != nil {
			t.Fatal(err)
		}
		if err := keep("one", false, "late"); err != nil {
			t.Fatal(err)
		}
		if _, found, err := h.DB.FindSignIn(ctx, "one"); found || err != nil {
			t.Errorf("a request that was under way brought it back: %v", err)
		}
		if err := keep("three", true, "x"); err != nil {
			t.Fatal(err)
		}
		h.Clock.Advance(2 * time.Hour)
		if _, found, err := h.DB.FindSignIn(ctx, "three"); found || err != nil {
			t.Errorf("it did not end: %v", err)
		}
		if err := h.System.ForgetSignIns(ctx); err != nil || len(h.rows("sign_ins")) != 0 {
			t.Errorf("not forgotten: %v", err)
		}
	})
}

func TestWhoComesInBySingleSignOn(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		ctx, m := t.Context(), h.member(behalf.RoleViewer)
		of := func(subject, email string, role behalf.Role, mapped bool) (behalf.Member, error) {
			return h.DB.MemberByIdentity(ctx, behalf.Identity{Issuer: "https://id.example", Subject: subject, Email: email, Role: role, Mapped: mapped})
		}
		if got, err := of("s-1", m.Email, "", false); err != nil || got.ID != m.ID || !got.SSO {
			t.Errorf("by a verified address: %+v, %v", got, err)
		}
		if got, err := of("s-1", "changed@behalf.example", "", false); err != nil || got.ID != m.ID {
			t.Errorf("by subject: %+v, %v", got, err)
		}
		if _, err := of("s-2", m.Email, behalf.RoleOwner, true); behalf.CodeOf(err) != behalf.CodeForbidden {
			t.Errorf("another subject with the same address: %v", err)
		}
		if _, err := of("s-3", "", "", false); behalf.CodeOf(err) != behalf.CodeForbidden {
			t.Errorf("nobody knows them: %v", err)
		}
		if got, err := of("s-4", "new@behalf.example", behalf.RoleDeveloper, false); err != nil || got.Role != behalf.RoleDeveloper {
			t.Errorf("taken in: %+v, %v", got, err)
		}
		if got, err := of("s-1", "", behalf.RoleAdministrator, true); err != nil || got.Role != behalf.RoleAdministrator {
			t.Errorf("a claim gives another role: %+v, %v", got, err)
		}
		owner := h.member(behalf.RoleOwner)
		if got, err := of("s-5", owner.Email, behalf.RoleViewer, true); err != nil || got.Role != behalf.RoleOwner {
			t.Errorf("a claim locks the last owner out: %+v, %v", got, err)
		}
	})
}
