package egress

import (
	"context"
	"io"
	"net"
	"net/http/httptrace"
	"testing"
)

// pipe returns a connection and what arrives at its other end.
func pipe(t *testing.T) (*conn, chan string) {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() { _ = here.Close() })
	arrived := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(there)
		arrived <- string(b)
	}()
	return &conn{Conn: here}, arrived
}

func TestNothingIsWrittenAfterACallHasFailed(t *testing.T) {
	c, arrived := pipe(t)
	p := &progress{phase: PhaseDial}
	p.gotConn(httptrace.GotConnInfo{Conn: c})
	if e := p.failed(context.Canceled); e.Written || e.Phase != PhaseWrite {
		t.Fatalf("failed: %+v", e)
	}
	if n, err := c.Write([]byte("refresh_token=x")); n != 0 || err == nil {
		t.Fatalf("a late write went through: %d, %v", n, err)
	}
	_ = c.Close()
	if got := <-arrived; got != "" {
		t.Fatalf("%q arrived", got)
	}
}

func TestWhatAnEarlierConnectionGotCountsAsWritten(t *testing.T) {
	first, _ := pipe(t)
	second, _ := pipe(t)
	p := &progress{phase: PhaseDial}
	p.gotConn(httptrace.GotConnInfo{Conn: first})
	if _, err := first.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	p.gotConn(httptrace.GotConnInfo{Conn: second})
	if e := p.failed(io.EOF); !e.Written {
		t.Fatalf("failed: %+v", e)
	}
}

func TestAKeptConnectionStartsEachRequestUnwritten(t *testing.T) {
	c, _ := pipe(t)
	for range 2 {
		p := &progress{}
		p.gotConn(httptrace.GotConnInfo{Conn: c})
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	p := &progress{}
	p.gotConn(httptrace.GotConnInfo{Conn: c})
	if e := p.failed(io.EOF); e.Written {
		t.Fatalf("failed: %+v", e)
	}
}

func TestALateHandshakeDoesNotTurnACallBack(t *testing.T) {
	c, _ := pipe(t)
	p := &progress{phase: PhaseDial}
	ctx := context.WithValue(t.Context(), progressKey{}, p)
	p.gotConn(httptrace.GotConnInfo{Conn: c}) // a kept one came free while another was dialled
	enterTLS(ctx)
	if p.phase != PhaseWrite {
		t.Fatal(p.phase)
	}
	p.enter(PhaseRead)
	p.enter(PhaseWait) // the server answered before it had read everything
	if p.phase != PhaseRead {
		t.Fatal(p.phase)
	}
}
