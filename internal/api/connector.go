package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/tunnel"
)

// Connector is a way into a private network, on the wire.
type Connector struct {
	ID        string           `json:"id"`
	Name      string           `json:"name" doc:"What profiles name it by."`
	Status    string           `json:"status" enum:"new,connected,disconnected,disabled" doc:"new: no agent has connected yet."`
	Enabled   bool             `json:"enabled"`
	Agents    []ConnectorAgent `json:"agents"`
	CreatedAt time.Time        `json:"created_at"`
	SeenAt    *time.Time       `json:"seen_at,omitempty" doc:"When an agent was last attached."`
}

// ConnectorAgent is a machine that has enrolled, on the wire.
type ConnectorAgent struct {
	ID          string        `json:"id"`
	Status      string        `json:"status" enum:"new,connected,disconnected,revoked"`
	Hostname    string        `json:"hostname"`
	System      string        `json:"system,omitempty" doc:"Operating system and architecture."`
	Version     string        `json:"version,omitempty"`
	Address     string        `json:"address,omitempty" doc:"From where it last connected."`
	Tunnels     []AgentTunnel `json:"tunnels"`
	Allow       []AllowedRow  `json:"allow" doc:"What it says that it allows. It decides itself, call by call."`
	Fingerprint string        `json:"fingerprint" doc:"Its public key."`
	CreatedAt   time.Time     `json:"created_at"`
	SeenAt      *time.Time    `json:"seen_at,omitempty"`
}

// AgentTunnel is an open tunnel.
type AgentTunnel struct {
	ID       string    `json:"id"`
	Node     string    `json:"node" doc:"The node of this server that has it."`
	OpenedAt time.Time `json:"opened_at"`
}

// AllowedRow is a row of an agent's allow list.
type AllowedRow struct {
	Kind string `json:"kind" enum:"tcp,http" doc:"tcp: this server speaks TLS to the application; http: the agent does."`
	Host string `json:"host"`
	Port int    `json:"port"`
}

// NewConnector is a connector that was just made, with its first token.
type NewConnector struct {
	Connector
	EnrolToken
}

// EnrolToken lets one agent enrol.
type EnrolToken struct {
	Token     string    `json:"enrol_token" doc:"Shown once, good once: behalf connector enrol takes it."`
	ExpiresAt time.Time `json:"enrol_expires_at"`
}

// ConnectorBody is what a connector is made of.
type ConnectorBody struct {
	Name string `json:"name" doc:"Lower-case letters, digits and single hyphens, at most 60."`
}

// ConnectorChange is what can be changed.
type ConnectorChange struct {
	Enabled *bool `json:"enabled,omitempty" doc:"False cuts its tunnels at once and lets none in."`
}

// TrafficMinute is what went through a connector in one minute.
type TrafficMinute struct {
	At       time.Time `json:"at"`
	Calls    int64     `json:"calls" doc:"Connections that were opened."`
	Failed   int64     `json:"failed" doc:"Those that could not be."`
	BytesIn  int64     `json:"bytes_in" doc:"From the applications."`
	BytesOut int64     `json:"bytes_out" doc:"To the applications."`
}

// ConnectorPath names a connector.
type ConnectorPath struct {
	Connector string `path:"connector" maxLength:"80" doc:"Id or name."`
}

func (a *API) listConnectors(ctx context.Context, db store.Scope, in *Page) (*ListOutput[Connector], error) {
	items, err := db.Connectors(ctx, in.page())
	if err != nil {
		return nil, err
	}
	views := make(map[behalf.ConnectorID]Connector, len(items))
	for _, c := range items {
		if views[c.ID], err = viewConnector(ctx, db, c); err != nil {
			return nil, err
		}
	}
	return listOf(items, in.Limit, func(c behalf.Connector) string { return string(c.ID) }, func(c behalf.Connector) Connector { return views[c.ID] }), nil
}

func (a *API) createConnector(ctx context.Context, db store.Scope, in *struct{ Body ConnectorBody }) (*Output[NewConnector], error) {
	c, err := db.CreateConnector(ctx, behalf.Connector{Name: in.Body.Name})
	if err != nil {
		return nil, err
	}
	token, err := enrolToken(ctx, db, c)
	if err != nil {
		return nil, err
	}
	v, err := viewConnector(ctx, db, c)
	return output(NewConnector{v, token}), err
}

func (a *API) getConnector(ctx context.Context, db store.Scope, in *ConnectorPath) (*Output[Connector], error) {
	c, err := db.Connector(ctx, in.Connector)
	if err != nil {
		return nil, err
	}
	v, err := viewConnector(ctx, db, c)
	return output(v), err
}

