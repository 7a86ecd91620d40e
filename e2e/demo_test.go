package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/e2e/browser"
	"github.com/behalf-dev/behalf/internal/simulator"
)

// demo is what `behalf demo --json` prints, and the process that printed it.
type demo struct {
	*process
	API       string
	Console   string
	Connect   string
	Key       string
	AdminKey  string `json:"admin_key"`
	Assistant string
	Profile   string
	User      string
	Provider  string
	Username  string
	Password  string
	Path      string
}

// startDemo starts the demo and waits for its line.
func startDemo(t testing.TB) *demo {
	t.Helper()
	dir := t.TempDir()
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	d := &demo{process: begin(t, &process{args: []string{"demo", "--json", "--log-level", "debug"}, env: []string{"TMPDIR=" + dir}, out: out})}
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		printed, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		if line, _, whole := bytes.Cut(printed, []byte("\n")); whole {
			if err := json.Unmarshal(line, d); err != nil {
				t.Fatalf("not one JSON object on one line: %v\n%s", err, printed)
			}
			return d
		}
	}
	t.Fatalf("the demo printed nothing within %s\n%s", startLimit, d.written())
	return nil
}

// file is the demo's database.
func (d *demo) file(t testing.TB) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(filepath.Dir(d.out.Name()), "behalf-demo-*", "behalf.db"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the databases are %q: %v", found, err)
	}
	return found[0]
}

func TestTheDemosJourneyIsTwoClicksAndACall(t *testing.T) {
	d := startDemo(t)
	p := browser.New(t, browser.Options{})
	p.Open(d.Connect)
	p.WaitText("Jane Doe")
	p.Click("Continue to Acorn Notes")
	p.WaitURL(d.Provider)
	p.Login(d.Username, d.Password, d.API+"/callback/")
	p.WaitText("Acorn Notes is connected")

	bot := &client{t: t, seen: newEvidence(), base: d.API, key: d.Key}
	call := "/v1/assistants/" + d.Assistant + "/proxy/" + d.Profile + d.Path
	if got := bot.send("GET", call, nil, "Behalf-User", d.User); got.status != http.StatusOK || !strings.Contains(string(got.body), d.Username) {
		t.Errorf("the call is answered with %d %s", got.status, got.body)
	}
	admin := &client{t: t, seen: newEvidence(), base: d.API, key: d.AdminKey}
	admin.get("/v1/assistants/"+d.Assistant+"/connections", nil)

	dir := filepath.Dir(d.file(t))
	d.stop()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the demo left its data behind: %v", err)
	}
}

// TestEveryPageOfTheJourneyIsFitToBeSeen keeps pictures of each page, which
// `make e2e` puts below e2e/out, and holds what a program can see of its looks.
func TestEveryPageOfTheJourneyIsFitToBeSeen(t *testing.T) {
	d := startDemo(t)
	l := &look{t: t, Browser: browser.New(t, browser.Options{}), demo: d}

	l.Open(d.Connect)
	l.arrive("Jane Doe", "1-ask")
	l.Click("Continue to Acorn Notes")
	l.WaitURL(d.Provider)
	l.arrive("Password", "2-sign-in")
	l.Fill("password", d.Password)
	l.Click("Sign in")
	l.arrive("Allow", "3-consent")
	l.Click("Allow")
	l.arrive("Acorn Notes is connected", "4-connected")
	l.Open(d.Connect)
	l.arrive("already used", "5-used")
	l.Open(d.API + "/connect/" + strings.Repeat("x", 43))
	l.arrive("know this link", "6-unknown")

	l.Open(l.begin(d.askingProfile(t), "Doctor Maximiliane Wolfeschlegelsteinhausen-Featherstonehaugh the Third"))
	l.arrive("PIN", "7-ask-fields")
	l.Click("Continue to")
	l.arrive("Please look again", "8-ask-wrong")
	l.Click("No, don’t connect")
	l.arrive("Nothing was connected", "9-declined")

	l.steer(simulator.Switches{ErrorCallback: "temporarily_unavailable", NoLogin: d.Username})
	l.Open(l.begin(d.Profile, "Jane Doe"))
	l.Click("Continue to Acorn Notes")
	l.arrive("could not be connected", "10-failed")
	l.steer(simulator.Switches{})

	link := l.begin(d.Profile, "Jane Doe")
	other := l.NewPerson(browser.Options{})
	other.Open(link)
	other.Click("Continue to Acorn Notes")
	other.WaitURL(d.Provider)
	l.Open(link)
	l.arrive("Please go on where you began", "11-other-browser")

	l.Open(d.API + "/docs")
	l.WaitText("Authenticate")
	if weight := l.Weight(); weight > 100_000 {
		t.Errorf("the documentation weighs %d bytes", weight)
	}
	for _, look := range browser.Looks {
		l.Appear(look.Options)
		l.check("the documentation") // far too long for pictures
		l.Accessible("the documentation")
	}
}

