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
	"strings"
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
	Config kong.ConfigFlag `help:"YAML file with any of the flags, by name. Environment and flags come before it." placeholder:"FILE" env:"BEHALF_CONFIG"`

	Demo    demoCommand    `cmd:"" help:"Run the real server with a simulated provider: the whole journey in two clicks."`
	Serve   serveCommand   `cmd:"" help:"Run the server."`
	Connect connectCommand `cmd:"" help:"Make a connect link for an end user."`
	Token   tokenCommand   `cmd:"" help:"Get an access token that is good now."`
	Call    callCommand    `cmd:"" help:"Call an application on behalf of an end user."`
	Keys    keysCommand    `cmd:"" help:"Make and revoke keys, directly in the database."`
	Doctor  doctorCommand  `cmd:"" help:"Check key, database and public URL."`
	Version versionCommand `cmd:"" help:"Print the version."`
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
	parsed, err := parser.Parse(args)
	if err != nil {
		// kong quotes the variable that a bad value came from, which may be a key.
		text, _, _ := strings.Cut(err.Error(), " (from envar ")
		fmt.Fprintln(os.Stderr, "behalf:", text)
		fmt.Fprintln(os.Stderr, "Run behalf --help, or behalf COMMAND --help.")
		return 2
	}
	if err := parsed.Run(); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "behalf:", err)
		return 1
	}
	return 0
}

type versionCommand struct{}

func (versionCommand) Run() error {
	_, err := fmt.Println("behalf", versionOf())
	return err
}
