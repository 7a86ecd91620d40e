package simulator_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
)

func TestNotesAreKeptPerPerson(t *testing.T) {
	p := newProvider(t)
	at := p.tokens()["access_token"].(string)
	added := p.api("POST", "/api/notes", at, "application/json", `{"title":"Beech","text":"mast year"}`)
	if added.status != http.StatusCreated || added.header.Get("Location") != "/api/notes/4" {
		t.Fatalf("%+v", added)
	}
	if one := p.api("GET", "/api/notes/4", at, "", "").json(t); one["title"] != "Beech" || one["text"] != "mast year" {
		t.Errorf("note: %v", one)
	}
	same(t, "hazel's", len(p.api("GET", "/api/notes", at, "", "").json(t)["notes"].([]any)), 4)
	jay := p.post("/token", tokenForm("password", "username", "jay", "password", "feathers")).json(t)["access_token"].(string)
	same(t, "jay's", len(p.api("GET", "/api/notes", jay, "", "").json(t)["notes"].([]any)), 3)
	same(t, "jay may not write", p.api("POST", "/api/notes", jay, "application/json", `{"title":"x"}`).status, 403)
	same(t, "no such note", p.api("GET", "/api/notes/99", at, "", "").status, 404)
	same(t, "no title", p.api("POST", "/api/notes", at, "application/json", `{}`).status, 400)
}

func TestTheAPIWantsAToken(t *testing.T) {
	p := newProvider(t)
	a := p.api("GET", "/api/me", "", "", "")
	if a.status != 401 || strings.Contains(a.header.Get("WWW-Authenticate"), "error=") {
		t.Errorf("without a token: %d %q", a.status, a.header.Get("WWW-Authenticate"))
	}
	a = p.api("GET", "/api/me", "acorn_at_forged", "", "")
	if a.status != 401 || !strings.Contains(a.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("with a bad one: %d %q", a.status, a.header.Get("WWW-Authenticate"))
	}
	tokens := p.tokens()
	same(t, "a refresh token", p.api("GET", "/api/me", tokens["refresh_token"].(string), "", "").status, 401)
	same(t, "in the query", p.get("/api/me?access_token="+tokens["access_token"].(string)).status, 200)
	r, _ := http.NewRequest("GET", p.url+"/api/me", nil)
	r.Header.Set("X-Acorn-Token", tokens["access_token"].(string))
	same(t, "in a header of its own", p.send(p.browser, r).status, 200)
}

func TestEchoShowsHowARequestArrived(t *testing.T) {
	p := newProvider(t)
	at := p.tokens()["access_token"].(string)
	sum := sha256.Sum256([]byte(at))
	a := p.api("PATCH", "/api/echo/a%2Fb?x=1&x=2", at, "application/json", `{"k":[1]}`)
	m := a.json(t)
	same(t, "method", m["method"], any("PATCH"))
	same(t, "path", m["path"], any("/api/echo/a%2Fb"))
	same(t, "query", m["query"], any("x=1&x=2"))
	same(t, "body", m["body"], any(map[string]any{"k": []any{1.0}}))
	same(t, "authorization", m["headers"].(map[string]any)["Authorization"], any([]any{"Bearer sha256:" + hex.EncodeToString(sum[:8])}))
	if strings.Contains(a.body, at) {
		t.Error("the token is echoed")
	}
	form := p.api("POST", "/api/echo", "", "application/x-www-form-urlencoded", "a=1&a=2").json(t)
	same(t, "form", form["body"], any(map[string]any{"a": []any{"1", "2"}}))
	same(t, "a bad token", p.api("GET", "/api/echo", "bad", "", "").status, 401)
}

func TestStreamsBytesAndUploads(t *testing.T) {
	p := newProvider(t)
	at := p.tokens()["access_token"].(string)
	events := p.api("GET", "/api/stream?n=3&ms=1", at, "", "")
	if strings.Count(events.body, "event: acorn\n") != 3 || events.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("stream: %+v", events)
	}
	same(t, "bytes", len(p.api("GET", "/api/bytes?n=100001", at, "", "").body), 100001)
	sum := sha256.Sum256([]byte("acorn"))
	up := p.api("POST", "/api/upload", at, "", "acorn").json(t)
	same(t, "upload", up, map[string]any{"bytes": 5.0, "sha256": hex.EncodeToString(sum[:])})
	slowly(t, func() { same(t, "slow", p.api("GET", "/api/slow?ms=60", at, "", "").status, 200) })
	same(t, "redirect", p.api("GET", "/api/redirect?to=http://other.example/", at, "", "").header.Get("Location"), "http://other.example/")
}
