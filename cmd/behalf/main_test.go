package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/behalf-dev/behalf/internal/kms/kmstest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"behalf": main, "person": person, "request": request})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"start": start,
			"stop":  stop,
			"mode":  mode,

			"transit": transit,

			"secrets": secrets,
			"same":    same,
			"catch":   catch,
		},
	})
}

// exits runs a program that must end with a status: exits 2 behalf nonsense.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM [ARG…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got, failed := 0, (*exec.ExitError)(nil)
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &failed) {
		got = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("status %d, want %d", got, want)
	}
}

// secrets sets every variable that the profile files of a directory name.
func secrets(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range files(ts, args[0]) {
		for _, m := range regexp.MustCompile(`env:([A-Z0-9_]+)`).FindAllStringSubmatch(ts.ReadFile(filepath.Join(args[0], name)), -1) {
			ts.Setenv(m[1], "secret-of-"+m[1])
		}
	}
}

// catch sets a variable to what a group of a regular expression finds in the
// output of the last program.
func catch(ts *testscript.TestScript, neg bool, args []string) {
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) < 2 {
		ts.Fatalf("%s is not in the output", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// same checks that every file of the second directory is in the first, the same.
func same(ts *testscript.TestScript, neg bool, args []string) {
	want := files(ts, args[1])
	if len(want) == 0 {
		ts.Fatalf("%s is empty", args[1])
	}
	for _, name := range want {
		if got := ts.ReadFile(filepath.Join(args[0], name)); got != ts.ReadFile(filepath.Join(args[1], name)) {
			ts.Fatalf("%s differs:\n%s", name, got)
		}
	}
	ts.Logf("%d files are the same", len(want))
}

func files(ts *testscript.TestScript, dir string) (names []string) {
	entries, err := os.ReadDir(ts.MkAbs(dir))
	ts.Check(err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// mode checks that nobody but its owner can use a file.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		info, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		if private := info.Mode().Perm()&0o077 == 0; private == neg {
			ts.Fatalf("%s has mode %v", name, info.Mode())
		}
	}
}

// running is a server that start began; a script has one at a time.
type running struct {
	cmd    *exec.Cmd
	output *os.File
	ended  chan error
}

var servers sync.Map // *testscript.TestScript → *running

var transits sync.Map // *testscript.TestScript → *kmstest.Transit

// transit runs what speaks as OpenBao's transit engine does: transit start sets
// KMS and KMS_OTHER to keys of it, and what is needed to ask; transit away, back,
// lie, forget switch its faults; transit asked N checks how often it was asked.
func transit(ts *testscript.TestScript, neg bool, args []string) {
	if args[0] == "start" {
		s, stop, err := kmstest.StartTransit(ts.MkAbs("ca.pem"))
		ts.Check(err)
		ts.Defer(stop)
		transits.Store(ts, s)
		ts.Setenv("KMS", "hcvault://"+s.Host+"/transit/keys/behalf")
		ts.Setenv("KMS_OTHER", "hcvault://"+s.Host+"/transit/keys/other")
		ts.Setenv("BEHALF_KMS_TOKEN", s.Token)
		ts.Setenv("VAULT_CACERT", s.CA)
		return
	}
	found, ok := transits.Load(ts)
	if !ok {
		ts.Fatalf("transit start comes first")
	}
	s := found.(*kmstest.Transit)
	switch args[0] {
	case "away":
		s.Away(-1)
	case "stumbles":
		s.Away(2)
	case "back":
		s.Away(0)
		s.Lie(nil)
	case "lies":
		s.Lie([]byte(strings.Repeat("k", 32)))
	case "forget":
		s.Forget()
	case "asked":
		if got := strconv.Itoa(s.Asked()); got != args[1] {
			ts.Fatalf("it was asked %s times", got)
		}
	default:
		ts.Fatalf("usage: transit start|away|stumbles|back|lies|forget|asked N")
	}
}

// start runs behalf demo or behalf serve until stop or the end of the script.
// What it says goes to the file "server.log". Of a demo every member of its JSON
// becomes a variable such as DEMO_API, of serve URL does.
func start(ts *testscript.TestScript, neg bool, args []string) {
	dir, _, _ := strings.Cut(ts.Getenv("PATH"), string(os.PathListSeparator))
	cmd := exec.Command(filepath.Join(dir, "behalf"), args...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "BEHALF_DATA", "BEHALF_LISTEN", "BEHALF_PUBLIC_URL", "BEHALF_ROOT_KEY", "BEHALF_LOG_LEVEL", "BEHALF_CONFIG", "BEHALF_ALLOW_PRIVATE", "BEHALF_KMS_TOKEN", "BEHALF_KMS_WAIT", "VAULT_CACERT"} {
		if value := ts.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	log, err := os.Create(ts.MkAbs("server.log"))
	ts.Check(err)
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	r := &running{cmd, log, make(chan error, 1)}
	servers.Store(ts, r)
	ts.Defer(func() { end(ts) })
	lines := bufio.NewReader(out)
	first := ""
	if args[0] == "demo" {
		first, err = lines.ReadString('\n')
		ts.Check(err)
	}
	go func() {
		_, _ = io.Copy(log, lines)
		r.ended <- cmd.Wait()
	}()
	if args[0] != "demo" {
		ready(ts, r)
		return
	}
	var said map[string]string
	ts.Check(json.Unmarshal([]byte(first), &said))
	for name, value := range said {
		ts.Setenv("DEMO_"+strings.ToUpper(name), value)
	}
	ts.Check(os.WriteFile(ts.MkAbs("demo.json"), []byte(first), 0o600))
}

// ready waits until serve says so, and takes its URL.
func ready(ts *testscript.TestScript, r *running) {
	for range 1000 {
		log, err := os.ReadFile(r.output.Name())
		ts.Check(err)
		for line := range strings.Lines(string(log)) {
			var said struct{ Msg, URL string }
			if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "ready" {
				ts.Setenv("URL", said.URL)
				return
			}
		}
		select {
		case err := <-r.ended:
			r.ended <- err
			ts.Fatalf("it ended: %v\n%s", err, log)
		case <-time.After(20 * time.Millisecond):
		}
	}
	ts.Fatalf("it does not get ready")
}

// stop asks the server to stop, which must succeed.
func stop(ts *testscript.TestScript, neg bool, args []string) {
	if err := end(ts); err != nil {
		ts.Fatalf("it did not stop well: %v", err)
	}
}

func end(ts *testscript.TestScript) error {
	found, ok := servers.LoadAndDelete(ts)
	if !ok {
		return nil
	}
	r := found.(*running)
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	defer func() { _ = r.output.Close() }()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(20 * time.Second):
		_ = r.cmd.Process.Kill()
		<-r.ended
		return errors.New("it had to be killed")
	}
}

// request prints the answer to a request: request METHOD URL [KEY [BODY]].
func request() {
	args := append(os.Args[1:], "", "")
	r, err := http.NewRequest(args[0], args[1], strings.NewReader(args[3]))
	if err != nil {
		fail(err)
	}
	r.Header.Set("Authorization", "Bearer "+args[2])
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		fail(err)
	}
	defer func() { _ = res.Body.Close() }()
	fmt.Println(res.StatusCode)
	_, _ = io.Copy(os.Stdout, res.Body)
}

