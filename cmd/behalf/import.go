package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

type importCommand struct {
	remote
	Profile string            `help:"Authorization profile, by id or slug." short:"p" required:""`
	File    string            `help:"CSV with a header, JSON, or JSON lines; - for standard input." short:"f" required:"" placeholder:"FILE"`
	Map     map[string]string `help:"Where the file has a column of ours: user=connection_id, access_token=/credentials/access_token. May be repeated." placeholder:"OURS=THEIRS"`
	Replace bool              `help:"Give accounts that are connected already the imported credential."`
	DryRun  bool              `help:"Check everything and change nothing."`
	JSON    bool              `help:"Print JSON." name:"json"`
}

// importBatch is how many connections go into one request.
const importBatch = 200

// importColumns are the members that a connection may have, beside fields.KEY.
var importColumns = []string{"user", "tenant", "subject", "label", "access_token", "refresh_token", "id_token", "token_type", "expires_at", "scope"}

// Run checks the whole file first, and then imports it in batches. What was
// imported is skipped when the same file is imported again.
func (c *importCommand) Run(ctx context.Context) error {
	rows, err := c.read()
	if err != nil {
		return err
	}
	base, err := c.assistant(ctx)
	if err != nil {
		return err
	}
	total, err := c.check(ctx, base, rows)
	if err != nil {
		return err
	}
	if !c.DryRun {
		if total, err = c.send(ctx, base, rows); err != nil {
			return err
		}
	}
	if c.JSON {
		return printJSON(total)
	}
	counts := map[string]int{}
	for _, r := range total.Results {
		counts[r.Action]++
	}
	verb := "Imported"
	if c.DryRun {
		verb = "Would be imported"
	}
	if !c.DryRun && len(rows) > importBatch {
		fmt.Fprintln(os.Stderr)
	}
	fmt.Printf("%s: %d created, %d replaced, %d skipped because they are connected already.\n", verb, counts["create"], counts["replace"], counts["skip"])
	return nil
}

// check gathers all that is wrong with the file, whoever notices it.
func (c *importCommand) check(ctx context.Context, base string, rows []importRow) (imported, error) {
	total := imported{Results: []importResult{}}
	var wrong []string
	for batch := range slices.Chunk(rows, importBatch) {
		out, err := c.post(ctx, base, batch, true)
		lines, located := c.located(err, batch)
		if err != nil && !located {
			return total, err
		}
		total.Results, wrong = append(total.Results, out.Results...), append(wrong, lines...)
	}
	if len(wrong) == 0 {
		return total, nil
	}
	if more := len(wrong) - importToldOf; more > 0 {
		wrong = append(wrong[:importToldOf], fmt.Sprintf("and %d more", more))
	}
	return total, fmt.Errorf("nothing was imported\n%s", strings.Join(wrong, "\n"))
}

// importToldOf is how much that is wrong is told at once.
const importToldOf = 100

func (c *importCommand) send(ctx context.Context, base string, rows []importRow) (imported, error) {
	total := imported{Results: []importResult{}}
	for batch := range slices.Chunk(rows, importBatch) {
		out, err := c.post(ctx, base, batch, false)
		if err != nil && len(total.Results) > 0 {
			return total, fmt.Errorf("%d connections were imported, then: %w\nImport the same file again: what is there is skipped", len(total.Results), err)
		}
		if err != nil {
			return total, err
		}
		total.Results = append(total.Results, out.Results...)
		if !c.JSON && len(rows) > importBatch {
			fmt.Fprintf(os.Stderr, "\r%d of %d", len(total.Results), len(rows))
		}
	}
	return total, nil
}

func (c *importCommand) post(ctx context.Context, base string, batch []importRow, dry bool) (out imported, err error) {
	in := map[string]any{"profile": c.Profile, "connections": values(batch), "replace": c.Replace, "dry_run": dry}
	return out, c.do(ctx, http.MethodPost, base+"/connections/import", in, &out)
}

type imported struct {
	Results []importResult `json:"results"`
}

type importResult struct {
	Action     string `json:"action"`
	User       string `json:"user"`
	Connection string `json:"connection,omitempty"`
}

// importRow is one connection with where it stands.
type importRow struct {
	place string // line 3, entry 3
	value map[string]any
	wrong []string // what could not be read: expires_at: expected a time
}

