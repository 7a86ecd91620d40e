package console_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/console"
	"github.com/behalf-dev/behalf/internal/store"
)

var aWebhookSecret = regexp.MustCompile(`whsec_[A-Za-z0-9+/=]+`)

// endpoint is an assistant's backend that takes events.
type endpoint struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	got    []*http.Request
	bodies [][]byte
}

func newEndpoint(t *testing.T) *endpoint {
	e := &endpoint{status: http.StatusNoContent}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.got, e.bodies = append(e.got, r), append(e.bodies, body)
		if e.status >= 400 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(e.status)
			_, _ = io.WriteString(w, `{"why":"the backend is being mended"}`)
			return
		}
		w.WriteHeader(e.status)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) answers(status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status = status
}

// taken returns the last request that came, after n have.
func (e *endpoint) taken(t *testing.T, n int) (*http.Request, []byte) {
	t.Helper()
	require.Eventually(t, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.got) >= n
	}, 30*time.Second, 20*time.Millisecond, "%d requests", n)
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.got[len(e.got)-1], e.bodies[len(e.bodies)-1]
}

// shows waits for a page to say something.
func (p *person) shows(path, text string) string {
	p.t.Helper()
	var body string
	require.Eventually(p.t, func() bool {
		body = p.get(path).Body
		return strings.Contains(body, text)
	}, 30*time.Second, 50*time.Millisecond, "%s does not say %s", path, text)
	return body
}

func TestAWebhookIsMadeTestedFollowedAndDeleted(t *testing.T) {
	s, e := newStage(t), newEndpoint(t)
	p := s.person().signsIn(s.member("dev", behalf.RoleDeveloper))
	base := "/console/assistants/" + s.Assistant.Slug + "/webhooks"
	require.Contains(t, p.get(base).Body, "No webhook yet")

	wrong := p.do("POST", base+"/new", url.Values{"url": {"not an address"}, "events": {"some"}})
	require.Equal(t, 422, wrong.Status)
	require.Contains(t, wrong.Body, `href="#f-url"`)
	require.Contains(t, wrong.Body, `href="#f-events"`)
	require.Contains(t, wrong.Body, `value="not an address"`, "what was typed stays")

	made := p.do("POST", base+"/new", url.Values{"url": {e.URL + "/hook"}, "events": {"some"}, "event.webhook.*": {"yes"}, "event.connection.created": {"yes"}})
	require.Equal(t, 200, made.Status, "%.600s", made.Body)
	shown := aWebhookSecret.FindString(made.Body)
	require.NotEmpty(t, shown)
	s.Secret(shown)
	all, err := s.System.Webhooks(t.Context(), s.Assistant.ID, store.Page{})
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, []string{"connection.created", "webhook.*"}, all[0].Events)
	page := base + "/" + string(all[0].ID)
	require.NotContains(t, p.get(page).Body, shown, "the secret is shown once")
	require.Contains(t, p.get(page).Body, "Not used yet")

	test := p.do("POST", page+"/test", nil)
	require.Equal(t, http.StatusSeeOther, test.Status)
	delivery := test.Header.Get("Location")
	require.Contains(t, p.shows(delivery, "The endpoint took it"), "webhook.test")
	got, body := e.taken(t, 1)
	library, err := standardwebhooks.NewWebhook(shown)
	require.NoError(t, err)
	require.NoError(t, library.VerifyIgnoringTimestamp(body, got.Header), "by the secret that was shown")
	told := p.get(delivery).Body
	require.Contains(t, told, "webhook.test")
	require.NotContains(t, told, strings.TrimPrefix(got.Header.Get("webhook-signature"), "v1,"), "a signature is masked")
	require.Contains(t, p.get(page).Body, "It takes what it is told")

	e.answers(http.StatusInternalServerError)
	failed := p.do("POST", page+"/test", nil).Header.Get("Location")
	require.Contains(t, p.shows(failed, "Not taken yet"), "the backend is being mended", "what came back is shown")
	list := p.get(page).Body
	require.Contains(t, list, "Failing since")
	require.Contains(t, list, "answered 500")
	require.Contains(t, p.get(base).Body, "Failing")
	require.Contains(t, p.get(page+"?status=delivered").Body, "webhook.test")
	require.Contains(t, p.get(page+"?status=failed").Body, "None of these")

	s.Connected(s.Profile, "42", "sub-42")
	e.taken(t, 3)

	rotated := p.do("POST", page+"/rotate", url.Values{"overlap": {"3600"}})
	second := aWebhookSecret.FindString(rotated.Body)
	require.NotEmpty(t, second)
	require.NotEqual(t, shown, second)
	s.Secret(second)
	require.Contains(t, p.get(page).Body, "The one before signs too")

	require.Equal(t, http.StatusSeeOther, p.do("POST", page+"/enabled", url.Values{"version": {"2"}, "enabled": {"no"}}).Status)
	require.Contains(t, p.get(page).Body, "what waited for it is given up")
	require.NotContains(t, p.get(page).Body, "Send a test")
	require.Equal(t, http.StatusConflict, p.do("POST", page+"/enabled", url.Values{"version": {"2"}, "enabled": {"yes"}}).Status, "somebody else was here meanwhile")
	require.Equal(t, http.StatusSeeOther, p.do("POST", page+"/enabled", url.Values{"version": {"3"}, "enabled": {"yes"}}).Status)

	e.answers(http.StatusNoContent)
	require.Equal(t, 422, p.do("POST", page+"/replay", url.Values{"since": {"yesterday"}}).Status)
	ago := s.DB.Now().Add(-time.Hour).UTC().Format("2006-01-02T15:04")
	require.Equal(t, http.StatusSeeOther, p.do("POST", page+"/replay", url.Values{"since": {ago}, "which": {"failed"}}).Status)
	require.Contains(t, p.get(page).Body, "1 event will be sent again")
	missed, _ := e.taken(t, 4)
	require.NotEqual(t, got.Header.Get("webhook-id"), missed.Header.Get("webhook-id"))
	event := regexp.MustCompile(`evt_[0-9a-z]+`).FindString(told)
	require.Equal(t, http.StatusSeeOther, p.do("POST", page+"/replay", url.Values{"event": {event}}).Status)
	again, _ := e.taken(t, 5)
	require.Equal(t, event, again.Header.Get("webhook-id"))
	require.Len(t, strings.Fields(again.Header.Get("webhook-signature")), 2, "both secrets sign")

	require.Equal(t, http.StatusSeeOther, p.do("POST", page+"/change", url.Values{"version": {"4"}, "url": {e.URL + "/other"}, "events": {"all"}}).Status)
	changed, err := s.System.Webhook(t.Context(), s.Assistant.ID, all[0].ID)
	require.NoError(t, err)
	require.Empty(t, changed.Events)
	require.Equal(t, e.URL+"/other", changed.URL)
	stale := p.do("POST", page+"/change", url.Values{"version": {"4"}, "url": {e.URL + "/third"}, "events": {"all"}})
	require.Equal(t, http.StatusConflict, stale.Status)
	require.Contains(t, stale.Body, "/third", "what was typed stays")

	require.Contains(t, p.get(page+"/delete").Body, "cannot be undone")
	require.Equal(t, http.StatusSeeOther, p.do("POST", page+"/delete", nil).Status)
	require.Contains(t, p.get(base).Body, "No webhook yet")
	require.Equal(t, http.StatusNotFound, p.get(delivery).Status)
}

