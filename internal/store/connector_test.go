package store_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
)

func TestAnEnrolmentTokenIsGoodOnceAndNotForLong(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		ctx := t.Context()
		c, _ := h.connector()
		token, ends, err := h.System.EnrolToken(ctx, c)
		if err != nil || ends.Sub(h.DB.Now()) > store.ConnectorTokenLife {
			t.Fatal(ends, err)
		}
		a, of, err := h.DB.EnrolAgent(ctx, token, make([]byte, 32), "h\x00o\nst")
		if err != nil || of.ID != c.ID || a.Hostname != "host" {
			t.Fatal(a, of, err)
		}
		if _, _, err := h.DB.EnrolAgent(ctx, token, make([]byte, 32), "host"); behalf.CodeOf(err) != behalf.CodeUnauthenticated {
			t.Errorf("used again: %v", err)
		}
		if _, _, err := h.DB.EnrolAgent(ctx, secret.New("bhc_other"), make([]byte, 32), "host"); behalf.CodeOf(err) != behalf.CodeUnauthenticated {
			t.Errorf("another: %v", err)
		}
		late, _, err := h.System.EnrolToken(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		h.Clock.Advance(store.ConnectorTokenLife + time.Second)
		if _, _, err := h.DB.EnrolAgent(ctx, late, make([]byte, 32), "host"); behalf.CodeOf(err) != behalf.CodeUnauthenticated {
			t.Errorf("too late: %v", err)
		}
	})
}

func TestAProfileIsSavedWithAConnectorThatIsThereAndEnabled(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		ctx := t.Context()
		c, _ := h.connector()
		with := func(name string) behalf.Definition {
			d := storetest.Definition(freshUser(), provider)
			d.Connector = &name
			return d
		}
		refused := func(name string) {
			t.Helper()
			_, err := h.System.CreateProfile(ctx, behalf.Profile{Assistant: h.Assistant.ID, Definition: with(name)})
			if e, ok := err.(*behalf.Error); !ok || e.Field != "connector" || e.Code != behalf.CodeInvalid {
				t.Errorf("%s: %v", name, err)
			}
		}
		refused("nowhere")
		refused(string(c.ID))
		p, err := h.System.CreateProfile(ctx, behalf.Profile{Assistant: h.Assistant.ID, Definition: with(c.Name)})
		if err != nil || p.Plan.ConnectorName() != c.Name {
			t.Fatal(err)
		}
		if uses, err := h.System.ConnectorUses(ctx, c); err != nil || len(uses) != 1 || uses[0].ID != p.ID {
			t.Errorf("used by %v, %v", uses, err)
		}
		if err := h.System.DeleteConnector(ctx, c); behalf.CodeOf(err) != behalf.CodeConflict {
			t.Errorf("deleted while it is used: %v", err)
		}
		c.Enabled = false
		if c, err = h.System.SaveConnector(ctx, c); err != nil {
			t.Fatal(err)
		}
		refused(c.Name)
		if err := h.System.DeleteProfile(ctx, p); err != nil {
			t.Fatal(err)
		}
		if err := h.System.DeleteConnector(ctx, c); err != nil {
			t.Error(err)
		}
	})
}

func TestAConnectorIsConnectedWithItsFirstTunnelAndDisconnectedWithItsLast(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		ctx := t.Context()
		c, a := h.connector()
		name := c.Name
		d := storetest.Definition(freshUser(), provider)
		d.Connector = &name
		h.NewProfile(h.Assistant, d)
		step := func(want string, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			events, err := h.System.Events(ctx, h.Assistant.ID, store.Page{})
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, e := range events {
				if e.Detail == c.Name {
					got += string(e.Type)[len("connector."):] + " "
				}
			}
			if got != want {
				t.Errorf("events: %q, want %q", got, want)
			}
		}
		off := func(id string) error {
			return h.System.DetachTunnel(ctx, behalf.Tunnel{ID: id, Connector: c.ID, Agent: a.ID})
		}
		step("connected ", h.System.AttachTunnel(ctx, "tun_1", a))
		step("connected ", h.System.AttachTunnel(ctx, "tun_2", a))
		step("connected ", off("tun_1"))
		step("connected ", off("tun_1"))
		step("connected disconnected ", off("tun_2"))
		step("connected disconnected connected ", h.System.AttachTunnel(ctx, "tun_3", a))

		// It is another node's, and that dies: it has not been seen for long.
		h.exec(fmt.Sprintf("INSERT INTO nodes (id, address, spills, started_at, seen_at) VALUES ('nod_other', '127.0.0.1:1', 0, 1, %d)", h.Clock.Now().UnixMicro()))
		h.exec("UPDATE tunnels SET node = 'nod_other'")
		step("connected disconnected connected ", h.System.SweepTunnels(ctx))
		h.Clock.Advance(time.Minute)
		if all, err := h.System.ConnectorTunnels(ctx, c.ID); err != nil || len(all) != 0 {
			t.Errorf("tunnels of a dead node: %v, %v", all, err)
		}
		step("connected disconnected connected disconnected ", h.System.SweepTunnels(ctx))

		if err := h.System.RevokeAgent(ctx, c.ID, a.ID); err != nil {
			t.Fatal(err)
		}
		if err := h.System.AttachTunnel(ctx, "tun_4", a); behalf.CodeOf(err) != behalf.CodeForbidden {
			t.Errorf("a revoked agent: %v", err)
		}
	})
}

func TestTheNodesShareOneSecret(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		one, err := h.DB.NodesSecret(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		again, err := h.DB.NodesSecret(t.Context())
		if err != nil || !one.Equal(again) || len(one.Reveal()) < 32 {
			t.Error("another secret", err)
		}
		for _, row := range h.rows("meta") {
			if strings.Contains(row, one.Reveal()) {
				t.Error("it is kept readable")
			}
		}
		value := func() (sealed []byte) {
			if err := h.raw.QueryRow("SELECT value FROM meta WHERE name = 'nodes'").Scan(&sealed); err != nil {
				t.Fatal(err)
			}
			return sealed
		}
		before := value()
		h.rotated()
		if bytes.HasPrefix(value(), before[:5]) {
			t.Error("a rotation leaves it under the old key")
		}
		if again, err = storetest.Open(t, url, h.Clock.Now).NodesSecret(t.Context()); err != nil || !one.Equal(again) {
			t.Error("a rotation makes it another", err)
		}
	})
}
