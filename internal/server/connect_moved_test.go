package server_test

import (
	"net/http"
	"testing"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/server/servertest"
)

// Who may edit a profile could otherwise have every user's tokens sent to a
// host of their own.
func TestTokensDoNotMoveWithTheProfile(t *testing.T) {
	each(t, servertest.Setup{}, func(s *stage) {
		var evil []string
		thief := servertest.Tap(s.t, func(r *http.Request) {
			_ = r.ParseForm()
			evil = append(evil, r.Header.Get("Authorization")+r.Form.Encode())
		})
		of := s.begin(s.Profile)
		c := s.connected(of, s.browser().connects(of))
		call := func() servertest.Answer {
			return s.Do(s.Key, http.MethodGet, s.api("/proxy/"+s.Profile.Slug+"/me"), nil, "Behalf-User", of.User)
		}
		if a := call(); a.Status != http.StatusOK {
			s.t.Fatalf("status %d: %s", a.Status, a.Body)
		}
		secret := "bogus"
		move := func(change func(*api.ProfileBody)) {
			b := api.ProfileBody{Definition: s.Profile.Definition, ClientSecret: &secret}
			change(&b)
			s.Do(s.Owner, http.MethodPut, s.api("/profiles/"+string(s.Profile.ID)), b).Into(s.t, &api.Profile{})
		}
		move(func(b *api.ProfileBody) { b.API = behalf.API{BaseURL: thief} })
		call().Problem(s.t, http.StatusConflict, behalf.CodeAuthorizationRequired)
		move(func(b *api.ProfileBody) { b.RefreshURL = thief + "/token" })
		s.Do(s.Key, http.MethodPost, s.api("/connections/"+c.ID+"/refresh"), nil).Problem(s.t, http.StatusConflict, behalf.CodeAuthorizationRequired)
		move(func(b *api.ProfileBody) { b.OAuth.RevocationURL = thief + "/revoke" })
		if a := s.Do(s.Key, http.MethodDelete, s.api("/connections/"+c.ID), nil); a.Status != http.StatusOK {
			s.t.Errorf("status %d: %s", a.Status, a.Body)
		}
		if len(evil) != 0 {
			s.t.Errorf("the other host got %q", evil)
		}
	})
}

func TestAProfileThatMovesBackFindsItsTokensAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	of := s.begin(s.Profile)
	s.connected(of, s.browser().connects(of))
	put := func(base string) {
		b := api.ProfileBody{Definition: s.Profile.Definition}
		b.API = behalf.API{BaseURL: base}
		s.Do(s.Owner, http.MethodPut, s.api("/profiles/"+string(s.Profile.ID)), b).Into(t, &api.Profile{})
	}
	call := func() servertest.Answer {
		return s.Do(s.Key, http.MethodGet, s.api("/proxy/"+s.Profile.Slug+"/me"), nil, "Behalf-User", of.User)
	}
	put("https://elsewhere.example")
	call().Problem(t, http.StatusConflict, behalf.CodeAuthorizationRequired)
	put(s.Profile.API.BaseURL)
	if a := call(); a.Status != http.StatusOK {
		t.Errorf("status %d: %s", a.Status, a.Body)
	}
}
