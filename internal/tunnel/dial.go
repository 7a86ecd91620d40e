package tunnel

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"
)

const (
	handshakeTime = 15 * time.Second
	maxHandshake  = 512 << 10 // CAs are in it
)

// client returns the way to the server: over TLS, and through the corporate
// proxy where there is one.
func (c *Config) client(server *url.URL) (*http.Client, error) {
	roots, err := c.serverRoots()
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: roots, NextProtos: []string{"http/1.1"}},
		TLSHandshakeTimeout: 10 * time.Second,
		DisableKeepAlives:   true,
	}
	if c.Proxy != nil {
		u, err := url.Parse(c.Proxy.URL)
		if err != nil {
			return nil, errors.New("proxy.url is not a URL")
		}
		if c.Proxy.Username != "" {
			password, err := c.proxyPassword()
			if err != nil {
				return nil, err
			}
			u.User = url.UserPassword(c.Proxy.Username, password.Reveal())
		}
		t.Proxy = http.ProxyURL(u)
	}
	if server.Scheme == "http" { // this machine itself
		t.Proxy = nil
	}
	return &http.Client{Transport: t, Timeout: 0, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("the server redirects: give its own address")
	}}, nil
}

// refusedError is the server's no to an agent.
type refusedError struct{ why string }

func (e *refusedError) Error() string { return "the server refused: " + e.why }

// attach opens the tunnel and proves who we are.
func (a *Agent) attach(ctx context.Context, probe bool) (*websocket.Conn, challenge, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	var c challenge
	ws, res, err := websocket.Dial(ctx, a.server.String()+PathTunnel, &websocket.DialOptions{HTTPClient: a.client, Subprotocols: []string{Subprotocol}, CompressionMode: websocket.CompressionDisabled})
	switch {
	case err != nil && res != nil && res.StatusCode != http.StatusSwitchingProtocols:
		return nil, c, fmt.Errorf("the server answered %s instead of opening a tunnel", res.Status)
	case err != nil:
		return nil, c, fmt.Errorf("the server could not be reached: %w", plainURL(err))
	case ws.Subprotocol() != Subprotocol:
		_ = ws.CloseNow()
		return nil, c, fmt.Errorf("the server does not speak %s: update it or this agent", Subprotocol)
	}
	ws.SetReadLimit(maxHandshake)
	if err := a.prove(ctx, ws, &c, probe); err != nil {
		_ = ws.CloseNow()
		return nil, c, err
	}
	return ws, c, nil
}

func (a *Agent) prove(ctx context.Context, ws *websocket.Conn, c *challenge, probe bool) error {
	if err := receive(ctx, ws, c); err != nil {
		return err
	}
	p := proof{Agent: a.cfg.Identity.Agent, Host: a.server.Host, Window: agentWindow, Published: a.published, Probe: probe}
	p.Signature = ed25519.Sign(a.cfg.Identity.Key, p.signed(c.Nonce))
	if err := transmit(ctx, ws, p); err != nil {
		return err
	}
	var v verdict
	if err := receive(ctx, ws, &v); err != nil {
		return err
	}
	if v.Refused != "" {
		return &refusedError{v.Refused}
	}
	return nil
}

func receive(ctx context.Context, ws *websocket.Conn, v any) error {
	_, raw, err := ws.Read(ctx)
	if err != nil {
		return fmt.Errorf("the handshake broke off: %w", err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return errors.New("the handshake is malformed")
	}
	return nil
}

func transmit(ctx context.Context, ws *websocket.Conn, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := ws.Write(ctx, websocket.MessageText, raw); err != nil {
		return fmt.Errorf("the handshake broke off: %w", err)
	}
	return nil
}

// plainURL drops the URL from an error of net/http: that of a proxy may hold a
// password.
func plainURL(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	if strings.Contains(err.Error(), "Proxy Authentication Required") {
		return errors.New("the corporate proxy asks for a user name and password, or refuses these (407): see proxy in the configuration")
	}
	return err
}