// set keeps a value under a column of ours, or what is wrong with it.
func (r *importRow) set(ours, value string) {
	if err := set(r.value, ours, value); err != nil {
		r.wrong = append(r.wrong, ours+": "+err.Error())
	}
}

func values(rows []importRow) []map[string]any {
	out := make([]map[string]any, len(rows))
	for i, r := range rows {
		out[i] = r.value
	}
	return out
}

var indexedConnection = regexp.MustCompile(`^(?:body\.)?connections\[(\d+)\]\.?(.*)$`)

// located returns what is wrong with the rows of a batch, each at its place in
// the file; false where err is about something else.
func (c *importCommand) located(err error, batch []importRow) ([]string, bool) {
	wrong := make([][]string, len(batch))
	for i, row := range batch {
		wrong[i] = slices.Clone(row.wrong)
	}
	if p := (*remoteProblem)(nil); errors.As(err, &p) {
		for _, e := range p.Errors {
			m := indexedConnection.FindStringSubmatch(e.Field)
			if m == nil {
				return nil, false
			}
			if i, _ := strconv.Atoi(m[1]); i < len(batch) {
				wrong[i] = append(wrong[i], m[2]+": "+e.Detail)
			}
		}
		if len(p.Errors) == 0 {
			return nil, false
		}
	} else if err != nil {
		return nil, false
	}
	var lines []string
	for i, row := range batch {
		for _, w := range wrong[i] {
			lines = append(lines, fmt.Sprintf("%s, %s: %s", c.File, row.place, w))
		}
	}
	return lines, true
}

func (c *importCommand) read() ([]importRow, error) {
	for ours := range c.Map {
		if !slices.Contains(importColumns, ours) && !strings.HasPrefix(ours, "fields.") {
			return nil, fmt.Errorf("--map: there is no column %s; ours are %s and fields.KEY", ours, strings.Join(importColumns, ", "))
		}
	}
	data, err := readFile(c.File)
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return nil, fmt.Errorf("%s cannot be read: %w", c.File, p.Err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", c.File, err)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var rows []importRow
	switch trimmed := bytes.TrimSpace(data); {
	case len(trimmed) == 0:
		return nil, fmt.Errorf("%s is empty", c.File)
	case trimmed[0] == '[' || trimmed[0] == '{':
		rows, err = c.readJSON(data)
	default:
		rows, err = c.readCSV(data)
	}
	if err == nil && len(rows) == 0 {
		err = fmt.Errorf("%s holds no connection", c.File)
	}
	return rows, err
}

// theirs returns the file's name of a column of ours.
func (c *importCommand) theirs(ours string) string {
	if name, ok := c.Map[ours]; ok {
		return name
	}
	return ours
}

func (c *importCommand) readCSV(data []byte) ([]importRow, error) {
	r := csv.NewReader(bytes.NewReader(data))
	r.TrimLeadingSpace, r.Comma = true, separator(data)
	header, err := r.Read()
	if err != nil {
		return nil, csvProblem(c.File, err)
	}
	columns, err := c.columns(header)
	if err != nil {
		return nil, err
	}
	var rows []importRow
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, csvProblem(c.File, err)
		}
		line, _ := r.FieldPos(0)
		row := importRow{place: fmt.Sprintf("line %d", line), value: map[string]any{"user": ""}}
		for _, i := range slices.Sorted(maps.Keys(columns)) {
			row.set(columns[i], record[i])
		}
		rows = append(rows, row)
	}
}

// columns returns ours by their position in the file. A column that is named by
// --map must be there, and one for the user.
func (c *importCommand) columns(header []string) (map[int]string, error) {
	columns, found, left := map[int]string{}, map[string]bool{}, []string(nil)
	for i, name := range header {
		name = strings.TrimSpace(name)
		for _, ours := range slices.Concat(importColumns, mapped(c.Map)) {
			if strings.EqualFold(name, c.theirs(ours)) {
				columns[i], found[ours] = ours, true
			}
		}
		if _, ok := columns[i]; !ok && strings.HasPrefix(name, "fields.") {
			columns[i] = name
		}
		if _, ok := columns[i]; !ok {
			left = append(left, name)
		}
	}
	for ours, theirs := range c.Map {
		if !found[ours] {
			return nil, fmt.Errorf("--map: %s has no column %s; it has %s", c.File, theirs, strings.Join(header, ", "))
		}
	}
	if !found["user"] {
		return nil, fmt.Errorf("%s has no column user; it has %s. --map user=THEIRS says which of them it is", c.File, strings.Join(header, ", "))
	}
	if len(left) > 0 {
		fmt.Fprintf(os.Stderr, "Columns of %s that are not imported: %s\n", c.File, strings.Join(left, ", "))
	}
	return columns, nil
}

