package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

// This file keeps which node has a tunnel to which connector. The rules are:
//
//   - A tunnel's row is removed by its own id: an agent that has come back
//     elsewhere meanwhile keeps its new one.
//   - A connector is connected with the first tunnel of it and disconnected with
//     the last, in all nodes together; events tell of these two only.
//   - The tunnels of a node that is not alive (node.go) are nobody's: any other
//     node removes them.

// Topology is everything about connectors that a node needs to find its way.
type Topology struct {
	Connectors []behalf.Connector
	Agents     []behalf.ConnectorAgent // that are not revoked
	Tunnels    []behalf.Tunnel         // of nodes that live
	Nodes      map[behalf.NodeID]Node  // that live
}

// Topology reads it.
func (s Scope) Topology(ctx context.Context) (Topology, error) {
	var t Topology
	if err := s.allow(behalf.Maintain, "", "connector"); err != nil {
		return t, err
	}
	connectors, err := s.db.read.AllConnectors(ctx)
	if err != nil || len(connectors) == 0 {
		return t, unavailableIf(err)
	}
	agents, err := s.db.read.AllConnectorAgents(ctx)
	if err != nil {
		return t, unavailable(err)
	}
	nodes, err := s.Nodes(ctx)
	if err != nil {
		return t, err
	}
	tunnels, err := s.db.read.Tunnels(ctx)
	if err != nil {
		return t, unavailable(err)
	}
	t.Nodes = map[behalf.NodeID]Node{s.db.Node: {ID: s.db.Node}} // whoever asks lives, also after a long sleep
	for _, n := range nodes {
		t.Nodes[n.ID] = n
	}
	for _, r := range connectors {
		t.Connectors = append(t.Connectors, connectorFrom(r))
	}
	for _, r := range agents {
		t.Agents = append(t.Agents, connectorAgentFrom(r))
	}
	for _, r := range tunnels {
		if _, lives := t.Nodes[behalf.NodeID(r.Node)]; lives {
			t.Tunnels = append(t.Tunnels, tunnelFrom(r))
		}
	}
	return t, nil
}

// ConnectorTunnels returns the tunnels of a connector, on nodes that live.
func (s Scope) ConnectorTunnels(ctx context.Context, id behalf.ConnectorID) ([]behalf.Tunnel, error) {
	if err := s.allow(behalf.ReadConnectors, "", "connector"); err != nil {
		return nil, err
	}
	t, err := s.db.As(behalf.System("connectors")).Topology(ctx)
	return slices.DeleteFunc(t.Tunnels, func(t behalf.Tunnel) bool { return t.Connector != id }), err
}

// AttachTunnel notes a tunnel of this node, and what its agent says of itself.
// It is an error where agent or connector may not be attached any more.
func (s Scope) AttachTunnel(ctx context.Context, id string, a behalf.ConnectorAgent) error {
	if err := s.allow(behalf.Maintain, "", "connector"); err != nil {
		return err
	}
	return s.change(ctx, func(t *change) error {
		err := one(t.SeeConnector(ctx, query.SeeConnectorParams{SeenAt: micros(t.now), ID: string(a.Connector)})) // its lock puts attaching and detaching in one order
		if err == ErrStale {
			return behalf.Errorf(behalf.CodeForbidden, "The connector is disabled or was deleted.")
		}
		if err != nil {
			return err
		}
		err = one(t.SeeConnectorAgent(ctx, query.SeeConnectorAgentParams{Version: plain(a.Version, 100), System: plain(a.System, 100), Hostname: plain(a.Hostname, 255), Address: plain(a.Address, 100),
			Published: plain(string(a.Published), 1<<20), SeenAt: micros(t.now), ID: string(a.ID), Connector: string(a.Connector)}))
		if err == ErrStale {
			return behalf.Errorf(behalf.CodeForbidden, "The agent was revoked.")
		}
		if err != nil {
			return err
		}
		before, err := t.CountTunnels(ctx, string(a.Connector))
		if err != nil {
			return err
		}
		if err := t.InsertTunnel(ctx, query.InsertTunnelParams{ID: id, Connector: string(a.Connector), Agent: string(a.ID), Node: string(s.db.Node), OpenedAt: micros(t.now)}); err != nil {
			return err
		}
		t.audit("", "connector.attach", string(a.ID), id)
		t.noteConnectors()
		if before == 0 {
			return t.tellOf(ctx, a.Connector, behalf.EventConnectorConnected)
		}
		return nil
	})
}

// DetachTunnel removes a tunnel that has ended.
func (s Scope) DetachTunnel(ctx context.Context, tunnel behalf.Tunnel) error {
	if err := s.allow(behalf.Maintain, "", "connector"); err != nil {
		return err
	}
	return s.change(ctx, func(t *change) error { return t.detach(ctx, tunnel) })
}

func (c *change) detach(ctx context.Context, tunnel behalf.Tunnel) error {
	if _, err := c.TouchConnector(ctx, query.TouchConnectorParams{SeenAt: micros(c.now), ID: string(tunnel.Connector)}); err != nil {
		return err
	}
	if err := c.TouchConnectorAgent(ctx, query.TouchConnectorAgentParams{SeenAt: micros(c.now), ID: string(tunnel.Agent)}); err != nil {
		return err
	}
	n, err := c.DeleteTunnel(ctx, query.DeleteTunnelParams{ID: tunnel.ID, Connector: string(tunnel.Connector)})
	if err != nil || n == 0 {
		return err
	}
	c.audit("", "connector.detach", string(tunnel.Agent), tunnel.ID)
	c.noteConnectors()
	left, err := c.CountTunnels(ctx, string(tunnel.Connector))
	if err != nil || left > 0 {
		return err
	}
	return c.tellOf(ctx, tunnel.Connector, behalf.EventConnectorDisconnected)
}

