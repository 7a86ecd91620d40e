package broker_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/broker"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
)

// odd is a broker before a provider that differs: each answer is a function of
// the path, and every request is noted.
type odd struct {
	*storetest.House
	t      *testing.T
	server *httptest.Server
	broker *broker.Broker
	scope  store.Scope

	mu      sync.Mutex
	asked   []string
	answers map[string]func(r *http.Request, n int) (int, string)
}

func newOdd(t *testing.T, url string, change func(*behalf.Definition, string)) *odd {
	t.Helper()
	o := &odd{t: t, answers: map[string]func(*http.Request, int) (int, string){}}
	o.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		o.mu.Lock()
		defer o.mu.Unlock()
		line := r.Method + " " + r.URL.Path + " " + r.URL.RawQuery + string(body)
		n := 0
		for _, a := range o.asked {
			if strings.HasPrefix(a, r.Method+" "+r.URL.Path+" ") {
				n++
			}
		}
		o.asked = append(o.asked, line)
		answer, ok := o.answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		_ = r.ParseForm()
		status, text := answer(r, n)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(o.server.Close)
	o.House = storetest.New(t, url, o.server.URL, func(d *behalf.Definition) {
		d.OAuth.ClientAuth = behalf.ClientAuthNone
		change(d, o.server.URL)
	})
	o.scope = o.DB.As(behalf.Actor{Kind: behalf.ActorAssistant, ID: "key_test", Assistant: o.Assistant.ID})
	o.broker = newBroker(t, o.DB, &logBuffer{}, nil)
	return o
}

// answer sets what a path says: for the n-th time it is asked, from 0.
func (o *odd) answer(path string, say func(r *http.Request, n int) (int, string)) {
	o.answers[path] = say
}

func (o *odd) use(c behalf.Connection) (broker.Good, error) {
	fresh := o.Connection(c.ID)
	fresh.Buffer = o.Profile.Plan.OAuth.Refresh.Buffer.Duration()
	return o.broker.Connection(o.t.Context(), o.scope, fresh)
}

func (o *odd) wasAsked(want ...string) {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if got := strings.Join(o.asked, "\n"); got != strings.Join(want, "\n") {
		o.t.Fatalf("asked\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	o.asked = nil
}

// renewing answers a refresh token with the next of its kind.
func renewing(life int) func(r *http.Request, n int) (int, string) {
	return func(r *http.Request, n int) (int, string) {
		return http.StatusOK, fmt.Sprintf(`{"access_token":"new-%s","refresh_token":"%s+","expires_in":%d}`, r.Form.Get("refresh_token"), r.Form.Get("refresh_token"), life)
	}
}

func TestEachTokenOfAGrantIsRenewedInItsOwnTime(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		o := newOdd(t, url, func(d *behalf.Definition, _ string) {
			d.OAuth.Slots = []behalf.Slot{{Name: "user", Reply: behalf.Reply{AccessToken: "/authed_user/access_token"}}}
		})
		o.answer("/token", renewing(3600))
		now := o.DB.Now()
		c := o.House.Connect(o.Profile, "u1", behalf.Credential{AccessToken: secret.New("bot"), RefreshToken: secret.New("rb"), ExpiresAt: now.Add(time.Hour), ObtainedAt: now,
			Slots: map[string]behalf.Slotted{"user": {AccessToken: secret.New("user"), RefreshToken: secret.New("ru"), ExpiresAt: now.Add(30 * time.Minute), ObtainedAt: now}}}, behalf.Account{}, behalf.Inputs{})
		if !c.ExpiresAt.Equal(now.Add(30*time.Minute)) && c.ExpiresAt.Sub(now) != 30*time.Minute {
			t.Fatal("a connection ends with the first of its tokens:", c.ExpiresAt.Sub(now))
		}
		o.Clock.Advance(29 * time.Minute)
		good, err := o.use(c)
		if err != nil {
			t.Fatal(err)
		}
		o.wasAsked("POST /token grant_type=refresh_token&refresh_token=ru&client_id=bot")
		if good.Credential.Slots["user"].AccessToken.Reveal() != "new-ru" || good.Credential.AccessToken.Reveal() != "bot" || good.Credential.Slots["user"].RefreshToken.Reveal() != "ru+" {
			t.Fatal("the slot was not renewed alone")
		}
		o.Clock.Advance(30 * time.Minute)
		if good, err = o.use(c); err != nil || good.Credential.AccessToken.Reveal() != "new-rb" || good.Credential.Slots["user"].AccessToken.Reveal() != "new-ru" {
			t.Fatal(err)
		}
		o.wasAsked("POST /token grant_type=refresh_token&refresh_token=rb&client_id=bot")
		o.Clock.Advance(time.Minute)
		if _, err := o.broker.Refresh(t.Context(), o.DB.As(behalf.System("test")), o.Connection(c.ID)); err != nil {
			t.Fatal(err)
		}
		o.wasAsked("POST /token grant_type=refresh_token&refresh_token=rb%2B&client_id=bot", "POST /token grant_type=refresh_token&refresh_token=ru%2B&client_id=bot")
	})
}