func (a *API) changeConnector(ctx context.Context, db store.Scope, in *struct {
	ConnectorPath
	Body ConnectorChange
}) (*Output[Connector], error) {
	c, err := db.Connector(ctx, in.Connector)
	if err != nil {
		return nil, err
	}
	if in.Body.Enabled != nil {
		c.Enabled = *in.Body.Enabled
		if c, err = db.SaveConnector(ctx, c); err != nil {
			return nil, err
		}
	} else if !db.Actor().May(behalf.WriteConnectors, "") {
		return nil, behalf.Errorf(behalf.CodeForbidden, "This key may not do that (%s).", behalf.WriteConnectors)
	}
	v, err := viewConnector(ctx, db, c)
	return output(v), err
}

func (a *API) deleteConnector(ctx context.Context, db store.Scope, in *ConnectorPath) (*struct{}, error) {
	c, err := db.Connector(ctx, in.Connector)
	if err != nil {
		return nil, err
	}
	return nil, db.DeleteConnector(ctx, c)
}

func (a *API) createEnrolToken(ctx context.Context, db store.Scope, in *ConnectorPath) (*Output[EnrolToken], error) {
	c, err := db.Connector(ctx, in.Connector)
	if err != nil {
		return nil, err
	}
	token, err := enrolToken(ctx, db, c)
	return output(token), err
}

func enrolToken(ctx context.Context, db store.Scope, c behalf.Connector) (EnrolToken, error) {
	token, ends, err := db.EnrolToken(ctx, c)
	return EnrolToken{token.Reveal(), ends}, err
}

func (a *API) deleteConnectorAgent(ctx context.Context, db store.Scope, in *struct {
	ConnectorPath
	Agent string `path:"agent" maxLength:"80"`
}) (*struct{}, error) {
	c, err := db.Connector(ctx, in.Connector)
	if err != nil {
		return nil, err
	}
	return nil, db.RevokeAgent(ctx, c.ID, behalf.AgentID(in.Agent))
}

func (a *API) listConnectorTraffic(ctx context.Context, db store.Scope, in *struct {
	ConnectorPath
	Since time.Time `query:"since" doc:"Default: an hour ago; two weeks are kept."`
}) (*ListOutput[TrafficMinute], error) {
	c, err := db.Connector(ctx, in.Connector)
	if err != nil {
		return nil, err
	}
	if in.Since.IsZero() {
		in.Since = db.Now().Add(-time.Hour)
	}
	items, err := db.ConnectorTraffic(ctx, c.ID, in.Since)
	return listOf(items, 0, nil, func(t behalf.Traffic) TrafficMinute {
		return TrafficMinute{t.At, t.Calls, t.Failed, t.In, t.Out}
	}), err
}

func viewConnector(ctx context.Context, db store.Scope, c behalf.Connector) (Connector, error) {
	agents, err := db.ConnectorAgents(ctx, c.ID)
	if err != nil {
		return Connector{}, err
	}
	tunnels, err := db.ConnectorTunnels(ctx, c.ID)
	if err != nil {
		return Connector{}, err
	}
	v := Connector{ID: string(c.ID), Name: c.Name, Status: string(c.Status(len(tunnels))), Enabled: c.Enabled, Agents: []ConnectorAgent{}, CreatedAt: c.CreatedAt, SeenAt: told(c.SeenAt)}
	for _, a := range agents {
		v.Agents = append(v.Agents, viewAgent(a, tunnels))
	}
	return v, nil
}

func viewAgent(a behalf.ConnectorAgent, tunnels []behalf.Tunnel) ConnectorAgent {
	v := ConnectorAgent{ID: string(a.ID), Status: "new", Hostname: a.Hostname, System: a.System, Version: a.Version, Address: a.Address, Tunnels: []AgentTunnel{}, Allow: []AllowedRow{},
		Fingerprint: tunnel.Fingerprint(a.PublicKey), CreatedAt: a.CreatedAt, SeenAt: told(a.SeenAt)}
	var p tunnel.Published
	if json.Unmarshal(a.Published, &p) == nil {
		for _, r := range p.Rows {
			v.Allow = append(v.Allow, AllowedRow{string(r.Kind), r.Host, int(r.Port)})
		}
	}
	for _, t := range tunnels {
		if t.Agent == a.ID {
			v.Tunnels = append(v.Tunnels, AgentTunnel{t.ID, string(t.Node), t.OpenedAt})
		}
	}
	switch {
	case !a.RevokedAt.IsZero():
		v.Status = "revoked"
	case len(v.Tunnels) > 0:
		v.Status = "connected"
	case !a.SeenAt.IsZero():
		v.Status = "disconnected"
	}
	return v
}
