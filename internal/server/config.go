package server

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/behalf-dev/behalf/internal/console"
	"github.com/behalf-dev/behalf/internal/secret"
)

// Config is what an operator decides.
type Config struct {
	Listen       string         // host:port; port 0 takes a free one
	PublicURL    string         // as browsers and providers reach us; empty: the listener's, on loopback only
	DataDir      string         // root key and, by default, the SQLite database
	Database     string         // sqlite:PATH or postgres://…; empty: DataDir's behalf.db
	RootKey      secret.Text    // instead of DataDir's root.key: the key itself, or the URI of a key that holds it (package kms)
	KMSToken     secret.Text    // for Vault or OpenBao
	KMSWait      time.Duration  // how long a key management service that is away at start is asked again; default 5 s
	AllowPrivate []netip.Prefix // private addresses that profiles may reach
	Grace        time.Duration  // for how long tokens that are good are given out without the database; default 5 minutes, below zero: not at all
	AuditKeep    time.Duration  // how long audit lines are kept; 0: for ever
	AuditLines   int64          // how many audit lines are kept; 0: all
	SSO          console.SSO    // single sign-on to the console
	Temporary    bool           // the data goes when the server stops: nobody is told to keep the root key
	OnDemand     bool           // tokens are renewed when somebody asks for them, not before
	Catalog      fs.FS          // known applications of the operator's own, beside those in the binary; nil: none
	StopTimeout  time.Duration  // default 35 s: longer than a request to a provider may take
	Version      string
	Log          *slog.Logger
	Now          func() time.Time // default time.Now: the one place where it is called

	// Where this node listens for other nodes of the same database, and where these
	// reach it; both have defaults that fit one machine or one network.
	InternalListen, InternalAddress string
}

func (c Config) checked() (Config, error) {
	if c.DataDir == "" && (c.Database == "" || c.RootKey.Empty()) {
		return c, errors.New("a data directory is needed for the database or the root key: set --data or BEHALF_DATA")
	}
	if c.Database == "" {
		c.Database = "sqlite:" + filepath.Join(c.DataDir, "behalf.db")
	}
	if c.KMSWait == 0 {
		c.KMSWait = 5 * time.Second
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = 35 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.InternalListen == "" {
		c.InternalListen = c.internalListen()
	}
	return c, c.SSO.Check()
}

func (c Config) ownProviders() []fs.FS {
	if c.Catalog == nil {
		return nil
	}
	return []fs.FS{c.Catalog}
}

// internalListen is where other nodes are listened for: on one machine, that
// machine alone; with PostgreSQL wherever the server itself is reached.
func (c Config) internalListen() string {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil || strings.HasPrefix(c.Database, "sqlite:") {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, "0")
}

// internalAddress is what other nodes are told: a listener on all addresses has
// none of its own, so it is the first that others can reach.
func (c Config) internalAddress(listening net.Addr) string {
	at, err := netip.ParseAddrPort(listening.String())
	if c.InternalAddress != "" || err != nil {
		return c.InternalAddress
	}
	if !at.Addr().IsUnspecified() {
		return at.String()
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	best := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port())
	for _, a := range own {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || !p.Addr().IsGlobalUnicast() {
			continue
		}
		if best.Addr().IsLoopback() || p.Addr().Is4() && !best.Addr().Is4() {
			best = netip.AddrPortFrom(p.Addr(), at.Port())
		}
	}
	return best.String()
}

// publicURL checks the operator's, or makes one of the listener's address. By
// plain http only this machine itself may be reached: cookies and codes travel
// there.
func (c Config) publicURL(listening net.Addr) (*url.URL, error) {
	raw := c.PublicURL
	if raw == "" {
		raw = "http://" + listening.String()
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the public URL must be an absolute URL such as https://behalf.example.com")
	case strings.Trim(u.Path, "/") != "":
		return nil, errors.New("the public URL must not have a path: give Behalf a host name of its own")
	case u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())):
		return nil, errors.New("the public URL must be https, except on this machine itself (set --public-url or BEHALF_PUBLIC_URL)")
	}
	u.Path = ""
	return u, nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (c Config) rootKeyFile() string { return filepath.Join(c.DataDir, "root.key") }