func TestAViewerSeesDeliveriesAndNotWhatWasSent(t *testing.T) {
	s := newStage(t)
	w, d := s.webhook(s.Assistant)
	page := "/console/assistants/" + s.Assistant.Slug + "/webhooks/" + string(w.ID)
	viewer := s.person().signsIn(s.member("viewer", behalf.RoleViewer))
	list := viewer.get(page)
	require.Equal(t, http.StatusOK, list.Status)
	for _, button := range []string{"Send a test", "Disable", "Delete…", "New secret…", "Replay…", "Change"} {
		require.NotContains(t, list.Body, button)
	}
	one := viewer.get(page + "/deliveries/" + string(d.ID))
	require.Equal(t, http.StatusOK, one.Status)
	require.Contains(t, one.Body, "Not shown to your role")
	require.NotContains(t, one.Body, "Send again")
	other := s.NewAssistant(behalf.NewAssistant("Other", s.DB.Now()))
	require.Equal(t, http.StatusNotFound, viewer.get("/console/assistants/"+other.Slug+"/webhooks/"+string(w.ID)).Status, "it is of another assistant")
}

func TestAnOverviewNamesAWebhookThatSomebodyMustLookAfter(t *testing.T) {
	s := newStage(t)
	p := s.person().signsIn(s.member("viewer", behalf.RoleViewer))
	w, _ := s.webhook(s.Assistant)
	page := "/console/assistants/" + s.Assistant.Slug
	d, err := s.System.TestWebhook(t.Context(), w)
	require.NoError(t, err)
	require.NoError(t, s.System.SettleDelivery(t.Context(), d, behalf.Attempted{Answer: 410, Problem: "gone", Gone: true}, 0))
	told := p.get(page).Body
	require.Contains(t, told, "A webhook was disabled:")
	require.Contains(t, told, "/webhooks/"+string(w.ID))
	require.Contains(t, p.get(page+"/webhooks").Body, "Disabled by us")
}

func TestEveryEventHasWords(t *testing.T) {
	require.Empty(t, console.UnexplainedEvents())
}
