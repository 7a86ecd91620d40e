package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is all that a run found.
type Report struct {
	Machine Machine  `json:"machine"`
	Rows    []Row    `json:"rows"`
	Notes   []string `json:"notes,omitempty"`
}

// Machine is where it was found. Load is the average number of processes that
// ran or waited in the last minute: what else went on when it began, and that
// and our own load when it ended.
type Machine struct {
	At         time.Time `json:"at"`
	CPU        string    `json:"cpu,omitempty"`
	Cores      int       `json:"cores"`
	Go         string    `json:"go"`
	LoadBefore string    `json:"load_before"`
	LoadAfter  string    `json:"load_after"`
}

func thisMachine(now time.Time) Machine {
	return Machine{At: now.UTC().Truncate(time.Second), CPU: cpu(), Cores: runtime.NumCPU(),
		Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH, LoadBefore: loadAverage()}
}

func loadAverage() string {
	content, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(content), " ")
	return first
}

func cpu() string {
	content, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(content)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.Trim(name, "\t :\n")
		}
	}
	return ""
}

// Spread is a figure that was taken several times.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spread is of at least one figure.
func spread(of []float64) Spread {
	s := slices.Sorted(slices.Values(of))
	n := len(s)
	return Spread{Median: (s[(n-1)/2] + s[n/2]) / 2, Min: s[0], Max: s[n-1]}
}

// Row is one thing that was measured.
type Row struct {
	Name     string  `json:"name"`
	Unit     string  `json:"unit"`
	Measured Spread  `json:"measured"`
	Against  string  `json:"against,omitempty"` // the limit
	Limit    *Spread `json:"limit,omitempty"`
	// Figure is what has the goal: the ratio of measured to limit, round by
	// round; or what was added to it; or, without a limit, what was measured.
	Figure Spread `json:"figure"`
	Is     string `json:"is"` // ratio, added, value
	Goal   *Goal  `json:"goal,omitempty"`
}

// Goal is what a figure is to reach.
type Goal struct {
	Bound  float64 `json:"bound"`
	AtMost bool    `json:"at_most"` // otherwise at least
	Met    bool    `json:"met"`     // by the median
}

func ratio(name, unit string, measured []float64, against string, limit []float64) Row {
	return compared(name, unit, measured, against, limit, "ratio", func(a, b float64) float64 { return a / b })
}

func added(name, unit string, measured []float64, against string, limit []float64) Row {
	return compared(name, unit, measured, against, limit, "added", func(a, b float64) float64 { return a - b })
}

// compared compares what was measured in the same round.
func compared(name, unit string, measured []float64, against string, limit []float64, is string, compare func(measured, limit float64) float64) Row {
	var rounds []float64
	for i := range min(len(measured), len(limit)) {
		rounds = append(rounds, compare(measured[i], limit[i]))
	}
	of := spread(limit)
	return Row{Name: name, Unit: unit, Measured: spread(measured), Against: against, Limit: &of, Figure: spread(rounds), Is: is}
}

func value(name, unit string, measured []float64) Row {
	s := spread(measured)
	return Row{Name: name, Unit: unit, Measured: s, Figure: s, Is: "value"}
}

func (r Row) atLeast(bound float64) Row {
	r.Goal = &Goal{Bound: bound, Met: r.Figure.Median >= bound}
	return r
}

func (r Row) atMost(bound float64) Row {
	r.Goal = &Goal{Bound: bound, AtMost: true, Met: r.Figure.Median <= bound}
	return r
}

// print writes the table for people.
func (r Report) print(w io.Writer) error {
	m := r.Machine
	fmt.Fprintf(w, "%s, %d cores, %s\n%s; load average %s before, %s after\n\n", m.CPU, m.Cores, m.Go, m.At.Format("2006-01-02 15:04 MST"), m.LoadBefore, m.LoadAfter)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tmeasured\tlimit\tfigure\t(min–max)\tgoal\t")
	for _, row := range r.Rows {
		fmt.Fprintln(t, strings.Join(row.cells(), "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, note := range r.Notes {
		fmt.Fprintln(w, "\n"+note)
	}
	_, err := fmt.Fprintln(w, "\nMedians. A figure without a unit is measured ÷ limit of the same round; one with a plus, their difference.")
	return err
}

func (r Row) cells() []string {
	cells := []string{r.Name, number(r.Measured.Median) + " " + r.Unit, "", "", "", "", ""}
	if r.Limit != nil {
		cells[2] = r.Against + " " + number(r.Limit.Median)
	}
	cells[3], cells[4] = r.figure(r.Figure.Median), "("+r.bare(r.Figure.Min)+"–"+r.bare(r.Figure.Max)+")"
	if r.Figure.Min == r.Figure.Max {
		cells[4] = ""
	}
	if r.Goal == nil {
		return cells
	}
	sign := "≥ "
	if r.Goal.AtMost {
		sign = "≤ "
	}
	cells[5], cells[6] = sign+number(r.Goal.Bound), "BELOW"
	if r.Goal.Met {
		cells[6] = "ok"
	} else if r.Goal.AtMost {
		cells[6] = "ABOVE"
	}
	return cells
}

// figure writes a figure with its unit.
func (r Row) figure(f float64) string {
	if r.Is == "ratio" {
		return r.bare(f)
	}
	return r.bare(f) + " " + r.Unit
}

func (r Row) bare(f float64) string {
	switch r.Is {
	case "ratio":
		return fmt.Sprintf("%.2f", f)
	case "added":
		if f >= 0 {
			return "+" + number(f)
		}
	}
	return number(f)
}

// number writes three digits or so: nothing here is known better.
func number(f float64) string {
	switch size := math.Abs(f); {
	case size >= 10_000:
		return thousands(int64(math.Round(f/100) * 100))
	case size >= 1000:
		return thousands(int64(math.Round(f/10) * 10))
	case size >= 100:
		return fmt.Sprintf("%.0f", f)
	case size >= 10:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.2f", f)
}

func thousands(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}
