package notify_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/notify"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
	"github.com/behalf-dev/behalf/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// receiver is an assistant's endpoint.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []received
	answer func(n int, w http.ResponseWriter) // to the n-th request; nil: 204
}

type received struct {
	header http.Header
	body   []byte
}

func newReceiver(t *testing.T, answer func(n int, w http.ResponseWriter)) *receiver {
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		body, _ := io.ReadAll(in.Body)
		r.mu.Lock()
		r.got = append(r.got, received{in.Header.Clone(), body})
		n, answer := len(r.got), r.answer
		r.mu.Unlock()
		if answer == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		answer(n, w)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received{}, r.got...)
}

// stage is a house with an endpoint and a node that delivers.
type stage struct {
	*storetest.House
	t      *testing.T
	url    string
	log    *bytes.Buffer
	logger *slog.Logger
	node   *notify.Notify
	hook   behalf.Webhook
	secret secret.Text
}

func newStage(t *testing.T, db, endpoint string, events ...string) *stage {
	t.Helper()
	s := &stage{House: storetest.New(t, db, "https://acorn.example", nil), t: t, url: db, log: &bytes.Buffer{}}
	s.logger = slog.New(slog.NewTextHandler(s.log, nil)) // one for all nodes: it locks
	s.node = s.another(s.DB, true)
	s.hook, s.secret = s.create(endpoint, events...)
	return s
}

