package server

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/vault"
)

// Config is what an operator decides.
type Config struct {
	Listen       string         // host:port; port 0 takes a free one
	PublicURL    string         // as browsers and providers reach us; empty: the listener's, on loopback only
	DataDir      string         // root key and, by default, the SQLite database
	Database     string         // sqlite:PATH or postgres://…; empty: DataDir's behalf.db
	RootKey      secret.Text    // instead of DataDir's root.key
	AllowPrivate []netip.Prefix // private addresses that profiles may reach
	StopTimeout  time.Duration  // default 35 s: longer than a request to a provider may take
	Version      string
	Log          *slog.Logger
	Now          func() time.Time // default time.Now: the one place where it is called
}

func (c Config) checked() (Config, error) {
	if c.DataDir == "" && (c.Database == "" || c.RootKey.Empty()) {
		return c, errors.New("a data directory is needed for the database or the root key: set --data or BEHALF_DATA")
	}
	if c.Database == "" {
		c.Database = "sqlite:" + filepath.Join(c.DataDir, "behalf.db")
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = 35 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
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

// rootKey returns the operator's key, or makes one for a database that has no
// keyring yet. A database that has one is never given another key.
func (c Config) rootKey(keyring bool) (vault.RootKey, error) {
	if !c.RootKey.Empty() {
		return vault.ParseRootKey(c.RootKey)
	}
	if c.DataDir == "" {
		return vault.RootKey{}, errors.New("no root key: set BEHALF_ROOT_KEY, or --data to where root.key is")
	}
	key, err := vault.LoadRootKey(c.rootKeyFile())
	switch {
	case err == nil || !errors.Is(err, fs.ErrNotExist):
		return key, err
	case keyring:
		return key, fmt.Errorf("the database is sealed with a root key, and there is none at %s: put back the file that this database was made with; a new key could not open it", c.rootKeyFile())
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return key, fmt.Errorf("make the data directory: %w", err)
	}
	key, err = vault.CreateRootKey(c.rootKeyFile())
	if errors.Is(err, fs.ErrExist) {
		return vault.LoadRootKey(c.rootKeyFile()) // another node made it a moment ago
	}
	if err == nil {
		c.Log.Warn("made a root key: back it up apart from the database, without it nothing can be opened", "file", c.rootKeyFile())
	}
	return key, err
}
