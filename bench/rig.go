package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/testdb"
)

// rig is everything that is measured, running.
type rig struct {
	options
	dir   string
	notes []string // what could not be measured here, and why

	binary   string
	bare     *process // answers 1 KB
	upstream *process // the application
	tokens   *process // a token endpoint
	reverse  *process // httputil.ReverseProxy before it
	nginx    *process // nil where it is not installed
	products []*product
	tunnelled
	postgres *testdb.Server
	stopping []func()
}

// product is the server on one of its databases.
type product struct {
	*process
	seeded
	database    string // as the report calls it
	dataDir     string
	databaseURL string // empty: SQLite in the data directory
}

func (r *rig) start(ctx context.Context) error {
	if r.only == "tunnel" { // which needs no server
		return r.startLimits(ctx)
	}
	r.progress("building")
	if err := r.build(ctx); err != nil {
		return err
	}
	if err := r.startLimits(ctx); err != nil {
		return err
	}
	var err error
	if r.postgres, err = testdb.Start(); err != nil {
		return err
	}
	r.stopping = append(r.stopping, r.postgres.Stop)
	url, err := r.postgres.Create("behalf")
	if err != nil {
		return err
	}
	for _, p := range []*product{{database: "SQLite"}, {database: "PostgreSQL", databaseURL: url}} {
		if err := r.startProduct(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// stop ends everything that start started, the last first.
func (r *rig) stop() {
	for _, stop := range slices.Backward(r.stopping) {
		stop()
	}
}

// build makes the binary as it is released: with the flags of `make build`.
func (r *rig) build(ctx context.Context) error {
	r.binary = filepath.Join(r.dir, "behalf")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", r.binary, "github.com/behalf-dev/behalf/cmd/behalf")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, output)
	}
	return nil
}

func (r *rig) startLimits(ctx context.Context) (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if r.bare, err = r.run(ctx, "bare handler", self, "-serve", limitToken); err != nil {
		return err
	}
	if r.upstream, err = r.run(ctx, "application", self, "-serve", limitUpstream); err != nil {
		return err
	}
	if r.reverse, err = r.run(ctx, "ReverseProxy", self, "-serve", limitProxy, "-to", r.upstream.url); err != nil {
		return err
	}
	if r.tokens, err = r.run(ctx, "token endpoint", self, "-serve", limitRefresh); err != nil {
		return err
	}
	path, err := exec.LookPath("nginx")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/nginx") // where Debian has it, outside a user's PATH
	}
	if err != nil {
		r.notes = append(r.notes, "nginx is not installed, and not compared with")
		return nil
	}
	return r.startNginx(ctx, path)
}

func (r *rig) run(ctx context.Context, name, path string, args ...string) (*process, error) {
	p, err := start(ctx, name, path, args...)
	if err == nil {
		r.stopping = append(r.stopping, p.stop)
	}
	return p, err
}

// nginxConfig makes nginx do what the ReverseProxy does. It keeps connections
// on both sides for ever, as the others do.
const nginxConfig = `daemon off;
worker_processes auto;
pid %[1]s/pid;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	keepalive_requests 100000000;
	upstream application {
		server %[2]s;
		keepalive 256;
		keepalive_requests 100000000;
	}
	server {
		listen %[3]s;
		location / {
			proxy_pass http://application;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Authorization "Bearer %[4]s";
		}
	}
}
`

func (r *rig) startNginx(ctx context.Context, path string) error {
	dir := filepath.Join(r.dir, "nginx")
	// nginx cannot say which port it was given: this one may be taken by
	// somebody else, and then it ends and says so.
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	host := free.Addr().String()
	file := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(nginxConfig, dir, r.upstream.host(), host, strings.Repeat("x", tokenLength))
	if err := errors.Join(free.Close(), os.Mkdir(dir, 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
		return err
	}
	p := &process{name: "nginx", url: "http://" + host, exited: make(chan struct{}), said: &tail{}}
	p.cmd = exec.Command(path, "-p", dir, "-c", file, "-e", filepath.Join(dir, "log"))
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true} // its workers must end, too
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() { _ = p.cmd.Wait(); close(p.exited) }()
	r.nginx, r.stopping = p, append(r.stopping, p.stop)
	if err := answers(ctx, p.url+"/small"); err != nil {
		return fmt.Errorf("%w\n%s", err, p.said)
	}
	return nil
}

func (r *rig) startProduct(ctx context.Context, p *product) (err error) {
	r.progress("filling %s with %d connections", p.database, r.users)
	p.dataDir = filepath.Join(r.dir, p.database)
	if err := os.Mkdir(p.dataDir, 0o700); err != nil {
		return err
	}
	if p.seeded, err = seed(ctx, config(p.dataDir, p.databaseURL), r.upstream.url, r.users); err != nil {
		return fmt.Errorf("fill %s: %w", p.database, err)
	}
	if p.process, err = r.serve(ctx, p); err != nil {
		return err
	}
	r.products = append(r.products, p)
	r.stopping = append(r.stopping, func() { p.process.stop() })
	return answers(ctx, p.process.url+"/readyz")
}

func (r *rig) serve(ctx context.Context, p *product) (*process, error) {
	args := []string{"serve", "--listen", "127.0.0.1:0", "--data", p.dataDir, "--allow-private", "127.0.0.0/8"}
	if p.databaseURL != "" {
		args = append(args, "--database", p.databaseURL)
	}
	return start(ctx, "behalf on "+p.database, r.binary, args...)
}

// config is the server's, for filling its database.
func config(dataDir, database string) server.Config {
	return server.Config{DataDir: dataDir, Database: database, Log: silent()}
}