// tellOf tells every assistant that has a profile with the connector.
func (c *change) tellOf(ctx context.Context, id behalf.ConnectorID, what behalf.EventType) error {
	row, err := c.Connector(ctx, string(id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil // it is being deleted
	}
	if err != nil {
		return err
	}
	profiles, err := c.ProfilesThrough(ctx, through(row.Name))
	if err != nil {
		return err
	}
	told := map[string]bool{}
	for _, p := range profiles {
		told[p.Assistant] = true
	}
	for _, a := range slices.Sorted(maps.Keys(told)) {
		c.event(behalf.Event{Assistant: behalf.AssistantID(a), Type: what, Detail: row.Name})
	}
	return nil
}

// SweepTunnels removes the tunnels of dead nodes, and traffic of long ago.
func (s Scope) SweepTunnels(ctx context.Context) error {
	if err := s.allow(behalf.Maintain, "", "connector"); err != nil {
		return err
	}
	dead, err := s.db.read.DeadTunnels(ctx, micros(s.db.Now().Add(-nodeAlive)))
	if err != nil {
		return unavailable(err)
	}
	for _, r := range dead {
		if r.Node == string(s.db.Node) {
			continue
		}
		if err := s.DetachTunnel(ctx, tunnelFrom(r)); err != nil {
			return err
		}
	}
	return unavailableIf(s.db.write.DeleteOldTraffic(ctx, micros(s.db.Now().Add(-keepTraffic))))
}

const keepTraffic = 14 * 24 * time.Hour

// CountTraffic adds to what has gone through connectors in this minute.
func (s Scope) CountTraffic(ctx context.Context, by map[behalf.ConnectorID]behalf.Traffic) error {
	if err := s.allow(behalf.Maintain, "", "connector"); err != nil {
		return err
	}
	if len(by) == 0 {
		return nil
	}
	return s.change(ctx, func(c *change) error {
		for _, id := range slices.Sorted(maps.Keys(by)) { // in one order on all nodes: two that lock the same rows must not wait for each other
			t := by[id]
			if err := c.AddTraffic(ctx, query.AddTrafficParams{Connector: string(id), At: micros(c.now.Truncate(time.Minute)), Calls: t.Calls, Failed: t.Failed, BytesIn: t.In, BytesOut: t.Out}); err != nil {
				return err
			}
		}
		return nil
	})
}

// metaNodes is what all nodes derive their certificates from.
const metaNodes = "nodes"

var nodesPlace = vault.Place{Table: "meta", Row: metaNodes, Column: "value"}

// NodesSecret returns it; the first node makes it.
func (db *DB) NodesSecret(ctx context.Context) (secret.Text, error) {
	sealed, err := db.write.Meta(ctx, metaNodes)
	if errors.Is(err, sql.ErrNoRows) {
		if err := db.makeNodesSecret(ctx); err != nil {
			return secret.Text{}, err
		}
		sealed, err = db.write.Meta(ctx, metaNodes)
	}
	if err != nil {
		return secret.Text{}, unavailable(err)
	}
	plain, err := db.keyring.Open(sealed, nodesPlace)
	if err != nil {
		return secret.Text{}, fmt.Errorf("store: the nodes' secret: %w", err)
	}
	return secret.New(string(plain)), nil
}

func (db *DB) makeNodesSecret(ctx context.Context) error {
	sealed, err := db.keyring.Seal([]byte(secret.Random().Reveal()), nodesPlace)
	if err != nil {
		return err
	}
	_, err = db.write.InsertMeta(ctx, query.InsertMetaParams{Name: metaNodes, Value: sealed}) // another node's, where that was first
	return unavailableIf(err)
}

// resealNodes makes what NodesSecret returns anew under the current key.
func (c *change) resealNodes(ctx context.Context, db *DB) error {
	sealed, err := c.Meta(ctx, metaNodes)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // no server has run yet
	}
	if err != nil {
		return err
	}
	plain, err := db.keyring.Open(sealed, nodesPlace)
	if err != nil {
		return err
	}
	if sealed, err = db.keyring.Seal(plain, nodesPlace); err != nil {
		return err
	}
	return c.PutMeta(ctx, query.PutMetaParams{Name: metaNodes, Value: sealed})
}

// nounConnectors is the noun of the change log for everything about connectors.
const nounConnectors = "connectors"

func (c *change) noteConnectors() { c.note(nounConnectors, nounConnectors, "") }

// ConnectorsChanged returns a channel that is closed when anything about
// connectors is noted after this call. forget ends the wait.
func (db *DB) ConnectorsChanged() (changed <-chan struct{}, forget func()) {
	return db.Changed(nounConnectors)
}

func tunnelFrom(r query.Tunnel) behalf.Tunnel {
	return behalf.Tunnel{ID: r.ID, Connector: behalf.ConnectorID(r.Connector), Agent: behalf.AgentID(r.Agent), Node: behalf.NodeID(r.Node), OpenedAt: at(r.OpenedAt)}
}
