package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
	"github.com/behalf-dev/behalf/internal/store"
)

// assistantOverview is how an assistant is doing.
type assistantOverview struct {
	Profiles  []behalf.Profile
	Todo      []todo
	Failing   []behalf.Profile
	Webhooks  []behalf.Webhook // that somebody must look after
	Lapsed    int64
	States    []look.Share
	Refreshes []look.Day
	Calls     []look.Share
	Called    int64
}

// todo is a step on the way to an assistant that works.
type todo struct {
	Text, About, URL string
	Done             bool
}

// charted is how far back the charts look.
const charted = 14

// mostBars is how many profiles a chart compares.
const mostBars = 8

func (v *visit) overview() error {
	if err := v.inAssistant(); err != nil {
		return err
	}
	profiles, err := v.db.Profiles(v.ctx(), v.assistant.ID, store.Page{})
	if err != nil {
		return err
	}
	counts, err := v.db.CountConnections(v.ctx(), v.assistant.ID)
	if err != nil {
		return err
	}
	today := v.db.Now().UTC().Truncate(24 * time.Hour)
	tallies, err := v.db.Tallies(v.ctx(), v.assistant.ID, today.AddDate(0, 0, 1-charted))
	if err != nil {
		return err
	}
	o := assistantOverview{Profiles: profiles, Refreshes: refreshes(tallies, today)}
	o.Failing = slices.DeleteFunc(slices.Clone(profiles), func(p behalf.Profile) bool { return p.Status != behalf.ProfileFailing })
	hooks, err := v.db.Webhooks(v.ctx(), v.assistant.ID, store.Page{})
	if err != nil {
		return err
	}
	o.Webhooks = slices.DeleteFunc(hooks, func(w behalf.Webhook) bool { return !w.Troubled() })
	v.states(&o, counts)
	v.calls(&o, tallies)
	if o.Todo, err = v.todos(o, counts); err != nil {
		return err
	}
	return v.show(http.StatusOK, v.assistant.Name, v.overviewPage(o))
}

// states counts connections by how they stand.
func (v *visit) states(o *assistantOverview, counts []store.ConnectionCount) {
	sum := map[behalf.ConnectionStatus]int64{}
	for _, c := range counts {
		sum[c.Status] += c.Count
	}
	o.Lapsed = sum[behalf.ConnectionLapsed]
	for _, s := range []behalf.ConnectionStatus{behalf.ConnectionActive, behalf.ConnectionLapsed, behalf.ConnectionRevoked} {
		tone := stateTones[s]
		if tone == look.Plain {
			tone = "plain"
		}
		o.States = append(o.States, look.Share{Text: stateNames[s], N: sum[s], Tone: tone, URL: v.connectionsBy("status", string(s))})
	}
}

func (v *visit) connectionsBy(name, value string) string {
	return at("assistants", v.assistant.Slug, "connections") + "?" + url.Values{name: {value}}.Encode()
}

// refreshes counts them by the day, in UTC, to today.
func refreshes(tallies []store.Tally, today time.Time) []look.Day {
	days := make([]look.Day, charted)
	first := today.AddDate(0, 0, 1-charted)
	for i := range days {
		days[i].Text = first.AddDate(0, 0, i).Format("2 January")
	}
	for _, t := range tallies {
		i := int(t.Hour.UTC().Sub(first) / (24 * time.Hour))
		if i < 0 || i >= charted {
			continue
		}
		switch t.Kind {
		case store.CountRefresh:
			days[i].Good += t.Count
		case store.CountFailed:
			days[i].Bad += t.Count
		}
	}
	return days
}

// refreshed says the chart of refreshes in a sentence.
func refreshed(days []look.Day) string {
	var good, bad int64
	for _, d := range days {
		good, bad = good+d.Good, bad+d.Bad
	}
	return fmt.Sprintf("Refreshes of the last %d days: %d went well, %d failed; at most %d in a day.", len(days), good, bad, look.Highest(days))
}

// calls counts calls and token reads by profile, the most first.
func (v *visit) calls(o *assistantOverview, tallies []store.Tally) {
	sum, names := map[behalf.ProfileID]int64{}, namesOf(o.Profiles)
	for _, t := range tallies {
		if t.Kind == store.UseProxy || t.Kind == store.UseToken {
			sum[t.Profile] += t.Count
			o.Called += t.Count
		}
	}
	var rest int64
	for id, n := range sum {
		if names[id] == "" {
			rest += n
			continue
		}
		o.Calls = append(o.Calls, look.Share{Text: names[id], URL: v.connectionsBy("profile", string(id)), N: n, Tone: look.Accent})
	}
	slices.SortFunc(o.Calls, func(a, b look.Share) int {
		if a.N != b.N {
			return int(b.N - a.N)
		}
		return slices.Compare([]byte(a.Text), []byte(b.Text))
	})
	for len(o.Calls) > mostBars {
		last := len(o.Calls) - 1
		rest += o.Calls[last].N
		o.Calls = o.Calls[:last]
	}
	if rest > 0 {
		o.Calls = append(o.Calls, look.Share{Text: "All others", N: rest, Tone: "plain"})
	}
}

// todos are the steps from nothing to the first call. They are shown until all
// are done.
func (v *visit) todos(o assistantOverview, counts []store.ConnectionCount) ([]todo, error) {
	base := []string{"assistants", v.assistant.Slug}
	steps := []todo{{Text: "Describe an application", About: "Its login, and what is asked for: from the catalogue, by discovery, or by hand.", URL: at(append(base, "profiles")...), Done: len(o.Profiles) > 0}}
	if v.may(behalf.ReadKeys) {
		keys, err := v.keys()
		if err != nil {
			return nil, err
		}
		good := slices.ContainsFunc(keys, func(k behalf.Key) bool { return k.Good(v.db.Now()) })
		steps = append(steps, todo{Text: "Give the assistant a key", About: "Its backend shows it with every request.", URL: at(append(base, "keys")...), Done: good})
	}
	steps = append(steps,
		todo{Text: "Let the first person connect", About: "The backend begins a connect session and shows the link that it gets.", URL: "/docs", Done: len(counts) > 0},
		todo{Text: "Make the first call", About: "Through the proxy, on the person’s behalf. It will stand in the chart here.", URL: "/docs", Done: o.Called > 0})
	for _, s := range steps {
		if !s.Done {
			return steps, nil
		}
	}
	return nil, nil
}
