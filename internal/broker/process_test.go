package broker_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/broker"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/simulator"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
)

// childEnv makes this test binary a server's process: it holds an order.
const childEnv = "BEHALF_BROKER_TEST_CHILD"

type order struct {
	URL        string
	Ahead      time.Duration
	Assistant  behalf.AssistantID
	Connection behalf.ConnectionID
	Callers    int
}

// child says "ready", waits for a line, and prints what each caller got.
func child() {
	if err := obey(context.Background()); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func obey(ctx context.Context) error {
	var o order
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &o); err != nil {
		return err
	}
	clock := &storetest.Clock{}
	db, err := store.Open(ctx, storetest.Config(o.URL, clock.Now))
	if err != nil {
		return err
	}
	clock.Advance(o.Ahead) // from the database's time
	out := egress.New(egress.Config{AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Now: time.Now})
	b := broker.New(broker.Config{DB: db, Egress: out, Log: slog.New(slog.DiscardHandler)})
	scope := db.As(behalf.Actor{Kind: behalf.ActorAssistant, ID: "key_child", Assistant: o.Assistant})
	seen, err := scope.Connection(ctx, o.Connection)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range o.Callers {
		wg.Go(func() {
			g, err := b.Connection(ctx, scope, seen)
			mu.Lock()
			defer mu.Unlock()
			fmt.Printf("%d %x %v\n", g.Generation, secret.Hash(g.Credential.AccessToken), err)
		})
	}
	wg.Wait()
	return db.Close()
}

func Test200CallersInTwoProcessesCauseOneRefresh(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		s.sim.Set(simulator.Switches{TokenDelayMS: 100})
		s.due()
		o := order{URL: url, Ahead: time.Until(s.Clock.Now()), Assistant: s.Assistant.ID, Connection: s.c.ID, Callers: crowd / 2}
		processes := []*process{newProcess(t, o), newProcess(t, o)}
		for _, p := range processes {
			p.begin()
		}
		answers := map[string]int{}
		for _, p := range processes {
			for _, line := range p.lines() {
				answers[line]++
			}
		}
		want := fmt.Sprintf("2 %x <nil>", secret.Hash(s.mustUse().Credential.AccessToken))
		if answers[want] != crowd || len(answers) != 1 {
			t.Errorf("answers: %v", answers)
		}
		s.refreshes(1)
		s.survives()
	})
}

type process struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
}

func newProcess(t *testing.T, o order) *process {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	p := &process{t, in, bufio.NewReader(out)}
	if line, err := p.out.ReadString('\n'); line != "ready\n" {
		t.Fatalf("the process said %q, %v", line, err)
	}
	return p
}

func (p *process) begin() {
	p.t.Helper()
	if _, err := io.WriteString(p.in, "go\n"); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) lines() []string {
	p.t.Helper()
	text, err := io.ReadAll(p.out)
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}
