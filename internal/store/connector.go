package store

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store/query"
)

// This file keeps connectors and their agents. The rules are:
//
//   - An enrolment token is kept as its hash, is good once and ends by itself.
//   - What an agent is known by is its public key; it made the private one itself.
//   - Whatever decides who may be attached is noted in the change log, so that all
//     nodes cut what is revoked within a second.
//   - A connector that profiles use is not deleted; it can be disabled.

// ConnectorTokenPrefix begins every enrolment token.
const ConnectorTokenPrefix = "bhc_"

// ConnectorTokenLife is how long an enrolment token is good.
const ConnectorTokenLife = time.Hour

// Connectors returns all connectors, oldest first.
func (s Scope) Connectors(ctx context.Context, page Page) ([]behalf.Connector, error) {
	if err := s.allow(behalf.ReadConnectors, "", "connector"); err != nil {
		return nil, err
	}
	if !text(page.After) {
		return nil, nil
	}
	rows, err := s.db.read.Connectors(ctx, query.ConnectorsParams{After: page.After, Max: page.limit()})
	if err != nil {
		return nil, unavailable(err)
	}
	out := make([]behalf.Connector, 0, len(rows))
	for _, r := range rows {
		out = append(out, connectorFrom(r))
	}
	return out, nil
}

// Connector returns a connector by id or name.
func (s Scope) Connector(ctx context.Context, idOrName string) (behalf.Connector, error) {
	if err := s.allow(behalf.ReadConnectors, "", "connector"); err != nil {
		return behalf.Connector{}, err
	}
	if !text(idOrName) {
		return behalf.Connector{}, behalf.NotFound("connector")
	}
	row, err := s.db.read.Connector(ctx, idOrName)
	return connectorFrom(row), found(err, "connector")
}

// CreateConnector keeps a new connector.
func (s Scope) CreateConnector(ctx context.Context, c behalf.Connector) (behalf.Connector, error) {
	if err := s.allow(behalf.WriteConnectors, "", "connector"); err != nil {
		return c, err
	}
	if err := c.Validate(); err != nil {
		return c, err
	}
	err := s.change(ctx, func(t *change) error {
		c.ID, c.Enabled, c.Version, c.CreatedAt, c.UpdatedAt = behalf.NewConnectorID(t.now), true, 1, t.now, t.now
		err := t.InsertConnector(ctx, query.InsertConnectorParams{ID: string(c.ID), Name: c.Name, CreatedAt: micros(t.now)})
		if s.db.engine.unique(err) {
			return &behalf.Error{Code: behalf.CodeConflict, Field: "name", Message: "Another connector has this name."}
		}
		t.audit("", "connector.create", string(c.ID), c.Name)
		t.noteConnectors()
		return err
	})
	return c, err
}

// SaveConnector enables or disables a connector, by its version.
func (s Scope) SaveConnector(ctx context.Context, c behalf.Connector) (behalf.Connector, error) {
	if err := s.allow(behalf.WriteConnectors, "", "connector"); err != nil {
		return c, err
	}
	action := "connector.disable"
	if c.Enabled {
		action = "connector.enable"
	}
	err := s.change(ctx, func(t *change) error {
		err := one(t.UpdateConnector(ctx, query.UpdateConnectorParams{Enabled: flag(c.Enabled), UpdatedAt: micros(t.now), ID: string(c.ID), Version: c.Version}))
		if err == ErrStale {
			return conflictStale("connector")
		}
		c.UpdatedAt = t.now
		t.audit("", action, string(c.ID), c.Name)
		t.noteConnectors()
		return err
	})
	c.Version++
	return c, err
}

// DeleteConnector ends a connector and everything that was enrolled for it.
func (s Scope) DeleteConnector(ctx context.Context, c behalf.Connector) error {
	if err := s.allow(behalf.WriteConnectors, "", "connector"); err != nil {
		return err
	}
	return s.change(ctx, func(t *change) error {
		users, err := t.ProfilesThrough(ctx, through(c.Name))
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return behalf.Errorf(behalf.CodeConflict, "%d authorization profiles use this connector. Change or delete them first, or disable the connector.", len(users))
		}
		for _, del := range []func(context.Context, string) error{t.DeleteConnectorTokens, t.DeleteConnectorTunnels, t.DeleteConnectorTraffic, t.DeleteConnectorAgents} {
			if err := del(ctx, string(c.ID)); err != nil {
				return err
			}
		}
		if err := one(t.DeleteConnector(ctx, string(c.ID))); err != nil {
			if err == ErrStale {
				return behalf.NotFound("connector")
			}
			return err
		}
		t.audit("", "connector.delete", string(c.ID), c.Name)
		t.noteConnectors()
		return nil
	})
}

