// Command behalf is the whole product: the server, its demo, and the tools to
// use and look after it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set by the build; a build without it names its module's version.
var version = ""

func versionOf() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

type commands struct {
	Show   showVersion     `name:"version" help:"Print the version."`
	Config kong.ConfigFlag `help:"YAML file with any of the flags, by name. Environment and flags come before it." placeholder:"FILE" env:"BEHALF_CONFIG"`

	Demo  demoCommand  `cmd:"" help:"Run the real server with a simulated provider: the whole journey in two clicks."`
	Serve serveCommand `cmd:"" help:"Run the server."`

	Connect     connectCommand     `cmd:"" help:"Make a connect link for an end user."`
	Test        testCommand        `cmd:"" help:"Test an authorization profile: every step, what is wrong, and how to mend it."`
	Token       tokenCommand       `cmd:"" help:"Get an access token that is good now."`
	Call        callCommand        `cmd:"" help:"Call an application on behalf of an end user."`
	Connections connectionsCommand `cmd:"" help:"List connections, and the generations of their credentials; restore one."`
	Import      importCommand      `cmd:"" help:"Import connections that another broker held."`

	Catalog  catalogCommand  `cmd:"" help:"Look up known providers and write profiles for them."`
	Discover discoverCommand `cmd:"" help:"Draft a profile from what a server publishes of itself."`
	Lint     lintCommand     `cmd:"" help:"Say what is wrong, or probably not meant, in profile files."`
	Apply    applyCommand    `cmd:"" help:"Bring authorization profiles into the state of files."`
	Profiles profilesCommand `cmd:"" help:"List, delete and restore authorization profiles."`
	Export   exportCommand   `cmd:"" help:"Write authorization profiles as files."`

	Variables variablesCommand `cmd:"" help:"Variables that are kept for an assistant or one of its users."`

	Keys    keysCommand    `cmd:"" help:"Make and revoke keys, directly in the database."`
	Keyring keyringCommand `cmd:"" help:"Rotate the keys that seal what is secret, directly in the database."`
	Backup  backupCommand  `cmd:"" help:"Write everything to a sealed file, while everything goes on."`
	Restore restoreCommand `cmd:"" help:"Fill a new database with a backup, of either engine."`
	Audit   auditCommand   `cmd:"" help:"Verify and export the audit log, directly from the database."`
	Console consoleCommand `cmd:"" help:"Make links into the console, directly in the database."`

	Connector connectorCommand `cmd:"" help:"Enrol and run an agent inside a private network."`
	Doctor    doctorCommand    `cmd:"" help:"Check key, database and public URL."`
	Version   versionCommand   `cmd:"" help:"Print the version."`
	tortureCommands
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// run returns the exit status: 0 done, 1 failed, 2 asked wrongly.
func run(ctx context.Context, args []string) int {
	cli := commands{}
	parser, err := kong.New(&cli,
		kong.Name("behalf"),
		kong.Description("Let AI assistants act on people's behalf."),
		kong.Configuration(yamlFile),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, "behalf:", err)
		return 2
	}
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "help": // behalf help serve, as people type it elsewhere
		args = append(args[1:], "--help")
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "behalf:", asked(err))
		fmt.Fprintln(os.Stderr, "Run behalf --help, or behalf COMMAND --help.")
		return 2
	}
	if err := parsed.Run(); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "behalf:", said(err))
		return 1
	}
	return 0
}

// showVersion is the flag beside the command: people try both.
type showVersion bool

func (showVersion) BeforeReset(app *kong.Kong) error {
	err := versionCommand{}.Run()
	app.Exit(0)
	return err
}

type versionCommand struct{}

func (versionCommand) Run() error {
	_, err := fmt.Println("behalf", versionOf())
	return err
}
