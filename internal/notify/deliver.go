package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// Message is what an endpoint is told, in the form of Standard Webhooks. It is
// the same at each attempt.
type Message struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"` // when it happened
	Data      Data      `json:"data"`
}

// Data says what has happened to what. It holds no secret: whoever wants to know
// more asks the API.
type Data struct {
	ID         string `json:"id"` // the event's: the same in the header webhook-id
	Assistant  string `json:"assistant"`
	Profile    string `json:"profile,omitempty"`
	Connection string `json:"connection,omitempty"`
	Webhook    string `json:"webhook,omitempty"`
	User       string `json:"user,omitempty"`
	Detail     string `json:"detail,omitempty"`
}

func message(e behalf.Event) ([]byte, error) {
	return json.Marshal(Message{string(e.Type), e.CreatedAt, Data{string(e.ID), string(e.Assistant), string(e.Profile), string(e.Connection), string(e.Webhook), e.User, e.Detail}})
}

// deliver makes one attempt and keeps what came of it.
func (n *Notify) deliver(ctx context.Context, to behalf.Webhook, secrets []secret.Text, c store.Claim) {
	began := n.cfg.Now()
	a := n.attempt(ctx, to, secrets, c)
	a.Took = n.cfg.Now().Sub(began)
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	err := n.db.SettleDelivery(ctx, c.Delivery, a, n.cfg.Jitter())
	n.cfg.Log.Info("delivery", "webhook", to.ID, "assistant", to.Assistant, "event", c.Event, "delivery", c.ID, "attempt", c.Attempts, "answer", a.Answer, "problem", a.Problem, "took", a.Took, "err", err)
}

func (n *Notify) attempt(ctx context.Context, to behalf.Webhook, secrets []secret.Text, c store.Claim) behalf.Attempted {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Deadline)
	defer cancel()
	r, err := signed(ctx, to.URL, secrets, c.Told, n.db.Now())
	if err != nil {
		return behalf.Attempted{Problem: "The request could not be made. Look at the endpoint's URL, and rotate its secret if that is in order."}
	}
	seen := &egress.Recorder{Secrets: append(slices.Clone(secrets), secret.New(r.Header.Get(standardwebhooks.HeaderWebhookSignature)))}
	// A connection that was kept may just be closed by the other side, which would
	// look like a failure of the endpoint.
	res, err := n.cfg.Egress.Client(egress.ClientOptions{FreshConn: true}).Do(r.WithContext(egress.WithRecorder(ctx, seen)))
	a := behalf.Attempted{}
	if err != nil {
		a.Problem = n.problem(err)
	} else {
		a = answered(res, n.db.Now())
	}
	if all := seen.Transcript().Exchanges; len(all) > 0 {
		a.Exchange = behalf.DeliveryExchange(all[len(all)-1])
	}
	return a
}

// signed is the request, with a signature by each secret that signs now.
func signed(ctx context.Context, url string, secrets []secret.Text, e behalf.Event, now time.Time) (*http.Request, error) {
	body, err := message(e)
	if err != nil {
		return nil, err
	}
	var signatures []string
	for _, s := range secrets {
		signer, err := standardwebhooks.NewWebhook(s.Reveal())
		if err != nil {
			return nil, errors.New("notify: a secret is damaged") // err would show it
		}
		signature, err := signer.Sign(string(e.ID), now, body)
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, signature)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(standardwebhooks.HeaderWebhookID, string(e.ID))
	r.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	r.Header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return r, nil
}

// answered judges an answer. Any 2xx is a success, whatever its body is.
func answered(res *http.Response, now time.Time) behalf.Attempted {
	a := behalf.Attempted{Answer: res.StatusCode}
	switch status := res.StatusCode; {
	case status >= 200 && status < 300:
		if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind == "text/html" {
			a.Note = "It was taken, but the answer is a web page: see whether this URL is really the endpoint."
		}
	case status >= 300 && status < 400:
		a.Problem = fmt.Sprintf("The endpoint answered %d, a redirect, which is not followed. Set the URL to the final address.", status)
	case status == http.StatusGone:
		a.Gone, a.Problem = true, "The endpoint answered 410: it wants no more."
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		a.Problem = fmt.Sprintf("The endpoint answered %d. See that it checks the signature with the right secret, and needs no sign-in.", status)
	case status == http.StatusNotFound || status == http.StatusMethodNotAllowed:
		a.Problem = fmt.Sprintf("The endpoint answered %d. See that the URL is right and takes POST.", status)
	default:
		a.Problem = fmt.Sprintf("The endpoint answered %d. Its own log says why.", status)
		a.RetryAfter = waits(res.Header.Get("Retry-After"), now)
	}
	return a
}

// waits reads a Retry-After (RFC 9110 §10.2.3).
func waits(raw string, now time.Time) time.Duration {
	if s, err := strconv.ParseUint(raw, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(raw); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

// problem says why there was no answer. What the network said is not passed on:
// whoever may name an address could look around with it.
func (n *Notify) problem(err error) string {
	blocked, call := (*egress.BlockedError)(nil), (*egress.CallError)(nil)
	switch {
	case errors.As(err, &blocked):
		return "The address may not be called from this server (" + blocked.Reason + "). An operator can allow it."
	case !errors.As(err, &call):
		return "The request could not be sent."
	case call.Timeout() && call.Phase == egress.PhaseDial:
		return "The endpoint's machine did not take the connection in time. See that it runs and can be reached from here."
	case call.Timeout():
		return fmt.Sprintf("The endpoint did not answer within %s. Take the event, answer 2xx at once, and work on it afterwards.", n.cfg.Deadline)
	case call.Phase == egress.PhaseDial:
		return "The connection to the endpoint could not be made. See that its name is right and that it runs."
	case call.Phase == egress.PhaseTLS:
		return "The TLS handshake with the endpoint failed. See that its certificate is valid and of a known authority."
	}
	return "The connection broke, or what came is no HTTP answer. See what the endpoint's log says."
}
