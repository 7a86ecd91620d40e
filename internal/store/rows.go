package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// This file lets a statement that is made up as it goes take many rows (those
// that are known are in many.go). The rows travel as one JSON text; only the way
// to unpack it differs between the databases.

// rows returns a FROM item named r with the rows of the JSON array in the first
// parameter. A column is given as "name type"; the types are text, bigint and
// bytea, which travels as hexadecimal text.
func (e engine) rows(columns ...string) string {
	var names, types []string
	for _, c := range columns {
		name, kind, _ := strings.Cut(c, " ")
		switch {
		case e.name == "postgres" && kind == "bytea":
			names, types = append(names, fmt.Sprintf("decode(%s, 'hex') AS %[1]s", name)), append(types, name+" text")
		case e.name == "postgres":
			names, types = append(names, name), append(types, c)
		case kind == "bytea":
			names = append(names, fmt.Sprintf("unhex(value->>'%s') AS %[1]s", name))
		default:
			names = append(names, fmt.Sprintf("value->>'%s' AS %[1]s", name))
		}
	}
	if e.name == "postgres" {
		return fmt.Sprintf("(SELECT %s FROM json_to_recordset(CAST($1 AS json)) AS j(%s)) AS r", strings.Join(names, ", "), strings.Join(types, ", "))
	}
	return fmt.Sprintf("(SELECT %s FROM json_each($1)) AS r", strings.Join(names, ", "))
}

// withRows runs a statement with rows as rows unpacks them.
func (c *change) withRows(ctx context.Context, text string, rows any) error {
	in, err := json.Marshal(rows)
	if err != nil {
		return fmt.Errorf("store: pack rows: %w", err)
	}
	_, err = c.tx.ExecContext(ctx, text, string(in))
	return err
}
