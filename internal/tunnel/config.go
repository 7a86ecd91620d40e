package tunnel

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/behalf-dev/behalf/internal/secret"
)

// Config is what the administrator of a private network writes for its agent.
type Config struct {
	Server      string   `yaml:"server"`       // https://behalf.example.com
	ServerCAs   []string `yaml:"server_cas"`   // files; besides the system's
	Identity    string   `yaml:"identity"`     // the file that enrolment makes; default agent.json beside this file
	Allow       []Row    `yaml:"allow"`        // nothing else is reached
	CAs         []string `yaml:"cas"`          // files: of the applications inside
	SystemRoots *bool    `yaml:"system_roots"` // default true: applications may also have a certificate of a public authority
	Proxy       *Proxy   `yaml:"proxy"`        // default: HTTPS_PROXY and NO_PROXY of the environment
	Audit       string   `yaml:"audit"`        // a file; default standard output
	Memory      string   `yaml:"memory"`       // such as 32MiB: what the agent may use besides its program; default by its cgroup

	dir    string
	cas    []string // PEM
	memory int64
}

// Proxy is the corporate HTTP proxy through which the server is reached.
type Proxy struct {
	URL      string `yaml:"url"` // http://proxy.corp.example:3128
	Username string `yaml:"username"`
	Password string `yaml:"password"` // or file:PATH
}

// ReadConfig reads a configuration file. An error says where in it.
func ReadConfig(name string) (*Config, error) {
	raw, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("connector configuration: there is none at %s; behalf connector enrol makes one", name)
	}
	if err != nil {
		return nil, fmt.Errorf("connector configuration: %w", err)
	}
	c, err := parseConfig(raw, filepath.Dir(name))
	if err != nil {
		return nil, fmt.Errorf("%s:%w", name, err)
	}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// parseConfig reads and checks the text, and opens no other file.
func parseConfig(raw []byte, dir string) (*Config, error) {
	if len(raw) > 1<<20 {
		return nil, errors.New(" it is larger than 1 MiB")
	}
	c := &Config{dir: dir}
	if err := yaml.UnmarshalWithOptions(raw, c, yaml.Strict()); err != nil && len(bytes.TrimSpace(raw)) > 0 {
		return nil, placed(err)
	}
	if c.Identity == "" {
		c.Identity = "agent.json"
	}
	c.Identity = c.path(c.Identity)
	if path, wrong := c.check(); wrong != "" {
		return nil, position(raw, path, wrong)
	}
	return c, nil
}

func (c *Config) check() (path, wrong string) {
	if c.Server != "" {
		if _, err := ServerURL(c.Server); err != nil {
			return "server", err.Error()
		}
	}
	if c.Proxy != nil {
		u, err := url.Parse(c.Proxy.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return "proxy.url", "Expected http://host:port."
		}
		if u.User != nil {
			return "proxy.url", "Expected no user name in it: username and password have keys of their own."
		}
	}
	if c.Memory != "" {
		n, ok := parseSize(c.Memory)
		if !ok || n < leastMemory {
			return "memory", "Expected a size of 16MiB or more, such as 32MiB."
		}
		c.memory = n
	}
	for i := range c.Allow {
		if key, wrong := c.Allow[i].prepare(); wrong != "" {
			at := "allow[" + strconv.Itoa(i) + "]"
			if key != "" {
				at += "." + key
			}
			return at, wrong
		}
	}
	return "", ""
}

// load reads the certificates that the configuration names, and what memory there
// is where it names none.
func (c *Config) load() error {
	if c.memory == 0 {
		c.memory = memoryBy(os.DirFS("/"))
	}
	for _, name := range c.CAs {
		pem, err := readCAs(c.path(name))
		if err != nil {
			return fmt.Errorf("cas: %w", err)
		}
		c.cas = append(c.cas, pem)
	}
	for i := range c.Allow {
		if _, err := c.rowTLS(&c.Allow[i]); err != nil {
			return fmt.Errorf("allow[%d]: %w", i, err)
		}
	}
	_, err := c.serverRoots()
	return err
}

func readCAs(name string) (string, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(raw) {
		return "", fmt.Errorf("%s holds no certificate in PEM form", name)
	}
	return string(raw), nil
}

