// Package tunnel carries connections between the server and agents inside
// private networks.
//
// An agent dials out: a WebSocket over TLS, and inside it a yamux session in
// which the server opens a stream for each connection that it wants. The rules
// are:
//
//   - The agent's own allow list decides, and denies what it does not hold. What
//     the server asks for is only a wish.
//   - An agent proves its key over a nonce of this server and over the name by
//     which it reached it: what it signs for one server is nothing to another.
//   - Nobody sends more than the other side has granted, stream by stream, and
//     both sides grant from a budget in bytes. Who sends more is cut off.
//   - An error says on which side of the tunnel a connection failed.
package tunnel

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// Subprotocol is the name and version of what is spoken inside the WebSocket.
const Subprotocol = "behalf-tunnel.1"

// Addresses of the server that agents use.
const (
	PathTunnel = "/connector/tunnel"
	PathEnrol  = "/connector/enrol"
)

// Kind says who speaks TLS to the application.
type Kind string

const (
	TCP  Kind = "tcp"  // bytes pass as they are: TLS is the server's
	HTTP Kind = "http" // the agent speaks HTTP to the application, and TLS where it has it
)

// Target is what the server wishes to reach.
type Target struct {
	Kind Kind   `json:"kind"`
	Host string `json:"host"`
	Port uint16 `json:"port"`
}

// Address returns host:port.
func (t Target) Address() string { return net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port))) }

// ParseTarget reads host:port.
func ParseTarget(kind Kind, address string) (Target, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return Target{}, errors.New("not host:port")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || host == "" {
		return Target{}, errors.New("not host:port")
	}
	return Target{kind, host, uint16(n)}, nil
}

// Code says on which side, and at which step, a connection failed.
type Code string

const (
	NotConnected Code = "connector_not_connected" // no agent has a tunnel to any node
	Lost         Code = "connector_lost"          // the tunnel broke
	Limited      Code = "connector_limited"       // the agent's memory budget is used up
	NotAllowed   Code = "connector_not_allowed"   // the agent's allow list
	NotResolved  Code = "connector_not_resolved"  // the name, inside
	Refused      Code = "connector_refused"       // the application's machine
	Unreachable  Code = "connector_unreachable"   // the network inside
	Untrusted    Code = "connector_tls"           // the application's certificate, to the agent
)

var words = map[Code]string{
	NotConnected: "the connector is not connected: no agent of it has a tunnel to this server",
	Lost:         "the tunnel to the connector broke",
	Limited:      "the connector has no room for another connection now",
	NotAllowed:   "the connector does not allow it: its own allow list does not hold this host, port, method or path",
	NotResolved:  "the name could not be resolved inside the connector's network",
	Refused:      "the connection was refused inside the connector's network",
	Unreachable:  "the application did not answer inside the connector's network",
	Untrusted:    "the connector does not trust the application's TLS certificate, or the application refused the connector's",
}

// Error is why there is no connection through a tunnel. Its text is safe for
// anybody; what it wraps is for the log.
type Error struct {
	Code Code
	Err  error
}

func (e *Error) Error() string {
	if w, ok := words[e.Code]; ok {
		return w
	}
	return "the connector failed"
}

// Unwrap returns what is for the log.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first Error in err's chain, or "".
func CodeOf(err error) Code {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// Published is what an agent tells of itself when it connects.
type Published struct {
	Version     string         `json:"version"`
	System      string         `json:"system"` // linux/amd64
	Hostname    string         `json:"hostname"`
	Rows        []PublishedRow `json:"rows"`
	CAs         []string       `json:"cas,omitempty"` // PEM: of applications for which the server does TLS
	SystemRoots bool           `json:"system_roots"`  // besides CAs
}

// PublishedRow is a row of the allow list, as far as the server has to know it.
type PublishedRow struct {
	Kind Kind   `json:"kind"`
	Host string `json:"host"` // a name, or *.suffix
	Port uint16 `json:"port"`
}

// Kind returns how a host and port are reached, and whether the agent has said
// that they are.
func (p Published) Kind(host string, port uint16) (Kind, bool) {
	for _, r := range p.Rows {
		if r.Port == port && matchHost(r.Host, host) {
			return r.Kind, true
		}
	}
	return TCP, false
}

// The handshake: the server's challenge, the agent's proof, the server's answer.
type (
	challenge struct {
		Nonce  string `json:"nonce"`
		Window uint32 `json:"window"` // what the agent may send on a new stream
	}
	proof struct {
		Agent     string          `json:"agent"`
		Host      string          `json:"host"` // as the agent has dialled us
		Window    uint32          `json:"window"`
		Published json.RawMessage `json:"published"`
		Probe     bool            `json:"probe,omitempty"` // it only wants to know whether it would be let in
		Signature []byte          `json:"signature"`
	}
	verdict struct {
		Tunnel    string `json:"tunnel,omitempty"`
		Connector string `json:"connector,omitempty"`
		Refused   string `json:"refused,omitempty"` // why, for the agent's log
	}
)

// signed is what an agent signs.
func (p proof) signed(nonce string) []byte {
	published := sha256.Sum256(p.Published)
	b, _ := json.Marshal([]string{Subprotocol, nonce, p.Host, p.Agent, strconv.Itoa(int(p.Window)), strconv.FormatBool(p.Probe), base64.RawStdEncoding.EncodeToString(published[:])}) // strings always marshal
	return b
}

// maxHead bounds what begins a stream: a target, or the answer to it.
const maxHead = 2048

// opened is the agent's answer to a target.
type opened struct {
	Code Code `json:"code,omitempty"` // empty: the stream is connected
}

// writeHead sends v as a length and JSON.
func writeHead(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(body) > maxHead {
		return errors.New("tunnel: the head of a stream is too long")
	}
	_, err = w.Write(append([]byte{byte(len(body) >> 8), byte(len(body))}, body...))
	return err
}

// readHead reads what writeHead sent.
func readHead(r io.Reader, v any) error {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	n := int(size[0])<<8 | int(size[1])
	if n > maxHead {
		return errors.New("tunnel: the head of a stream is too long")
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("tunnel: the head of a stream is malformed: %w", err)
	}
	return nil
}