// through is what the definition of a profile holds that uses a connector. A
// name has no character that LIKE takes for anything but itself.
func through(name string) string { return `%"connector":"` + name + `"%` }

// ConnectorUses returns the profiles that go through a connector.
func (s Scope) ConnectorUses(ctx context.Context, c behalf.Connector) ([]behalf.Profile, error) {
	if err := s.allow(behalf.ReadConnectors, "", "connector"); err != nil {
		return nil, err
	}
	rows, err := s.db.read.ProfilesThrough(ctx, through(c.Name))
	if err != nil {
		return nil, unavailable(err)
	}
	var out []behalf.Profile
	for _, r := range rows {
		p, err := s.Profile(ctx, behalf.AssistantID(r.Assistant), r.ID)
		switch {
		case behalf.CodeOf(err) == behalf.CodeNotFound: // deleted a moment ago
		case err != nil:
			return nil, err
		default:
			out = append(out, p)
		}
	}
	return out, nil
}

// EnrolToken returns a token with which one agent can enrol, for the only time.
func (s Scope) EnrolToken(ctx context.Context, c behalf.Connector) (secret.Text, time.Time, error) {
	if err := s.allow(behalf.WriteConnectors, "", "connector"); err != nil {
		return secret.Text{}, time.Time{}, err
	}
	token := secret.NewKey(ConnectorTokenPrefix)
	var ends time.Time
	err := s.change(ctx, func(t *change) error {
		ends = t.now.Add(ConnectorTokenLife)
		row, err := t.Connector(ctx, string(c.ID))
		if err := found(err, "connector"); err != nil {
			return err
		}
		if err := t.DeleteEndedConnectorTokens(ctx, micros(t.now)); err != nil {
			return err
		}
		t.audit("", "connector.token", row.ID, row.Name)
		return t.InsertConnectorToken(ctx, query.InsertConnectorTokenParams{Hash: secret.Hash(token), Connector: row.ID, CreatedAt: micros(t.now), ExpiresAt: micros(ends)})
	})
	return token, ends, err
}

// ConnectorAgents returns who has enrolled for a connector, oldest first.
func (s Scope) ConnectorAgents(ctx context.Context, id behalf.ConnectorID) ([]behalf.ConnectorAgent, error) {
	if err := s.allow(behalf.ReadConnectors, "", "connector"); err != nil {
		return nil, err
	}
	if !text(string(id)) {
		return nil, behalf.NotFound("connector")
	}
	rows, err := s.db.read.ConnectorAgents(ctx, string(id))
	out := make([]behalf.ConnectorAgent, 0, len(rows))
	for _, r := range rows {
		out = append(out, connectorAgentFrom(r))
	}
	return out, unavailableIf(err)
}

// RevokeAgent ends an agent: its tunnels are cut, and it is not let in again.
func (s Scope) RevokeAgent(ctx context.Context, c behalf.ConnectorID, id behalf.AgentID) error {
	if err := s.allow(behalf.WriteConnectors, "", "connector"); err != nil {
		return err
	}
	if !text(string(c), string(id)) {
		return behalf.NotFound("agent")
	}
	row, err := s.db.read.ConnectorAgent(ctx, string(id))
	if err := found(err, "agent"); err != nil {
		return err
	}
	if row.Connector != string(c) {
		return behalf.NotFound("agent")
	}
	return s.change(ctx, func(t *change) error {
		n, err := t.RevokeConnectorAgent(ctx, query.RevokeConnectorAgentParams{RevokedAt: micros(t.now), ID: string(id), Connector: string(c)})
		if err == nil && n > 0 {
			t.audit("", "connector.revoke_agent", string(id), row.Hostname)
			t.noteConnectors()
		}
		return err
	})
}

// ConnectorTraffic returns what went through a connector since then, by minutes.
func (s Scope) ConnectorTraffic(ctx context.Context, id behalf.ConnectorID, since time.Time) ([]behalf.Traffic, error) {
	if err := s.allow(behalf.ReadConnectors, "", "connector"); err != nil {
		return nil, err
	}
	if !text(string(id)) {
		return nil, behalf.NotFound("connector")
	}
	rows, err := s.db.read.ConnectorTraffic(ctx, query.ConnectorTrafficParams{Connector: string(id), Since: micros(since)})
	out := make([]behalf.Traffic, 0, len(rows))
	for _, r := range rows {
		out = append(out, behalf.Traffic{At: at(r.At), Calls: r.Calls, Failed: r.Failed, In: r.BytesIn, Out: r.BytesOut})
	}
	return out, unavailableIf(err)
}

