package console

import (
	"fmt"
	"strconv"
	"time"
)

func number(n int64) string { return strconv.FormatInt(n, 10) }

// version reads a version that one of our forms sent. Anything else is none
// that anything has.
func version(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func tick(on bool) string {
	if on {
		return "yes"
	}
	return ""
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d/time.Second) + 1) }

// ago says how long ago something was.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := now.Sub(t)
	if d < time.Minute {
		return "just now"
	}
	return span(d) + " ago"
}

// span says a duration in its largest unit.
func span(d time.Duration) string {
	for _, u := range []struct {
		name string
		is   time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}} {
		if n := int(d / u.is); n > 0 {
			return count(n, u.name)
		}
	}
	return "less than a minute"
}

// count says a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// bytesOf says an amount of data in its largest unit.
func bytesOf(n int64) string {
	const k = 1000
	for _, u := range []struct {
		name string
		is   int64
	}{{"GB", k * k * k}, {"MB", k * k}, {"kB", k}} {
		if n >= u.is {
			return strconv.FormatFloat(float64(n)/float64(u.is), 'f', 1, 64) + " " + u.name
		}
	}
	return count(int(n), "byte")
}

// day says a date; the whole time is in the title of its element.
func day(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2 January 2006")
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// soon is when an end deserves a warning.
const soon = 14 * 24 * time.Hour