func (s *stage) another(db *store.DB, private bool) *notify.Notify {
	cfg := egress.Config{Now: s.Clock.Now, UserAgent: "Behalf/test"}
	if private {
		cfg.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
	out := egress.New(cfg)
	s.t.Cleanup(out.Close)
	return notify.New(notify.Config{DB: db, Egress: out, Log: s.logger, Now: time.Now, Jitter: func() float64 { return 0 }, Deadline: 500 * time.Millisecond})
}

func (s *stage) create(endpoint string, events ...string) (behalf.Webhook, secret.Text) {
	s.t.Helper()
	w, shown, err := s.System.CreateWebhook(s.t.Context(), behalf.Webhook{Assistant: s.Assistant.ID, URL: endpoint, Events: events})
	if err != nil {
		s.t.Fatal(err)
	}
	return w, shown
}

func (s *stage) connect(user string) behalf.Connection {
	return s.Connect(s.Profile, user, s.Credential(user), behalf.Account{Subject: "sub-" + user}, behalf.Inputs{})
}

// round delivers what is due now.
func (s *stage) round() {
	s.t.Helper()
	if err := s.node.Look(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.node.Wait()
}

func (s *stage) deliveries() []behalf.Delivery {
	s.t.Helper()
	all, err := s.System.Deliveries(s.t.Context(), s.hook, "", store.Page{})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

func (s *stage) now() behalf.Webhook {
	s.t.Helper()
	w, err := s.System.Webhook(s.t.Context(), s.Assistant.ID, s.hook.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	return w
}

func (s *stage) told(of behalf.EventType) (n int) {
	s.t.Helper()
	all, err := s.System.Events(s.t.Context(), s.Assistant.ID, store.Page{})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range all {
		if e.Type == of {
			n++
		}
	}
	return n
}

// verify checks a request as a receiver does, at the house's time: the library
// reads this machine's, which the clock here has stood still beside.
func verify(t *testing.T, key secret.Text, r received) error {
	t.Helper()
	w, err := standardwebhooks.NewWebhook(key.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return w.VerifyIgnoringTimestamp(r.body, r.header)
}

func TestAnEventIsDeliveredOnceAndSigned(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db string) {
		r := newReceiver(t, nil)
		s := newStage(t, db, r.URL+"/hook?key=1")
		c := s.connect("jane")
		s.round()
		s.round()
		got := r.all()
		if len(got) != 1 {
			t.Fatalf("%d requests", len(got))
		}
		if err := verify(t, s.secret, got[0]); err != nil {
			t.Error(err)
		}
		if stamp := got[0].header.Get("webhook-timestamp"); stamp != fmt.Sprint(s.DB.Now().Unix()) {
			t.Errorf("timestamp %s", stamp)
		}
		if verify(t, secret.New("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), got[0]) == nil {
			t.Error("any secret fits")
		}
		var m notify.Message
		if err := json.Unmarshal(got[0].body, &m); err != nil {
			t.Fatal(err)
		}
		if m.Type != "connection.created" || m.Data.Connection != string(c.ID) || m.Data.User != "jane" || m.Data.ID != got[0].header.Get("webhook-id") || !m.Timestamp.Equal(s.DB.Now()) {
			t.Errorf("%+v", m)
		}
		d := s.deliveries()
		if len(d) != 1 || d[0].Status != behalf.DeliveryDelivered || d[0].Attempts != 1 || d[0].Answer != 204 || string(d[0].Event) != m.Data.ID {
			t.Errorf("%+v", d)
		}
		if strings.Contains(s.log.String(), "key=1") || strings.Contains(s.log.String(), "whsec_") {
			t.Error("the log holds the URL or the secret")
		}
	})
}

func TestAnEndpointIsToldOfWhatItWants(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db string) {
		all, some := newReceiver(t, nil), newReceiver(t, nil)
		s := newStage(t, db, all.URL, "connection.*")
		s.create(some.URL, "connection.revoked")
		c := s.connect("jane")
		if err := s.System.Revoke(t.Context(), c, "over"); err != nil {
			t.Fatal(err)
		}
		if err := s.System.SetProfileStatus(t.Context(), s.Profile, behalf.ProfileFailing, "invalid_client"); err != nil {
			t.Fatal(err)
		}
		s.round()
		if a, b := len(all.all()), len(some.all()); a != 2 || b != 1 {
			t.Errorf("%d and %d requests, want 2 and 1", a, b)
		}
	})
}

func TestWhatAnEndpointDoesNotTakeIsTriedAgain(t *testing.T) {
	html := func(w http.ResponseWriter, status int) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<h1>Sign in</h1>")
	}
	for name, row := range map[string]struct {
		answer func(n int, w http.ResponseWriter)
		says   string
		code   int
	}{
		"an error": {func(_ int, w http.ResponseWriter) { w.WriteHeader(500) }, "answered 500", 500},
		"a redirect": {func(_ int, w http.ResponseWriter) {
			w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
			w.WriteHeader(302)
		}, "redirect", 302},
		"a page":    {func(_ int, w http.ResponseWriter) { html(w, 403) }, "403", 403},
		"never":     {func(_ int, w http.ResponseWriter) { time.Sleep(700 * time.Millisecond) }, "did not answer within", 0},
		"half":      {func(_ int, w http.ResponseWriter) { panic(http.ErrAbortHandler) }, "connection broke", 0},
		"too often": {func(_ int, w http.ResponseWriter) { w.WriteHeader(429) }, "429", 429},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, row.answer)
			s := newStage(t, storetest.SQLite(t), r.URL)
			s.connect("jane")
			s.round()
			d := s.deliveries()[0]
			if d.Status != behalf.DeliveryWaiting || d.Answer != row.code || !strings.Contains(d.Problem, row.says) || !d.NextAt.Equal(s.DB.Now().Add(5*time.Second)) {
				t.Fatalf("%+v", d)
			}
			s.round() // not yet
			if n := len(r.all()); n != 1 {
				t.Fatalf("%d requests", n)
			}
			r.mu.Lock()
			r.answer = nil
			r.mu.Unlock()
			s.Clock.Advance(5 * time.Second)
			s.round()
			got := r.all()
			if d := s.deliveries()[0]; d.Status != behalf.DeliveryDelivered || d.Attempts != 2 || d.Problem != "" {
				t.Errorf("%+v", d)
			}
			if len(got) != 2 || got[0].header.Get("webhook-id") != got[1].header.Get("webhook-id") || !bytes.Equal(got[0].body, got[1].body) {
				t.Error("the second attempt tells something else")
			}
			if w := s.now(); !w.FailingSince.IsZero() || w.Failures != 0 {
				t.Errorf("%+v", w)
			}
		})
	}
	t.Run("a page that says 200 is taken, with a note", func(t *testing.T) {
		r := newReceiver(t, func(_ int, w http.ResponseWriter) { html(w, 200) })
		s := newStage(t, storetest.SQLite(t), r.URL)
		s.connect("jane")
		s.round()
		if d := s.deliveries()[0]; d.Status != behalf.DeliveryDelivered || !strings.Contains(d.Problem, "web page") {
			t.Errorf("%+v", d)
		}
	})
}