// usable returns nil where a profile may be saved with a connector of this name.
func (c *change) usable(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	row, err := c.Connector(ctx, name)
	switch err := found(err, "connector"); {
	case behalf.CodeOf(err) == behalf.CodeNotFound || err == nil && row.Name != name:
		return behalf.Invalid("connector", "There is no connector of this name. Create it first, or leave this out.")
	case err != nil:
		return err
	case row.Enabled == 0:
		return behalf.Invalid("connector", "This connector is disabled. Enable it first, or choose another.")
	}
	return nil
}

// EnrolAgent is the door for a machine that holds an enrolment token: it is used
// up, and whoever has the private half of the key is an agent from now on.
func (db *DB) EnrolAgent(ctx context.Context, token secret.Text, key ed25519.PublicKey, hostname string) (behalf.ConnectorAgent, behalf.Connector, error) {
	if len(key) != ed25519.PublicKeySize {
		return behalf.ConnectorAgent{}, behalf.Connector{}, behalf.Invalid("public_key", "Expected an Ed25519 public key.")
	}
	hostname = plain(hostname, 255)
	s := db.As(behalf.System("enrolment"))
	var agent behalf.ConnectorAgent
	var connector behalf.Connector
	err := s.change(ctx, func(t *change) error {
		id, err := t.TakeConnectorToken(ctx, query.TakeConnectorTokenParams{Hash: secret.Hash(token), Now: micros(t.now)})
		if behalf.CodeOf(found(err, "token")) == behalf.CodeNotFound {
			return behalf.Errorf(behalf.CodeUnauthenticated, "The enrolment token is not known, was used already or has ended. Make a new one.")
		}
		if err != nil {
			return err
		}
		row, err := t.Connector(ctx, id)
		if err := found(err, "connector"); err != nil {
			return err
		}
		connector = connectorFrom(row)
		agent = behalf.ConnectorAgent{ID: behalf.NewAgentID(t.now), Connector: connector.ID, PublicKey: key, Hostname: hostname, CreatedAt: t.now}
		t.audit("", "connector.enrol", string(agent.ID), connector.Name+" "+hostname)
		t.noteConnectors()
		return t.InsertConnectorAgent(ctx, query.InsertConnectorAgentParams{ID: string(agent.ID), Connector: id, PublicKey: key, Hostname: hostname, CreatedAt: micros(t.now)})
	})
	return agent, connector, err
}

// AgentAtTheDoor returns an agent that says who it is, with its connector. It
// has proved nothing yet: the caller checks its signature.
func (db *DB) AgentAtTheDoor(ctx context.Context, id behalf.AgentID) (behalf.ConnectorAgent, behalf.Connector, error) {
	if !behalf.IsID(string(id), "agt_") {
		return behalf.ConnectorAgent{}, behalf.Connector{}, behalf.NotFound("agent")
	}
	row, err := db.read.ConnectorAgent(ctx, string(id))
	if err := found(err, "agent"); err != nil {
		return behalf.ConnectorAgent{}, behalf.Connector{}, err
	}
	c, err := db.read.Connector(ctx, row.Connector)
	return connectorAgentFrom(row), connectorFrom(c), found(err, "connector")
}

// plain is what somebody outside has called something, cut to a length and to
// what both databases take.
func plain(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if r := []rune(s); len(r) > most {
		return string(r[:most])
	}
	return s
}

func connectorFrom(r query.Connector) behalf.Connector {
	return behalf.Connector{ID: behalf.ConnectorID(r.ID), Name: r.Name, Enabled: r.Enabled == 1, Version: r.Version, CreatedAt: at(r.CreatedAt), UpdatedAt: at(r.UpdatedAt), SeenAt: at(r.SeenAt)}
}

func connectorAgentFrom(r query.ConnectorAgent) behalf.ConnectorAgent {
	return behalf.ConnectorAgent{ID: behalf.AgentID(r.ID), Connector: behalf.ConnectorID(r.Connector), PublicKey: r.PublicKey, Hostname: r.Hostname, Version: r.Version, System: r.System,
		Address: r.Address, Published: json.RawMessage(r.Published), CreatedAt: at(r.CreatedAt), SeenAt: at(r.SeenAt), RevokedAt: at(r.RevokedAt)}
}