var (
	redirects = regexp.MustCompile(`http-equiv="refresh" content="[^"]*url=([^"]+)"`)
	heading   = regexp.MustCompile(`(?s)<h1>(.*?)</h1>`)
	tags      = regexp.MustCompile(`<[^>]*>`)
)

// person goes through a connect link as somebody who is signed in at the demo's
// provider and agrees: person LINK PROVIDER. It prints the last page's heading.
func person() {
	link, provider := os.Args[1], os.Args[2]
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar, Timeout: 20 * time.Second}
	r, _ := http.NewRequest(http.MethodPut, provider+"/_simulator/switches", strings.NewReader(`{"no_login":"jane"}`))
	visit(browser, r)
	r, _ = http.NewRequest(http.MethodGet, link, nil)
	visit(browser, r)
	r, _ = http.NewRequest(http.MethodPost, link, strings.NewReader(""))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	target := redirects.FindStringSubmatch(visit(browser, r))
	if target == nil {
		fail(errors.New("Continue leads nowhere"))
	}
	r, _ = http.NewRequest(http.MethodGet, html.UnescapeString(target[1]), nil)
	page := visit(browser, r)
	if h := heading.FindStringSubmatch(page); h != nil {
		fmt.Println(strings.Join(strings.Fields(tags.ReplaceAllString(h[1], " ")), " "))
	}
}

func visit(browser *http.Client, r *http.Request) string {
	res, err := browser.Do(r)
	if err != nil {
		fail(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 400 {
		fail(fmt.Errorf("%s: %s %v", r.URL.Path, res.Status, err))
	}
	return string(body)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