// askingProfile makes a profile that asks for things, and returns its name.
func (d *demo) askingProfile(t testing.TB) string {
	t.Helper()
	admin := &client{t: t, seen: newEvidence(), base: d.API, key: d.AdminKey}
	var made profile
	admin.post("/v1/assistants/"+d.Assistant+"/profiles", map[string]any{
		"type": "oauth2", "name": "Asking", "provider": "Wolpertinger & Söhne Incident Management", "client_id": "support-bot",
		"authorization_url": d.Provider + "/authorize", "token_url": d.Provider + "/token",
		"scope":   []map[string]any{{"key": "scope", "value": "notes:read"}},
		"tenancy": map[string]any{"base_url": "https://{tenant}.example.com", "pattern": "[a-z0-9-]+", "label": "Your instance", "allowed": []string{"north", "south"}},
		"api":     map[string]any{"base_url": "https://{tenant}.example.com/api"},
		"additional_fields": []map[string]any{
			{"key": "pin", "title": "PIN", "type": "password", "required": true, "hint": "Four digits, as on your badge.", "pattern": "[0-9]{4}"},
			{"key": "desk", "title": "Desk code"},
			{"key": "site", "title": "Site", "visibility": "read_only", "value": "Regensburg"},
		},
	}, &made)
	return made.Slug
}

// look is a browser on a tour of the pages.
type look struct {
	*browser.Browser
	t    testing.TB
	demo *demo
}

// begin makes a connect session for somebody and returns its link.
func (l *look) begin(profile, name string) string {
	l.t.Helper()
	bot := &client{t: l.t, seen: newEvidence(), base: l.demo.API + "/v1/assistants/" + l.demo.Assistant, key: l.demo.Key}
	var made session
	bot.post("/connect-sessions", map[string]any{"profile": profile, "user": "another", "user_name": name}, &made)
	return made.URL
}

// steer sets the switches of the provider.
func (l *look) steer(switches simulator.Switches) {
	l.t.Helper()
	provider := &client{t: l.t, seen: newEvidence(), base: l.demo.Provider}
	provider.put("/_simulator/switches", switches, nil)
}

// arrive waits for a page, checks it and keeps pictures of it.
func (l *look) arrive(text, name string) {
	l.t.Helper()
	l.WaitText(text)
	l.Every(name, func(name string) {
		l.check(name)
		if !strings.HasPrefix(l.URL(), l.demo.Provider) {
			l.Accessible(name)
		}
	})
}

// check holds that nothing sticks out of the page and that the console is
// content.
func (l *look) check(name string) {
	l.t.Helper()
	if over := l.Overflow(); over > 0 {
		l.t.Errorf("%s: it is %d pixels too wide", name, over)
	}
	for _, c := range ours(l.Complaints(), l.demo.API) {
		// Chromium complains of a page with an error status, too: that is meant.
		meant := slices.ContainsFunc(l.Visited(), func(address string) bool { return strings.HasSuffix(c, " "+address) })
		if !meant {
			l.t.Errorf("%s: the console says %q", name, c)
		}
	}
}
