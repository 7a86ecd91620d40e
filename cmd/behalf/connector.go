package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"text/template"
	"time"

	"github.com/behalf-dev/behalf/internal/tunnel"
)

// connectorCommand is the agent's side of a connector.
type connectorCommand struct {
	Enrol   enrolCommand           `cmd:"" help:"Make this machine an agent of a connector, with a one-time token."`
	Run     runCommand             `cmd:"" help:"Run the agent: it dials out to the server and opens nothing here."`
	Status  connectorStatusCommand `cmd:"" help:"Check configuration and identity, and whether the server takes this agent."`
	Service serviceCommand         `cmd:"" help:"Print a service file for systemd, launchd or Windows."`
}

// agentFile is the configuration of an agent, for all its commands.
type agentFile struct {
	File string `help:"The agent's configuration: allow list, authorities, proxy." name:"file" short:"f" default:"connector.yaml" env:"BEHALF_CONNECTOR_FILE" type:"path"`
}

type enrolCommand struct {
	agentFile
	Server string     `help:"URL of the server (default: server in the configuration)." env:"BEHALF_URL"`
	Token  secretFlag `help:"Enrolment token, or file:PATH." env:"BEHALF_ENROL_TOKEN" placeholder:"TOKEN" required:""`
}

//go:embed connector.yaml
var exampleConnector string

// Run makes a key, and a configuration that allows nothing where there is none.
// That stays only where the server took the agent: it names the server.
func (c *enrolCommand) Run(ctx context.Context) error {
	wrote, err := c.begin()
	if err != nil {
		return err
	}
	if err := c.enrol(ctx); err != nil {
		if wrote {
			_ = os.Remove(c.File)
		}
		return err
	}
	return nil
}

// begin writes a configuration where there is none, and reports whether it did.
func (c *enrolCommand) begin() (wrote bool, err error) {
	if _, err := os.Stat(c.File); !errors.Is(err, fs.ErrNotExist) {
		return false, nil // what else is wrong with it is told when it is read
	}
	if c.Server == "" {
		return false, errors.New("where is the server? set --server")
	}
	if err := os.MkdirAll(filepath.Dir(c.File), 0o755); err != nil {
		return false, err
	}
	text := strings.Replace(exampleConnector, "https://behalf.example.com", strings.TrimSuffix(c.Server, "/"), 1)
	return true, os.WriteFile(c.File, []byte(text), 0o644)
}

func (c *enrolCommand) enrol(ctx context.Context) error {
	cfg, err := tunnel.ReadConfig(c.File)
	if err != nil {
		return err
	}
	server := c.Server
	if server == "" {
		server = cfg.Server
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	id, err := tunnel.Enrol(ctx, cfg, server, c.Token.Text)
	if err != nil {
		return err
	}
	fmt.Printf("enrolled as %s of connector %s; the key is in %s\nNow list what may be reached in %s, and start: behalf connector run -f %s\n", id.Agent, id.Connector, cfg.Identity, c.File, c.File)
	return nil
}

type runCommand struct {
	agentFile
	LogLevel string `help:"debug, info, warn or error." enum:"debug,info,warn,error" default:"info" env:"BEHALF_LOG_LEVEL"`
}

// Run serves until it is told to stop, and then lets calls under way end.
func (c *runCommand) Run(ctx context.Context) error {
	log, err := newLog(c.LogLevel)
	if err != nil {
		return err
	}
	cfg, id, err := c.load()
	if err != nil {
		return err
	}
	audit, closeAudit, err := openAudit(cfg)
	if err != nil {
		return err
	}
	defer closeAudit()
	cfg.HoldMemory()
	a, err := tunnel.NewAgent(tunnel.AgentConfig{Config: cfg, Identity: id, Version: versionOf(), Log: log, Audit: audit, Now: time.Now})
	if err != nil {
		return err
	}
	log.Info("agent started", "connector", id.Connector, "agent", id.Agent, "rows", len(cfg.Allow), "version", versionOf())
	err = a.Run(ctx)
	log.Info("agent stopped")
	return err
}

func (c *agentFile) load() (*tunnel.Config, tunnel.Identity, error) {
	cfg, err := tunnel.ReadConfig(c.File)
	if err != nil {
		return nil, tunnel.Identity{}, err
	}
	id, err := tunnel.LoadIdentity(cfg.Identity)
	return cfg, id, err
}

func openAudit(cfg *tunnel.Config) (io.Writer, func(), error) {
	name := cfg.AuditFile()
	if name == "" {
		return os.Stdout, func() {}, nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, nil, fmt.Errorf("audit log: %w", err)
	}
	return f, func() { _ = f.Close() }, nil
}

type connectorStatusCommand struct{ agentFile }

// Run does everything that the agent does before it opens its tunnel, and then
// closes it.
func (c *connectorStatusCommand) Run(ctx context.Context) error {
	cfg, id, err := c.load()
	if err != nil {
		return err
	}
	fmt.Printf("configuration  %s: %s allowed\n", c.File, counted(int64(len(cfg.Allow)), "row", "rows"))
	fmt.Printf("identity       %s of connector %s\n", id.Agent, id.Connector)
	a, err := tunnel.NewAgent(tunnel.AgentConfig{Config: cfg, Identity: id, Version: versionOf(), Log: slog.New(slog.DiscardHandler), Audit: io.Discard, Now: time.Now})
	if err != nil {
		return err
	}
	if err := a.Probe(ctx); err != nil {
		return fmt.Errorf("server         %s: %w", id.Server, err)
	}
	fmt.Printf("server         %s takes this agent\n", id.Server)
	return nil
}

type serviceCommand struct {
	agentFile
	System string `arg:"" optional:"" help:"systemd, launchd or windows (default: this machine's)." enum:"systemd,launchd,windows," default:""`
	Binary string `help:"Path of the behalf binary (default: this one)." type:"path"`
	User   string `help:"User that the agent runs as." default:"behalf"`
}

//go:embed service/behalf-connector.service
var systemdService string

//go:embed service/dev.behalf.connector.plist
var launchdService string

//go:embed service/behalf-connector.ps1
var windowsService string

// Run prints the file; where it goes stands in its first lines.
func (c *serviceCommand) Run() error {
	system := c.System
	if system == "" {
		system = map[string]string{"darwin": "launchd", "windows": "windows"}[runtime.GOOS]
	}
	text := map[string]string{"": systemdService, "systemd": systemdService, "launchd": launchdService, "windows": windowsService}[system]
	if c.Binary == "" {
		own, err := os.Executable()
		if err != nil {
			return err
		}
		c.Binary = own
	}
	for _, s := range []string{c.Binary, c.File, c.User} {
		if strings.ContainsAny(s, "\"'<>&\n\r`$") {
			return errors.New("paths and user must not hold quotes, angle brackets, ampersands, backquotes or dollar signs: they would mean something in the service file")
		}
	}
	t, err := template.New("service").Parse(text)
	if err != nil {
		return err
	}
	return t.Execute(os.Stdout, map[string]string{"Binary": c.Binary, "File": c.File, "User": c.User, "Dir": filepath.Dir(c.File)})
}
