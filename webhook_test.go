package behalf_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
)

func TestEveryTypeOfEventCanBeAskedForAndIsInTheManual(t *testing.T) {
	source, err := os.ReadFile("event.go")
	if err != nil {
		t.Fatal(err)
	}
	manual, err := os.ReadFile("docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`EventType = "([a-z_.]+)"`).FindAllSubmatch(source, -1)
	if len(found) < 10 {
		t.Fatalf("%d types", len(found))
	}
	for _, m := range found {
		e := behalf.EventType(m[1])
		if !slices.Contains(behalf.EventTypes(), e) && e != behalf.EventWebhookTest { // which is made for one endpoint
			t.Errorf("%s cannot be asked for", e)
		}
		if !strings.Contains(string(manual), "`"+string(e)+"`") {
			t.Errorf("%s is not in docs/webhooks.md", e)
		}
	}
}

func TestWhichWebhooksAreTaken(t *testing.T) {
	for name, row := range map[string]struct {
		w     behalf.Webhook
		field string // that is wrong; empty: none
	}{
		"all events":           {behalf.Webhook{URL: "https://bot.example/hook?key=1"}, ""},
		"a type and a kind":    {behalf.Webhook{URL: "https://bot.example/hook", Events: []string{"connection.lapsed", "profile.*"}}, ""},
		"http":                 {behalf.Webhook{URL: "http://bot.example:8080/hook"}, ""},
		"no URL":               {behalf.Webhook{}, "url"},
		"a path":               {behalf.Webhook{URL: "/hook"}, "url"},
		"another scheme":       {behalf.Webhook{URL: "file:///etc/passwd"}, "url"},
		"a password":           {behalf.Webhook{URL: "https://a:b@bot.example/hook"}, "url"},
		"a line break":         {behalf.Webhook{URL: "https://bot.example/a\r\nb"}, "url"},
		"a type that is not":   {behalf.Webhook{URL: "https://bot.example", Events: []string{"connection.eaten"}}, "events[0]"},
		"a kind that is not":   {behalf.Webhook{URL: "https://bot.example", Events: []string{"connection.lapsed", "people.*"}}, "events[1]"},
		"everything, by stars": {behalf.Webhook{URL: "https://bot.example", Events: []string{"*"}}, "events[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			err := row.w.Validate()
			e, _ := err.(*behalf.Error)
			if row.field == "" && err != nil || row.field != "" && (e == nil || e.Field != row.field) {
				t.Errorf("%v, want field %q", err, row.field)
			}
		})
	}
}

func TestSecretsOverlapNoLongerThanWasSaid(t *testing.T) {
	now := time.Unix(1e9, 0)
	a, b, c := secret.New("a"), secret.New("b"), secret.New("c")
	first := behalf.Rotated(nil, a, now, time.Hour)
	second := behalf.Rotated(first, b, now, time.Hour)
	third := behalf.Rotated(second, c, now.Add(time.Minute), time.Hour)
	leaked := behalf.Rotated(second, c, now, 0)
	for name, row := range map[string]struct {
		all  []behalf.WebhookSecret
		at   time.Duration
		want string
	}{
		"one":                    {first, 100 * time.Hour, "a"},
		"both":                   {second, time.Hour - 1, "ba"},
		"the new one":            {second, time.Hour, "b"},
		"never three":            {third, 2 * time.Minute, "cb"},
		"at once, where it must": {leaked, 0, "c"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			for _, s := range behalf.Signing(row.all, now.Add(row.at)) {
				got += s.Reveal()
			}
			if got != row.want {
				t.Errorf("%s sign, want %s", got, row.want)
			}
		})
	}
}

func TestWhenADeliveryIsTriedAgain(t *testing.T) {
	now := time.Unix(1e9, 0)
	d := behalf.Delivery{Status: behalf.DeliveryWaiting, Until: now.Add(behalf.DeliveryLife)}
	for name, row := range map[string]struct {
		attempts int64
		a        behalf.Attempted
		jitter   float64
		want     time.Duration
	}{
		"soon":                   {1, behalf.Attempted{Problem: "no"}, 0, 5 * time.Second},
		"a fifth later":          {1, behalf.Attempted{Problem: "no"}, 1, 6 * time.Second},
		"later":                  {3, behalf.Attempted{Problem: "no"}, 0, 45 * time.Second},
		"never later":            {1000, behalf.Attempted{Problem: "no"}, 0, 8 * time.Hour},
		"as is asked for":        {1, behalf.Attempted{Problem: "no", RetryAfter: time.Hour}, 0, time.Hour},
		"not sooner than is due": {3, behalf.Attempted{Problem: "no", RetryAfter: time.Second}, 0, 45 * time.Second},
		"within a day":           {1, behalf.Attempted{Problem: "no", RetryAfter: 1e6 * time.Hour}, 0, 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			d := d
			d.Attempts = row.attempts
			if got := d.After(row.a, now, row.jitter); got.Status != behalf.DeliveryWaiting || got.NextAt.Sub(now) != row.want {
				t.Errorf("%s after %v, want %v", got.Status, got.NextAt.Sub(now), row.want)
			}
		})
	}
	late := d.Until.Add(-time.Second)
	last := d.After(behalf.Attempted{Problem: "no"}, late, 0)
	if !last.NextAt.Equal(d.Until) {
		t.Error("there is no last attempt at the end")
	}
	if over := last.After(behalf.Attempted{Problem: "no"}, d.Until, 0); over.Status != behalf.DeliveryFailed || !over.NextAt.IsZero() {
		t.Errorf("%+v", over)
	}
}