func TestWhatWasSentAndAnsweredLastIsKeptMasked(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db string) {
		r := newReceiver(t, func(_ int, w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Set-Cookie", "session=very-much-a-secret")
			w.WriteHeader(401)
			_, _ = io.WriteString(w, `{"error":"bad signature","api_key":"very-much-a-secret","more":"`+strings.Repeat("x", 5000)+`"}`)
		})
		s := newStage(t, db, r.URL+"/hook?key=very-much-a-secret")
		s.connect("jane")
		s.round()
		d, err := s.System.Delivery(t.Context(), s.hook, s.deliveries()[0].ID)
		if err != nil || d.Exchange == nil || d.Exchange.Request == nil || d.Exchange.Response == nil {
			t.Fatal(d, err)
		}
		sent, got := d.Exchange.Request, d.Exchange.Response
		if sent.Method != "POST" || !strings.Contains(sent.Body, `"type":"connection.created"`) || sent.Headers.Get("webhook-id") != string(d.Event) {
			t.Errorf("%+v", sent)
		}
		if got.Status != 401 || !strings.Contains(got.Body, "bad signature") || len(got.Body) > 2200 {
			t.Errorf("%d bytes: %+v", len(got.Body), got)
		}
		kept, err := json.Marshal(d.Exchange)
		if err != nil {
			t.Fatal(err)
		}
		signature := strings.TrimPrefix(r.all()[0].header.Get("webhook-signature"), "v1,")
		for _, hidden := range []string{"very-much-a-secret", signature, s.secret.Reveal()} {
			if strings.Contains(string(kept), hidden) {
				t.Errorf("%s is kept", hidden)
			}
		}
		viewer := s.DB.As(behalf.Actor{Kind: behalf.ActorAdministrator, ID: "v", Role: behalf.RoleViewer})
		if d, err := viewer.Delivery(t.Context(), s.hook, d.ID); err != nil || d.Exchange != nil {
			t.Errorf("a viewer, who may read no transcript, gets %+v, %v", d.Exchange, err)
		}
	})
}

func TestHealthTellsWhatWasTakenLastAndWhatWaits(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db string) {
		r := newReceiver(t, nil)
		s := newStage(t, db, r.URL, "connection.created")
		health := func(taken time.Time, waiting int64) {
			t.Helper()
			h, err := s.System.WebhookHealth(t.Context(), s.hook)
			if err != nil || !h.LastTaken.Equal(taken) || h.Waiting != waiting {
				t.Errorf("%+v, %v; want %v and %d", h, err, taken, waiting)
			}
		}
		health(time.Time{}, 0)
		s.connect("jane")
		s.round()
		taken := s.DB.Now()
		health(taken, 0)
		r.mu.Lock()
		r.answer = func(_ int, w http.ResponseWriter) { w.WriteHeader(500) }
		r.mu.Unlock()
		s.Clock.Advance(time.Hour)
		s.connect("john")
		s.round()
		health(taken, 1)
	})
}

func TestOnlyWhatFailedIsReplayed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db string) {
		r := newReceiver(t, nil)
		s := newStage(t, db, r.URL, "connection.created")
		began := s.DB.Now()
		s.connect("taken")
		s.round()
		r.mu.Lock()
		r.answer = func(_ int, w http.ResponseWriter) { w.WriteHeader(410) }
		r.mu.Unlock()
		s.connect("failed")
		s.round()
		r.mu.Lock()
		r.answer = nil
		r.mu.Unlock()
		w := s.now()
		w.Enabled = true
		w, err := s.System.SaveWebhook(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		replay := func(since time.Time, want int64) {
			t.Helper()
			done, err := s.System.ReplayWebhook(t.Context(), w, store.Replay{Since: since, Until: s.DB.Now().Add(time.Second), Failed: true})
			if err != nil || done.Deliveries != want {
				t.Errorf("%+v, %v; want %d", done, err, want)
			}
		}
		replay(s.DB.Now().Add(time.Millisecond), 0) // it failed before
		replay(began, 1)
		replay(began, 0) // it waits already
		s.round()
		if n := len(r.all()); n != 3 {
			t.Errorf("%d requests", n)
		}
		replay(began, 0) // it was taken by now
	})
}

func TestADeliveryIsTriedForThreeDays(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db string) {
		r := newReceiver(t, func(_ int, w http.ResponseWriter) { w.WriteHeader(503) })
		s := newStage(t, db, r.URL, "connection.*")
		s.connect("jane")
		began := s.DB.Now()
		var pauses []time.Duration
		for range 40 {
			s.round()
			d := s.deliveries()[0]
			if d.Status == behalf.DeliveryFailed {
				break
			}
			pauses = append(pauses, d.NextAt.Sub(s.DB.Now()))
			s.Clock.Advance(d.NextAt.Sub(s.DB.Now()))
		}
		d := s.deliveries()[0]
		if d.Status != behalf.DeliveryFailed || d.EndedAt.Sub(began) != behalf.DeliveryLife || d.Attempts < 12 || d.Attempts > 20 {
			t.Fatalf("after %v: %+v\n%v", d.EndedAt.Sub(began), d, pauses)
		}
		if n := s.told(behalf.EventWebhookFailing); n != 1 {
			t.Errorf("%d events say that it fails", n)
		}
		if w := s.now(); !w.Enabled || w.Failures != d.Attempts {
			t.Errorf("%+v", w)
		}
	})
}

