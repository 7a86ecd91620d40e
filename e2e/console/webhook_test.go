package console_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/store"
)

var aWebhookSecret = regexp.MustCompile(`whsec_[A-Za-z0-9+/=]+`)

// message is one that an endpoint got.
type message struct {
	http.Header
	body []byte
}

// endpoint is an assistant's backend that is told of events.
type endpoint struct {
	t    *testing.T
	url  string
	took chan message

	mu      sync.Mutex
	answers int
}

func newEndpoint(t *testing.T) *endpoint {
	e := &endpoint{t: t, took: make(chan message, 100), answers: http.StatusNoContent}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		e.mu.Lock()
		answers := e.answers
		e.mu.Unlock()
		if answers == http.StatusNoContent {
			w.WriteHeader(answers)
			e.took <- message{r.Header, body}
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(answers)
		_, _ = io.WriteString(w, `{"error":"the database is being moved"}`)
	}))
	t.Cleanup(server.Close)
	e.url = server.URL + "/behalf-events"
	return e
}

func (e *endpoint) answer(status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answers = status
}

// next is the next message that it takes.
func (e *endpoint) next() message {
	e.t.Helper()
	select {
	case m := <-e.took:
		return m
	case <-time.After(30 * time.Second):
		e.t.Fatal("nothing comes")
		return message{}
	}
}

// by reports whether a secret signed the message, as its own library has it.
func (m message) by(t *testing.T, secret string) bool {
	t.Helper()
	library, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	return library.Verify(m.body, m.Header) == nil
}

func TestAWebhookIsMadeTestedRotatedAndReplayedInTheConsole(t *testing.T) {
	s, e := newStage(t, servertest.Setup{}), newEndpoint(t)
	b := s.arrives(s.member("dev", behalf.RoleDeveloper))
	list := s.at("/assistants/" + s.Assistant.Slug + "/webhooks")
	b.Open(list)
	b.WaitText("No webhook yet")
	b.Click("New webhook")
	b.Fill("URL", e.url)
	b.Click("Make the webhook")
	b.WaitText("Copy it now")
	first := aWebhookSecret.FindString(b.Text())
	s.Secret(first)
	b.Click("I have it")
	b.WaitText("Not used yet")
	page := b.WaitURL(list + "/whk_")
	if strings.Contains(b.Text(), first) {
		t.Error("the secret is shown again")
	}

	b.Click("Send a test")
	b.WaitText("The endpoint took it") // the page follows by itself
	if m := e.next(); !m.by(t, first) || !strings.Contains(string(m.body), "webhook.test") {
		t.Errorf("the test is %s %s", m.Header, m.body)
	}
	b.WaitText("Webhook-Signature: [secret]")
	s.complains(b)

	b.Open(page)
	b.Click("New secret…")
	b.WaitText("It signs from now on")
	b.Click("Make the secret")
	b.WaitText("Copy it now")
	second := aWebhookSecret.FindString(b.Text())
	s.Secret(second)
	b.Click("I have it")
	b.WaitText("The one before signs too")

	e.answer(http.StatusServiceUnavailable)
	s.Connected(s.Profile, "42", "sub-42")
	for end := time.Now().Add(30 * time.Second); !strings.Contains(b.Text(), "answered 503") && time.Now().Before(end); {
		b.Reload()
	}
	b.WaitText("Failing since")
	b.Click("Disable")
	b.WaitText("what waited for it is given up")
	b.Click("Enable")
	b.WaitText("Replay does that")
	e.answer(http.StatusNoContent)
	b.Click("Replay…")
	b.WaitText("told again of what it has missed")
	b.Click("Send again")
	b.WaitText("1 event will be sent again")
	m := e.next()
	if !m.by(t, first) || !m.by(t, second) || !strings.Contains(string(m.body), "connection.created") {
		t.Errorf("what is replayed is %s %s", m.Header, m.body)
	}
	b.Click("connection.created")
	for end := time.Now().Add(30 * time.Second); !strings.Contains(b.Text(), "The endpoint took it") && time.Now().Before(end); {
		b.Reload()
	}
	b.Click("Send again") // this one alone
	if again := e.next(); again.Get("webhook-id") != m.Get("webhook-id") {
		t.Errorf("%s is sent again, and was %s", again.Get("webhook-id"), m.Get("webhook-id"))
	}

	b.Open(page)
	b.Click("Delete…")
	b.WaitText("It cannot be undone")
	b.Click("Delete")
	b.WaitText("is deleted")
	b.WaitText("No webhook yet")
}

// webhooks lets the lively stage have three: one that takes what it is told, one
// that does not, and one that was disabled.
func (l *lively) webhooks() {
	l.t.Helper()
	ctx := l.t.Context()
	good, bad := newEndpoint(l.t), newEndpoint(l.t)
	bad.answer(http.StatusInternalServerError)
	for w, at := range map[*behalf.Webhook]behalf.Webhook{
		&l.hook:     {URL: good.url},
		&l.failing:  {URL: bad.url, Events: []string{"connection.*", "profile.failing"}},
		&l.disabled: {URL: "https://staging.bot.example.com/hooks/behalf?key=0a1b2c", Events: []string{"connection.lapsed"}},
	} {
		at.Assistant = l.Assistant.ID
		made, shown, err := l.System.CreateWebhook(ctx, at)
		if err != nil {
			l.t.Fatal(err)
		}
		l.Secret(shown.Reveal())
		*w = made
	}
	l.disabled.Enabled = false
	saved, err := l.System.SaveWebhook(ctx, l.disabled)
	if err != nil {
		l.t.Fatal(err)
	}
	l.disabled = saved
	if _, err := l.System.TestWebhook(ctx, l.hook); err != nil {
		l.t.Fatal(err)
	}
	l.Connected(l.Profile, "46", "sub-46")
	l.taken, l.refused = l.delivered(l.hook, behalf.DeliveryDelivered), l.delivered(l.failing, behalf.DeliveryWaiting)
}

// delivered waits for a delivery that was tried, and has a status then.
func (l *lively) delivered(w behalf.Webhook, status behalf.DeliveryStatus) behalf.Delivery {
	l.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		all, err := l.System.Deliveries(l.t.Context(), w, status, store.Page{})
		if err != nil {
			l.t.Fatal(err)
		}
		for _, d := range all {
			if d.Type == behalf.EventConnectionCreated && (d.Answer != 0) {
				return d
			}
		}
	}
	l.t.Fatalf("nothing comes to %s", w.URL)
	return behalf.Delivery{}
}
