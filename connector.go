package behalf

import (
	"encoding/json"
	"time"
)

// Connector is a way into a private network: one or more agents that run
// there, and dial out to this server.
type Connector struct {
	ID        ConnectorID
	Name      string // lower-case letters, digits and hyphens; profiles name it
	Enabled   bool
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time
	SeenAt    time.Time // when an agent of it was last attached; zero: never
}

// ConnectorStatus is what the reader of a list can do about a connector.
type ConnectorStatus string

const (
	ConnectorNew          ConnectorStatus = "new"       // no agent has enrolled and connected yet
	ConnectorConnected    ConnectorStatus = "connected" // ready
	ConnectorDisconnected ConnectorStatus = "disconnected"
	ConnectorDisabled     ConnectorStatus = "disabled" // by an administrator
)

// Status returns the connector's status where it has so many tunnels.
func (c Connector) Status(tunnels int) ConnectorStatus {
	switch {
	case !c.Enabled:
		return ConnectorDisabled
	case tunnels > 0:
		return ConnectorConnected
	case c.SeenAt.IsZero():
		return ConnectorNew
	}
	return ConnectorDisconnected
}

// Validate checks what an administrator may set.
func (c Connector) Validate() error {
	var p problems
	if c.Name == "" || Slug(c.Name) != c.Name {
		p.add("name", "Expected lower-case letters, digits and single hyphens, at most 60: profiles and files name the connector by it.")
	}
	return p.err()
}

// ConnectorAgent is one machine that has enrolled for a connector.
type ConnectorAgent struct {
	ID        AgentID
	Connector ConnectorID
	PublicKey []byte // ed25519
	Hostname  string
	Version   string          // of its binary, when it last connected
	System    string          // linux/amd64
	Address   string          // from where it last connected
	Published json.RawMessage // what it said of its allow list and authorities
	CreatedAt time.Time
	SeenAt    time.Time // zero: it has never connected
	RevokedAt time.Time // zero: it may connect
}

// Tunnel is one agent's connection to one node.
type Tunnel struct {
	ID        string
	Connector ConnectorID
	Agent     AgentID
	Node      NodeID
	OpenedAt  time.Time
}

// Traffic is what has gone through a connector in one minute.
type Traffic struct {
	At      time.Time // the minute's beginning
	Calls   int64     // connections that were opened
	Failed  int64     // that could not be
	In, Out int64     // bytes from the applications, and to them
}

// ConnectorCode returns the code of an error that a connector met.
func ConnectorCode(code string) Code {
	switch c := Code(code); c {
	case CodeConnectorNotConnected, CodeConnectorLost, CodeConnectorLimited, CodeConnectorNotAllowed, CodeConnectorNotResolved, CodeConnectorRefused,
		CodeConnectorUnreachable, CodeConnectorTLS:
		return c
	}
	return CodeConnectorLost
}

// ConnectorName returns the connector that carries the profile's calls, or "".
func (d Definition) ConnectorName() string {
	if d.Connector == nil {
		return ""
	}
	return *d.Connector
}