func TestARefreshIsKeptBeforeItsStepsAreMade(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		o := newOdd(t, url, func(d *behalf.Definition, base string) {
			d.OAuth.AfterToken = []behalf.Step{{Name: "login", URL: base + "/login", On: []string{"connect", "refresh"}, Params: []behalf.Param{{Key: "old", Value: "{{accessToken}}"}},
				Shape: behalf.Shape{Capture: []behalf.Capture{{Name: "session", JSON: "/session", Required: true, Secret: true}}}}}
			d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-Session", Value: "{{session}}"}}
		})
		o.answer("/token", renewing(3600))
		o.answer("/login", func(_ *http.Request, n int) (int, string) {
			if n == 0 {
				return http.StatusInternalServerError, "sorry"
			}
			return http.StatusOK, `{"session":"s2"}`
		})
		now := o.DB.Now()
		c := o.House.Connect(o.Profile, "u1", behalf.Credential{AccessToken: secret.New("a"), RefreshToken: secret.New("r"), ExpiresAt: now.Add(time.Hour), ObtainedAt: now, Captured: map[string]string{"session": "s1"}}, behalf.Account{}, behalf.Inputs{})
		o.Clock.Advance(59 * time.Minute)
		good, err := o.use(c) // the step does not spend the refresh token, so it is tried again at once
		if err != nil {
			t.Fatal(err)
		}
		o.wasAsked("POST /token grant_type=refresh_token&refresh_token=r&client_id=bot", "POST /login old=new-r", "POST /login old=new-r")
		if good.Credential.Unfinished || good.Credential.Captured["session"] != "s2" || good.Credential.RefreshToken.Reveal() != "r+" || good.Generation != c.Generation+2 {
			t.Fatalf("%+v", good.Connection)
		}
		o.answer("/login", func(*http.Request, int) (int, string) { return http.StatusServiceUnavailable, "sorry" })
		o.Clock.Advance(59 * time.Minute)
		if _, err = o.use(c); behalf.CodeOf(err) != behalf.CodeUnavailable {
			t.Fatal("a credential whose steps are not made was given out:", err)
		}
		kept, _, err := o.DB.As(behalf.System("test")).Secrets(t.Context(), o.Connection(c.ID))
		if err != nil || !kept.Unfinished || kept.RefreshToken.Reveal() != "r++" {
			t.Fatal("the refreshed credential was not kept before its steps:", err)
		}
		o.mu.Lock()
		o.asked = nil
		o.mu.Unlock()
		o.answer("/login", func(*http.Request, int) (int, string) { return http.StatusOK, `{"session":"s3"}` })
		o.Clock.Advance(10 * time.Minute)
		if good, err = o.use(c); err != nil || good.Credential.Captured["session"] != "s3" {
			t.Fatal(err)
		}
		o.wasAsked("POST /login old=new-r%2B")
	})
}

func TestAnAccessTokenRenewsItselfWhileItLives(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		o := newOdd(t, url, func(d *behalf.Definition, base string) {
			d.OAuth.Refresh = behalf.Refresh{Grant: "access_token", GrantType: "ig_refresh_token", Buffer: 30 * 60, Shape: behalf.Shape{Method: "GET", Omit: []string{"client_id"}}}
			d.RefreshURL = base + "/again"
		})
		o.answer("/again", func(*http.Request, int) (int, string) { return http.StatusOK, `{"access_token":"b","expires_in":3600}` })
		now := o.DB.Now()
		c := o.House.Connect(o.Profile, "u1", behalf.Credential{AccessToken: secret.New("a"), ExpiresAt: now.Add(2 * time.Hour), ObtainedAt: now, Renewal: behalf.RenewByAccessToken}, behalf.Account{}, behalf.Inputs{})
		o.Clock.Advance(89 * time.Minute)
		if _, err := o.use(c); err != nil {
			t.Fatal(err)
		}
		o.wasAsked()
		o.Clock.Advance(2 * time.Minute)
		if good, err := o.use(c); err != nil || good.Credential.AccessToken.Reveal() != "b" || !good.Refreshable {
			t.Fatal(err)
		}
		o.wasAsked("GET /again grant_type=ig_refresh_token&access_token=a")
		o.Clock.Advance(2 * time.Hour)
		if _, err := o.use(c); behalf.CodeOf(err) != behalf.CodeAuthorizationRequired || o.Connection(c.ID).Status != behalf.ConnectionLapsed {
			t.Fatal("one that has ended cannot renew itself:", err)
		}
		o.wasAsked()
	})
}