// separator is what stands most often in the header: spreadsheets write
// semicolons where the comma is a decimal point, and tabs.
func separator(data []byte) rune {
	header, _, _ := bytes.Cut(data, []byte("\n"))
	best := ','
	for _, r := range ";\t" {
		if bytes.Count(header, []byte(string(r))) > bytes.Count(header, []byte(string(best))) {
			best = r
		}
	}
	return best
}

// mapped returns the columns of ours that a map adds to the usual ones.
func mapped(m map[string]string) (out []string) {
	for ours := range m {
		if strings.HasPrefix(ours, "fields.") {
			out = append(out, ours)
		}
	}
	return out
}

func csvProblem(file string, err error) error {
	if p := (*csv.ParseError)(nil); errors.As(err, &p) {
		return fmt.Errorf("%s, line %d, column %d: this is not CSV: %w", file, p.Line, p.Column, p.Err)
	}
	return fmt.Errorf("%s is not CSV with a header", file)
}

// readJSON reads an array of objects, an object that holds one, or objects one
// after another.
func (c *importCommand) readJSON(data []byte) ([]importRow, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var objects []any
	for {
		var v any
		err := d.Decode(&v)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			at := d.InputOffset()
			if s := (*json.SyntaxError)(nil); errors.As(err, &s) {
				at = max(at, s.Offset)
			}
			line := 1 + bytes.Count(data[:min(int(at), len(data))], []byte("\n"))
			return nil, fmt.Errorf("%s, line %d: this is not JSON: %w", c.File, line, err)
		}
		objects = append(objects, entries(v)...)
	}
	var rows []importRow
	for i, v := range objects {
		row := importRow{place: fmt.Sprintf("entry %d", i+1), value: map[string]any{"user": ""}}
		for _, ours := range slices.Concat(importColumns, mapped(c.Map)) {
			row.set(ours, at(v, c.theirs(ours)))
		}
		if fields, ok := v.(map[string]any)["fields"].(map[string]any); ok {
			for key, value := range fields {
				row.set("fields."+key, fmt.Sprint(value))
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// entries returns the objects of a list, or of the one list that an object
// holds: {"connections": [...]}.
func entries(v any) (out []any) {
	object, isObject := v.(map[string]any)
	if list, ok := object["connections"].([]any); ok {
		v = list
	}
	switch list, ok := v.([]any); {
	case ok:
		for _, e := range list {
			if _, ok := e.(map[string]any); ok {
				out = append(out, e)
			}
		}
	case isObject:
		out = append(out, v)
	}
	return out
}

// at returns the text at a name or a JSON pointer, "" where there is none.
func at(v any, name string) string {
	path := []string{name}
	if strings.HasPrefix(name, "/") {
		path = strings.Split(name[1:], "/")
	}
	for _, name := range path {
		object, _ := v.(map[string]any)
		v = object[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)]
	}
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case []any:
		var parts []string
		for _, p := range v {
			parts = append(parts, fmt.Sprint(p))
		}
		return strings.Join(parts, " ")
	}
	return ""
}

// set keeps a value under a column of ours.
func set(row map[string]any, ours, value string) error {
	if value = strings.TrimSpace(value); value == "" {
		return nil
	}
	if key, ok := strings.CutPrefix(ours, "fields."); ok {
		fields, _ := row["fields"].(map[string]string)
		if fields == nil {
			fields = map[string]string{}
		}
		fields[key] = value
		row["fields"] = fields
		return nil
	}
	switch ours {
	case "expires_at":
		at, err := moment(value)
		if err != nil {
			return err
		}
		row[ours] = at
	case "scope":
		row[ours] = strings.Join(strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == ',' }), " ")
	default:
		row[ours] = value
	}
	return nil
}

// moment reads a time as other brokers write it: RFC 3339, or seconds or
// milliseconds since 1970.
func moment(s string) (time.Time, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		if n > 1e11 {
			return time.UnixMilli(n).UTC(), nil
		}
		return time.Unix(n, 0).UTC(), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999"} {
		if at, err := time.Parse(layout, s); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, errors.New("expected a time (RFC 3339), or seconds or milliseconds since 1970")
}
