package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
)

type auditCommand struct {
	Verify auditVerifyCommand `cmd:"" help:"Hold the audit log against its chains: was a line changed, added or removed?"`
	Heads  auditHeadsCommand  `cmd:"" help:"Print the newest link of every chain, to keep elsewhere."`
	Export auditExportCommand `cmd:"" help:"Print the audit log, a JSON object in each line, newest first."`
}

type auditVerifyCommand struct {
	storage
	Heads string `help:"File that behalf audit heads has printed: was the log cut back since?" type:"existingfile" placeholder:"FILE"`
	JSON  bool   `help:"Print JSON." name:"json"`
}

// Run fails where anything does not fit.
func (c *auditVerifyCommand) Run(ctx context.Context) error {
	var heads []behalf.AuditHead
	if c.Heads != "" {
		text, err := os.ReadFile(c.Heads)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &heads); err != nil {
			return errors.New("the file of --heads is not one that behalf audit heads has printed")
		}
	}
	return c.existing(ctx, func(db store.Scope) error {
		r, err := db.VerifyAudit(ctx, heads)
		if err != nil {
			return err
		}
		if c.JSON {
			err = printJSON(map[string]any{"chains": r.Chains, "links": r.Links, "lines": r.Lines, "unlinked": r.Unlinked, "problems": append([]string{}, r.Problems...)})
		} else {
			for _, p := range r.Problems {
				fmt.Println("FAIL ", p)
			}
			_, err = fmt.Printf("%s on %s of %s; %d of the last moments on none yet\n", counted(r.Lines, "line", "lines"), counted(r.Links, "link", "links"), counted(r.Chains, "chain", "chains"), r.Unlinked)
		}
		if err == nil && len(r.Problems) > 0 {
			err = fmt.Errorf("the audit log was touched: %s", counted(int64(len(r.Problems)), "problem", "problems"))
		}
		return err
	})
}

type auditHeadsCommand struct{ storage }

func (c *auditHeadsCommand) Run(ctx context.Context) error {
	return c.existing(ctx, func(db store.Scope) error {
		heads, err := db.AuditHeads(ctx)
		if err != nil {
			return err
		}
		return printJSON(heads)
	})
}

type auditExportCommand struct {
	storage
	Since     time.Time `help:"Only lines from this time on: 2026-11-01T00:00:00Z." placeholder:"TIME"`
	Assistant string    `help:"Only lines of this assistant (id or slug)."`
	Action    string    `help:"Only lines of this action, or of all that begin with it: connection." placeholder:"NAME"`
}

// auditLine is a line as it is exported.
type auditLine struct {
	ID        string    `json:"id"`
	At        time.Time `json:"at"`
	Actor     string    `json:"actor"`
	Assistant string    `json:"assistant,omitempty"`
	Action    string    `json:"action"`
	Object    string    `json:"object,omitempty"`
	Detail    string    `json:"detail,omitempty"`
	Count     int64     `json:"count"`
}

func (c *auditExportCommand) Run(ctx context.Context) error {
	return c.existing(ctx, func(db store.Scope) error {
		f := store.AuditFilter{Action: c.Action}
		if c.Assistant != "" {
			a, err := db.Assistant(ctx, c.Assistant)
			if err != nil {
				return err
			}
			f.Assistant = a.ID
		}
		for after := ""; ; {
			lines, err := db.AuditLines(ctx, f, store.Page{After: after, Limit: 500})
			if err != nil || len(lines) == 0 {
				return err
			}
			for _, l := range lines {
				if l.At.Before(c.Since) {
					return nil
				}
				if err := printJSON(auditLine{l.ID, l.At, l.Actor, string(l.Assistant), l.Action, l.Object, l.Detail, l.Count}); err != nil {
					return err
				}
			}
			after = lines[len(lines)-1].ID
		}
	})
}