func TestErrorsOfARefreshMeanWhatTheProfileSays(t *testing.T) {
	for class, want := range map[behalf.ErrorClass]struct {
		code   behalf.Code
		status behalf.ConnectionStatus
	}{
		behalf.ClassLapsed:    {behalf.CodeAuthorizationRequired, behalf.ConnectionLapsed},
		behalf.ClassClient:    {behalf.CodeProvider, behalf.ConnectionActive},
		behalf.ClassLimited:   {behalf.CodeLimited, behalf.ConnectionActive},
		behalf.ClassTransient: {behalf.CodeUnavailable, behalf.ConnectionActive},
		behalf.ClassAmbiguous: {behalf.CodeUnavailable, behalf.ConnectionActive},
	} {
		t.Run(string(class), func(t *testing.T) {
			o := newOdd(t, storetest.SQLite(t), func(d *behalf.Definition, _ string) {
				d.OAuth.Token.Errors = []behalf.ErrorRule{{Rule: behalf.Rule{JSON: "/code", Equals: "602"}, Class: class}}
			})
			o.answer("/token", func(*http.Request, int) (int, string) { return http.StatusOK, `{"code":602}` })
			now := o.DB.Now()
			c := o.House.Connect(o.Profile, "u1", behalf.Credential{AccessToken: secret.New("a"), RefreshToken: secret.New("r"), ExpiresAt: now.Add(time.Minute), ObtainedAt: now}, behalf.Account{}, behalf.Inputs{})
			o.Clock.Advance(2 * time.Minute)
			if _, err := o.use(c); behalf.CodeOf(err) != want.code || o.Connection(c.ID).Status != want.status {
				t.Fatal(err, o.Connection(c.ID).Status)
			}
		})
	}
}

func TestARefreshGoesNowhereElseThanThePersonAuthorized(t *testing.T) {
	elsewhere := newOdd(t, storetest.SQLite(t), func(*behalf.Definition, string) {})
	o := newOdd(t, storetest.SQLite(t), func(d *behalf.Definition, _ string) {
		d.OAuth.AfterToken = []behalf.Step{{Name: "login", URL: elsewhere.server.URL + "/login", On: []string{"refresh"}, Params: []behalf.Param{{Key: "old", Value: "{{accessToken}}"}}}}
	})
	o.answer("/token", renewing(3600))
	now := o.DB.Now()
	c := o.House.Connect(o.Profile, "u1", behalf.Credential{AccessToken: secret.New("a"), RefreshToken: secret.New("r"), ExpiresAt: now.Add(time.Minute), ObtainedAt: now}, behalf.Account{}, behalf.Inputs{Origins: []string{o.server.URL}})
	o.Clock.Advance(2 * time.Minute)
	if _, err := o.use(c); behalf.CodeOf(err) != behalf.CodeAuthorizationRequired {
		t.Fatal(err)
	}
	elsewhere.wasAsked()
}

func TestARevocationFollowsTheProfilesOrder(t *testing.T) {
	o := newOdd(t, storetest.SQLite(t), func(d *behalf.Definition, base string) {
		d.OAuth.RevocationURL = base + "/revoke"
		d.OAuth.Revoke = behalf.Revoke{Tokens: []string{"access_token", "refresh_token"}, Body: "json", Shape: behalf.Shape{Method: "DELETE", Auth: behalf.ClientAuthBearer, Omit: []string{"token_type_hint"}}}
	})
	o.answer("/revoke", func(*http.Request, int) (int, string) { return http.StatusOK, "" })
	now := o.DB.Now()
	c := o.House.Connect(o.Profile, "u1", behalf.Credential{AccessToken: secret.New("a"), RefreshToken: secret.New("r"), ObtainedAt: now,
		Slots: map[string]behalf.Slotted{"user": {AccessToken: secret.New("ua"), RefreshToken: secret.New("ur")}, "plain": {AccessToken: secret.New("p")}}}, behalf.Account{}, behalf.Inputs{})
	if _, err := o.broker.Disconnect(t.Context(), o.scope, c, "test"); err != nil {
		t.Fatal(err)
	}
	o.wasAsked(`DELETE /revoke {"token":"a"}`, `DELETE /revoke {"token":"r"}`, `DELETE /revoke {"token":"ua"}`, `DELETE /revoke {"token":"ur"}`)
}

func TestARefreshedTokenIsIntrospectedWhereItsEndIsNotTold(t *testing.T) {
	o := newOdd(t, storetest.SQLite(t), func(d *behalf.Definition, base string) { d.OAuth.IntrospectionURL = base + "/introspect" })
	o.answer("/token", func(*http.Request, int) (int, string) { return http.StatusOK, `{"access_token":"b"}` })
	now := o.DB.Now()
	o.answer("/introspect", func(*http.Request, int) (int, string) {
		return http.StatusOK, fmt.Sprintf(`{"active":true,"exp":%d}`, o.DB.Now().Add(time.Hour).Unix())
	})
	c := o.House.Connect(o.Profile, "u1", behalf.Credential{AccessToken: secret.New("a"), RefreshToken: secret.New("r"), ExpiresAt: now.Add(time.Minute), ObtainedAt: now}, behalf.Account{}, behalf.Inputs{})
	o.Clock.Advance(2 * time.Minute)
	good, err := o.use(c)
	if err != nil {
		t.Fatal(err)
	}
	o.wasAsked("POST /token grant_type=refresh_token&refresh_token=r&client_id=bot", "POST /introspect token=b&token_type_hint=access_token&client_id=bot")
	if left := good.ExpiresAt.Sub(o.DB.Now()); left < 59*time.Minute || left > time.Hour {
		t.Fatal(left)
	}
}