func TestAnEndpointThatFailsForLongIsDisabledAloudAndEnabledByHand(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db string) {
		r := newReceiver(t, func(_ int, w http.ResponseWriter) { w.WriteHeader(500) })
		s := newStage(t, db, r.URL, "connection.*")
		began := s.DB.Now()
		s.connect("first")
		s.round()
		s.Clock.Advance(behalf.DisableAfter + time.Second)
		s.connect("second")
		s.round()
		w := s.now()
		if w.Enabled || !strings.Contains(w.Reason, "enable it again") || s.told(behalf.EventWebhookDisabled) != 1 {
			t.Fatalf("%+v", w)
		}
		for _, d := range s.deliveries() {
			if d.Status != behalf.DeliveryFailed {
				t.Errorf("%+v", d)
			}
		}
		s.connect("missed")
		before := len(r.all())
		s.round()
		if n := len(r.all()); n != before {
			t.Error("a disabled endpoint is told something")
		}
		r.mu.Lock()
		r.answer = nil
		r.mu.Unlock()
		w.Enabled = true
		w, err := s.System.SaveWebhook(t.Context(), w)
		if err != nil || w.Reason != "" || !w.FailingSince.IsZero() {
			t.Fatal(w, err)
		}
		done, err := s.System.ReplayWebhook(t.Context(), w, store.Replay{Since: began, Until: s.DB.Now().Add(time.Second)})
		if err != nil || done.Deliveries != 3 {
			t.Fatal(done, err)
		}
		s.round()
		ids := map[string]int{}
		for _, got := range r.all()[before:] {
			ids[got.header.Get("webhook-id")]++
		}
		if len(ids) != 3 {
			t.Errorf("%v", ids)
		}
	})
}

func TestAnEndpointThatIsGoneIsDisabledAtOnce(t *testing.T) {
	r := newReceiver(t, func(_ int, w http.ResponseWriter) { w.WriteHeader(410) })
	s := newStage(t, storetest.SQLite(t), r.URL)
	s.connect("jane")
	s.round()
	if w := s.now(); w.Enabled || !strings.Contains(w.Reason, "410") || s.deliveries()[0].Status != behalf.DeliveryFailed {
		t.Errorf("%+v", w)
	}
}

func TestANodeThatDiesAfterTheDeliveryLeavesItToAnother(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db string) {
		r := newReceiver(t, nil)
		s := newStage(t, db, r.URL)
		s.connect("jane")
		if _, err := s.System.SpreadEvents(t.Context()); err != nil {
			t.Fatal(err)
		}
		claims, err := s.System.ClaimDeliveries(t.Context(), s.hook.ID, 4, time.Minute) // and then it dies
		if err != nil || len(claims) != 1 {
			t.Fatal(claims, err)
		}
		s.round()
		if n := len(r.all()); n != 0 {
			t.Fatal("it was taken from a node that may live")
		}
		s.Clock.Advance(time.Minute)
		s.round()
		if got := r.all(); len(got) != 1 || got[0].header.Get("webhook-id") != string(claims[0].Event) {
			t.Fatalf("%d requests", len(got))
		}
		// It was only frozen: what it says now comes too late.
		if err := s.System.SettleDelivery(t.Context(), claims[0].Delivery, behalf.Attempted{Problem: "late"}, 0); err != nil {
			t.Fatal(err)
		}
		if d := s.deliveries()[0]; d.Status != behalf.DeliveryDelivered || d.Attempts != 2 {
			t.Errorf("%+v", d)
		}
	})
}

func TestTwoNodesDeliverOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db string) {
		r := newReceiver(t, nil)
		s := newStage(t, db, r.URL)
		other := s.another(storetest.Open(t, db, s.Clock.Now), true)
		const events = 40
		for i := range events {
			s.connect(fmt.Sprint("user-", i))
		}
		for range 60 {
			s.Clock.Advance(time.Millisecond) // what this one has claimed ahead of the other's clock is due there too
			var both sync.WaitGroup
			for _, n := range []*notify.Notify{s.node, other} {
				both.Go(func() {
					if err := n.Look(t.Context()); err != nil {
						t.Error(err)
					}
					n.Wait()
				})
			}
			both.Wait()
			if len(r.all()) >= events {
				break
			}
		}
		seen := map[string]int{}
		for _, got := range r.all() {
			seen[got.header.Get("webhook-id")]++
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("%s came %d times", id, n)
			}
		}
		if len(seen) != events {
			t.Errorf("%d of %d events came", len(seen), events)
		}
	})
}

func TestAnEndpointThatHangsDoesNotHoldUpOthers(t *testing.T) {
	hangs := newReceiver(t, func(_ int, w http.ResponseWriter) { time.Sleep(700 * time.Millisecond) })
	r := newReceiver(t, nil)
	s := newStage(t, storetest.SQLite(t), hangs.URL)
	s.create(r.URL)
	for i := range 12 {
		s.connect(fmt.Sprint("user-", i))
	}
	until := time.Now().Add(400 * time.Millisecond) // sooner than the first that hangs is over
	for len(r.all()) < 12 && time.Now().Before(until) {
		if err := s.node.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.node.Wait()
	if n, m := len(r.all()), len(hangs.all()); n != 12 || m > 4 {
		t.Errorf("%d of 12 came, %d hang", n, m)
	}
}

func TestAddressesInsideAreNotCalled(t *testing.T) {
	for name, where := range map[string]string{"loopback": "http://127.0.0.1:%d/hook", "a name for it": "http://localhost:%d/hook", "a number": "http://2130706433:%d/hook", "metadata": "http://169.254.169.254/%d"} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, nil)
			port := r.Listener.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort().Port()
			s := newStage(t, storetest.SQLite(t), fmt.Sprintf(where, port))
			s.node = s.another(s.DB, false)
			s.connect("jane")
			s.round()
			if d := s.deliveries()[0]; d.Status != behalf.DeliveryWaiting || !strings.Contains(d.Problem, "may not be called") || len(r.all()) != 0 {
				t.Errorf("%d requests, %+v", len(r.all()), d)
			}
		})
	}
}

func TestARotatedSecretSignsBesideTheOneBefore(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db string) {
		r := newReceiver(t, nil)
		s := newStage(t, db, r.URL)
		w, anew, err := s.System.RotateWebhook(t.Context(), s.hook, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		s.connect("first")
		s.round()
		s.Clock.Advance(time.Hour)
		s.connect("second")
		s.round()
		got := r.all()
		if len(got) != 2 {
			t.Fatalf("%d requests", len(got))
		}
		if verify(t, s.secret, got[0]) != nil || verify(t, anew, got[0]) != nil || len(strings.Fields(got[0].header.Get("webhook-signature"))) != 2 {
			t.Error("both should sign while they overlap")
		}
		if verify(t, s.secret, got[1]) == nil || verify(t, anew, got[1]) != nil {
			t.Error("the new one alone should sign afterwards")
		}
		w.URL = r.URL + "/moved" // the secrets are bound to the address
		if _, err := s.System.SaveWebhook(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		s.connect("third")
		s.round()
		if got := r.all(); len(got) != 3 || verify(t, anew, got[2]) != nil {
			t.Errorf("%d requests", len(got))
		}
	})
}

func TestATestAndAReplayReachOneEndpointOnly(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db string) {
		r, other := newReceiver(t, nil), newReceiver(t, nil)
		s := newStage(t, db, r.URL, "connection.revoked")
		s.create(other.URL)
		if _, err := s.System.TestWebhook(t.Context(), s.hook); err != nil {
			t.Fatal(err)
		}
		s.connect("jane") // which the first does not want
		s.round()
		if a, b := len(r.all()), len(other.all()); a != 1 || b != 1 {
			t.Fatalf("%d and %d requests, want 1 and 1", a, b)
		}
		event := behalf.EventID(other.all()[0].header.Get("webhook-id"))
		for range 2 { // the second hastens what waits
			if _, err := s.System.ReplayWebhook(t.Context(), s.hook, store.Replay{Event: event}); err != nil {
				t.Fatal(err)
			}
		}
		s.round()
		if got := r.all(); len(got) != 2 || got[1].header.Get("webhook-id") != string(event) || len(other.all()) != 1 {
			t.Errorf("%d and %d requests", len(got), len(other.all()))
		}
	})
}
