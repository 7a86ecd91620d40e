package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	texttemplate "text/template"
	"time"

	"rsc.io/qr"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/vault"
)

// This file writes recovery kits and makes root keys of them. The rules are:
//
//   - What a kit says goes to the file or the terminal that was asked for, and
//     nowhere else; a file is its owner's alone, whole or not there, and replaces
//     none.
//   - A kit is tried on the database before a root key is written: what comes of
//     it later is then no surprise.

type keyringKitCommand struct {
	storage
	Check bool   `help:"Check a kit, and whether it opens the database, without changing anything. The root key is not needed for that."`
	File  string `arg:"" help:"File to write, which must not exist: a page (.html) or text; - writes text to the standard output. With --check: the kit's file, or - to type its lines."`
}

func (c *keyringKitCommand) Run(ctx context.Context) error {
	if c.Check {
		return c.check(ctx)
	}
	return c.open(ctx, func(db *store.DB) error {
		if c.File == "-" {
			page, err := takeKit(ctx, db, false)
			if err != nil {
				return err
			}
			_, err = os.Stdout.WriteString(page)
			return err
		}
		if err := c.write(ctx, db); err != nil {
			return err
		}
		_, err := fmt.Printf("%s holds the root key in words for people. Print it, keep the paper where the database and its backups are not, and delete the file. To see whether it is good: behalf keyring kit --check %s\n", c.File, c.File)
		return err
	})
}

// write makes the file before it takes the kit: where none can be made, no kit
// was.
func (c *keyringKitCommand) write(ctx context.Context, db *store.DB) error {
	if _, err := os.Lstat(c.File); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists already; a kit never replaces another", c.File)
	}
	f, err := os.CreateTemp(filepath.Dir(c.File), filepath.Base(c.File)+".part-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	page, err := takeKit(ctx, db, strings.HasSuffix(c.File, ".html"))
	if err == nil {
		_, err = f.WriteString(page)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), c.File) // unlike a rename it replaces nothing
}

func (c *keyringKitCommand) check(ctx context.Context) error {
	kit, err := readKit(c.File)
	if err != nil {
		return err
	}
	path, missing := c.sqliteMissing()
	if missing {
		return fmt.Errorf("the kit is whole; whether it opens the database was not seen: there is none at %s", path)
	}
	id, err := c.try(ctx, kit)
	if err != nil {
		return err
	}
	_, err = fmt.Printf("The kit is whole, and opens database %s.\n", id)
	return err
}

// try opens the database with a kit, and changes nothing. It returns the
// database's id.
func (p *place) try(ctx context.Context, kit vault.Kit) (string, error) {
	log, err := newLog("error")
	if err != nil {
		return "", err
	}
	return server.TryKit(ctx, server.Config{DataDir: p.Data, Database: p.Database, Log: log}, kit)
}

type keyringRecoverCommand struct {
	place        // and no root key: what names one may lead nowhere now
	Kit   string `arg:"" help:"The kit's file, or - to type its lines or to give what its QR code says."`
}

// Run writes root.key where the server looks for it. Where there is no database
// yet, a backup can be restored then.
func (c *keyringRecoverCommand) Run(ctx context.Context) error {
	kit, err := readKit(c.Kit)
	if err != nil {
		return err
	}
	path, missing := c.sqliteMissing()
	said := fmt.Sprintf("There is no database at %s yet, so that the key was not tried: restore a backup there now.", path)
	if !missing {
		id, err := c.try(ctx, kit)
		if err != nil {
			return err
		}
		said = fmt.Sprintf("It opens database %s. Start the server without --root-key and BEHALF_ROOT_KEY. Who had the kit may have the key: replace it with behalf keyring rewrap, and make another kit.", id)
	}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return err
	}
	file := filepath.Join(c.Data, "root.key")
	err = kit.Root.WriteFile(file)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("there is a root key at %s, which is left as it is: move it away first", file)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Printf("The root key is in %s. %s\n", file, said)
	return err
}

const maxKit = 1 << 20

func readKit(name string) (vault.Kit, error) {
	in := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return vault.Kit{}, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxKit))
	if err != nil {
		return vault.Kit{}, err
	}
	return vault.ParseKit(secret.New(string(text)))
}

// kitPage is what a kit says.
type kitPage struct {
	Database, Engine, Made, HeldBy string
	Code                           string
	Size                           int    // of the QR code, with its quiet zone
	Squares                        string // of the QR code, as an SVG path
	Blocks                         string // the same for a terminal
}

func takeKit(ctx context.Context, db *store.DB, page bool) (string, error) {
	code, kit, err := db.As(behalf.System("cli")).TakeRecoveryKit(ctx)
	if err != nil {
		return "", err
	}
	p := kitPage{Database: string(db.ID()), Engine: db.Engine(), HeldBy: db.HeldBy(), Made: kit.MadeAt.Format(time.RFC1123), Code: code.Reveal()}
	square, err := qr.Encode(p.Code, qr.M)
	if err != nil {
		return "", errors.New("the QR code could not be made")
	}
	p.Size, p.Squares, p.Blocks = square.Size+2*quiet, svgPath(square), blocks(square)
	var b strings.Builder
	if page {
		err = kitHTML.Execute(&b, p)
	} else {
		err = kitText.Execute(&b, p)
	}
	return b.String(), err
}

//go:embed kit.html
var kitSource string

//go:embed kit.txt
var kitTextSource string

var (
	kitHTML = template.Must(template.New("kit").Parse(kitSource))
	kitText = texttemplate.Must(texttemplate.New("kit").Parse(kitTextSource))
)

const quiet = 4 // squares around a QR code

func svgPath(c *qr.Code) string {
	var b strings.Builder
	for y := range c.Size {
		for x := range c.Size {
			if c.Black(x, y) {
				fmt.Fprintf(&b, "M%d %dh1v1h-1z", x+quiet, y+quiet)
			}
		}
	}
	return b.String()
}

// blocks draws two rows of squares in each line. The light ones are drawn: on a
// dark terminal the code is then as on paper.
func blocks(c *qr.Code) string {
	var b strings.Builder
	for y := -quiet; y < c.Size+quiet; y += 2 {
		for x := -quiet; x < c.Size+quiet; x++ {
			above, below := c.Black(x, y), c.Black(x, y+1)
			switch {
			case above && below:
				b.WriteRune(' ')
			case above:
				b.WriteRune('▄')
			case below:
				b.WriteRune('▀')
			default:
				b.WriteRune('█')
			}
		}
		b.WriteRune('\n')
	}
	return b.String()
}