// roots returns the authorities that applications are checked against.
func (c *Config) roots(files []string) (*x509.CertPool, error) {
	pems := c.cas
	if len(files) > 0 {
		pems = nil
		for _, name := range files {
			pem, err := readCAs(c.path(name))
			if err != nil {
				return nil, err
			}
			pems = append(pems, pem)
		}
	}
	return Roots(pems, c.SystemRoots == nil || *c.SystemRoots)
}

// Roots makes a pool of certificates in PEM form; nil stands for the system's alone.
func Roots(pems []string, system bool) (*x509.CertPool, error) {
	if len(pems) == 0 && system {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if system {
		if s, err := x509.SystemCertPool(); err == nil {
			pool = s
		}
	}
	for _, pem := range pems {
		if !pool.AppendCertsFromPEM([]byte(pem)) {
			return nil, errors.New("not a certificate in PEM form")
		}
	}
	return pool, nil
}

func (c *Config) serverRoots() (*x509.CertPool, error) {
	if len(c.ServerCAs) == 0 {
		return nil, nil
	}
	var pems []string
	for _, name := range c.ServerCAs {
		pem, err := readCAs(c.path(name))
		if err != nil {
			return nil, fmt.Errorf("server_cas: %w", err)
		}
		pems = append(pems, pem)
	}
	return Roots(pems, true)
}

// rowTLS returns how an http row speaks TLS.
func (c *Config) rowTLS(r *Row) (*tls.Config, error) {
	if r.kind != HTTP || r.plain {
		return nil, nil
	}
	roots, err := c.roots(r.CAs)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{RootCAs: roots, ServerName: r.ServerName, NextProtos: []string{"http/1.1"}}
	if r.Certificate != nil {
		pair, err := tls.LoadX509KeyPair(c.path(r.Certificate.Certificate), c.path(r.Certificate.Key))
		if err != nil {
			return nil, fmt.Errorf("client_certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// proxyPassword reads the password of the corporate proxy.
func (c *Config) proxyPassword() (secret.Text, error) {
	name, ok := strings.CutPrefix(c.Proxy.Password, "file:")
	if !ok {
		return secret.New(c.Proxy.Password), nil
	}
	raw, err := os.ReadFile(c.path(name))
	if err != nil {
		return secret.Text{}, fmt.Errorf("proxy.password: %w", err)
	}
	return secret.New(strings.TrimSpace(string(raw))), nil
}

// path is a file of the configuration: relative to where that lies.
func (c *Config) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.dir, name)
}

// published is what the server is told of the configuration.
func (c *Config) published() Published {
	p := Published{CAs: c.cas, SystemRoots: c.SystemRoots == nil || *c.SystemRoots, Rows: []PublishedRow{}}
	for _, r := range c.Allow {
		p.Rows = append(p.Rows, PublishedRow{r.kind, r.target.Host, r.target.Port})
	}
	return p
}

// ServerURL checks the address of a server: TLS, except on this machine itself.
func ServerURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != "":
		return nil, errors.New("expected the server's URL, such as https://behalf.example.com")
	case u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())):
		return nil, errors.New("expected https: without TLS the agent cannot know who answers")
	}
	u.Path = ""
	return u, nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

func parseSize(s string) (int64, bool) {
	for unit, n := range map[string]int64{"MiB": 1 << 20, "GiB": 1 << 30, "MB": 1e6, "GB": 1e9} {
		if number, ok := strings.CutSuffix(s, unit); ok {
			v, err := strconv.ParseInt(strings.TrimSpace(number), 10, 32)
			return v * n, err == nil && v > 0
		}
	}
	return 0, false
}

// placed turns an error of the YAML reader into "12:3: text".
func placed(err error) error {
	var y yaml.Error
	if errors.As(err, &y) {
		if t := y.GetToken(); t != nil {
			return fmt.Errorf("%d:%d: %s", t.Position.Line, t.Position.Column, y.GetMessage())
		}
		return errors.New(" " + y.GetMessage())
	}
	return errors.New(" it is not valid YAML")
}

// position finds where in the text a key stands.
func position(raw []byte, path, wrong string) error {
	where := ""
	if p, err := yaml.PathString("$." + path); err == nil {
		if node, err := p.ReadNode(bytes.NewReader(raw)); err == nil && node.GetToken() != nil {
			at := node.GetToken().Position
			where = fmt.Sprintf("%d:%d", at.Line, at.Column)
		}
	}
	return fmt.Errorf("%s: %s: %s", where, path, wrong)
}
