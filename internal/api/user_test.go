package api_test

import (
	"testing"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/store"
)

func TestEverythingOfAUserWhoLeavesIsEnded(t *testing.T) {
	s := servertest.New(t, servertest.Setup{Profile: func(d *behalf.Definition) {
		d.OAuth.RevocationURL = d.TokenURL[:len(d.TokenURL)-len("/token")] + "/revoke"
	}})
	other := s.Connected(s.Profile, "other", "jay")
	serves := s.Connected(s.Profile, "", "shared")
	mine := []behalf.Connection{s.Connected(s.Profile, "42", "hazel"), s.Connected(s.Profile, "42", "hazel-2")}
	for _, user := range []string{"42", "other"} {
		if _, err := s.System.PutVariable(t.Context(), behalf.Variable{Assistant: s.Assistant.ID, Namespace: behalf.NamespaceUser, User: user, Name: "cart", Value: secret.New("c")}); err != nil {
			t.Fatal(err)
		}
	}
	at := "/v1/assistants/" + s.Assistant.Slug
	var session struct{ ID string }
	s.Do(s.Key, "POST", at+"/connect-sessions", map[string]string{"profile": "acorn", "user": "42"}).Into(t, &session)

	var done struct {
		Connections []struct{ ID, Profile, Revocation string }
		Sessions    int64 `json:"connect_sessions"`
		Variables   int64
	}
	s.Do(s.Key, "DELETE", at+"/users/42", nil).Into(t, &done)
	if len(done.Connections) != 2 || done.Sessions < 1 || done.Variables != 1 {
		t.Fatalf("%+v", done)
	}
	for _, c := range done.Connections {
		if c.Revocation != string(behalf.RevocationDone) || c.Profile != string(s.Profile.ID) {
			t.Errorf("%+v", c)
		}
	}
	for _, c := range mine {
		if got, err := s.System.Connection(t.Context(), c.ID); err != nil || got.Status != behalf.ConnectionRevoked {
			t.Errorf("%s %v", got.Status, err)
		}
	}
	for _, c := range []behalf.Connection{other, serves} {
		if got, err := s.System.Connection(t.Context(), c.ID); err != nil || got.Status != behalf.ConnectionActive {
			t.Errorf("that of %q: %s %v", c.User, got.Status, err)
		}
	}
	if all, err := s.System.Variables(t.Context(), s.Assistant.ID, "", "", store.Page{}); err != nil || len(all) != 1 || all[0].User != "other" {
		t.Errorf("%d variables, %v", len(all), err)
	}
	s.Do(s.Key, "GET", at+"/connect-sessions/"+session.ID, nil).Problem(t, 404, behalf.CodeNotFound)
	told := 0
	events, err := s.System.Events(t.Context(), s.Assistant.ID, store.Page{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Type == behalf.EventUserDeleted && e.User == "42" {
			told++
		}
	}
	if told != 1 {
		t.Errorf("%d events", told)
	}
	s.Do(s.Key, "DELETE", at+"/users/42", nil).Into(t, &done)
	if len(done.Connections) != 0 || done.Sessions != 0 || done.Variables != 0 {
		t.Errorf("again: %+v", done)
	}
}
