package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/store"
)

type backupCommand struct {
	storage
	File string `arg:"" help:"File to write; it must not exist. - writes to the standard output."`
	JSON bool   `help:"Print JSON." name:"json"`
}

// Run writes the file under another name first: a half-written backup must not
// be taken for one.
func (c *backupCommand) Run(ctx context.Context) error {
	return c.open(ctx, func(db *store.DB) error {
		if c.File == "-" {
			_, err := db.Backup(ctx, os.Stdout, nil)
			return err
		}
		if _, err := os.Lstat(c.File); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s exists already; a backup never replaces another", c.File)
		}
		f, err := os.CreateTemp(filepath.Dir(c.File), filepath.Base(c.File)+".part-*") // 0600
		if err != nil {
			return err
		}
		defer func() { _ = os.Remove(f.Name()) }()
		report, err := db.Backup(ctx, f, c.tell())
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
		if err := os.Link(f.Name(), c.File); err != nil { // unlike a rename it replaces nothing
			return err
		}
		if c.JSON {
			return printJSON(reportView(report))
		}
		_, err = fmt.Printf("%s: %s of %s, as the database was at %s. It opens with the root key only: keep that apart.\n", c.File,
			counted(report.Rows, "row", "rows"), counted(int64(report.Tables), "table", "tables"), report.Made.Format(time.RFC3339))
		return err
	})
}

func (c *backupCommand) tell() func(string, int64) {
	if c.JSON {
		return nil
	}
	return tellTable
}

func tellTable(table string, rows int64) {
	if rows > 0 {
		fmt.Fprintf(os.Stderr, "%8d  %s\n", rows, table)
	}
}

func reportView(r store.BackupReport) map[string]any {
	return map[string]any{"made": r.Made, "engine": r.Engine, "schema": r.Schema, "tables": r.Tables, "rows": r.Rows}
}

type restoreCommand struct {
	storage
	File string `arg:"" help:"File that behalf backup has written. - reads from the standard input."`
	JSON bool   `help:"Print JSON." name:"json"`
}

func (c *restoreCommand) Run(ctx context.Context) error {
	f := os.Stdin
	if c.File != "-" {
		var err error
		if f, err = os.Open(c.File); err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
	}
	log, err := newLog("warn")
	if err != nil {
		return err
	}
	tell := tellTable
	if c.JSON {
		tell = nil
	}
	report, err := server.Restore(ctx, c.config(log), f, tell)
	if errors.Is(err, store.ErrNotEmpty) {
		return errors.New("the database is not empty: a backup is restored to a new one, and nothing was changed")
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(reportView(report))
	}
	_, err = fmt.Printf("Restored %s of %s, as they were at %s. What was refreshed since then may have to be authorized again; end the old server before this one starts.\n",
		counted(report.Rows, "row", "rows"), counted(int64(report.Tables), "table", "tables"), report.Made.Format(time.RFC3339))
	return err
}
