package behalf

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/behalf-dev/behalf/internal/secret"
)

// Curl returns the request of a step as a command for a shell, "" where it has
// none. What was masked is a variable to be set first: $CLIENT_SECRET, $CODE …
func (s TranscriptStep) Curl() string {
	r := s.Request
	if r == nil || s.Name == StepCallback {
		return ""
	}
	c := command{vars: map[string]bool{}}
	c.words = []string{"curl"}
	if r.Method != "GET" {
		c.words = append(c.words, "-X "+quoted(r.Method))
	}
	c.words = append(c.words, c.filled(r.URL, urlName))
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		for _, v := range r.Headers[name] {
			c.header(name, v)
		}
	}
	if r.Body != "" {
		c.words = append(c.words, "--data-raw "+c.filled(r.Body, urlName))
	}
	out := strings.Join(c.words, " \\\n  ")
	if len(c.vars) == 0 {
		return out
	}
	return "# Set first: " + strings.Join(slices.Sorted(maps.Keys(c.vars)), ", ") + "\n" + out
}

// command is a command while it is written.
type command struct {
	words []string
	vars  map[string]bool
}

func (c *command) header(name, value string) {
	switch name {
	case "Accept-Encoding", "Content-Length", "Host":
		return // curl has its own
	}
	if name == "Authorization" && value == "Basic "+secret.Mask {
		c.vars["CLIENT_ID"], c.vars["CLIENT_SECRET"] = true, true
		c.words = append(c.words, `-u "$CLIENT_ID:$CLIENT_SECRET"`)
		return
	}
	variable := strings.Map(variableRune, name) // a header's name may hold what a shell runs
	if variable[0] <= '9' {
		variable = "_" + variable
	}
	if name == "Authorization" {
		variable = "ACCESS_TOKEN"
	}
	c.words = append(c.words, "-H "+c.filled(name+": "+value, func(string) string { return variable }))
}

// filled quotes a text; each masked secret in it becomes a variable of the name
// that it stands under.
func (c *command) filled(text string, name func(before string) string) string {
	var out strings.Builder
	for i, part := range strings.Split(masksIn(text), secret.Mask) {
		if i > 0 {
			v := name(out.String())
			c.vars[v] = true
			out.WriteString(`"$` + v + `"`)
		}
		if part != "" {
			out.WriteString(quoted(part))
		}
	}
	if out.Len() == 0 {
		return "''"
	}
	return out.String()
}

// masksIn brings every spelling of the mask to one.
func masksIn(text string) string {
	return strings.ReplaceAll(text, url.QueryEscape(secret.Mask), secret.Mask)
}

// urlName returns a variable's name for what stands behind name= or "name":.
func urlName(before string) string {
	before = strings.TrimRight(before, `'"=: `)
	i := len(before)
	for i > 0 && wordByte(before[i-1]) {
		i--
	}
	if word := strings.ToUpper(strings.ReplaceAll(before[i:], "-", "_")); word != "" && (word[0] < '0' || word[0] > '9') {
		return word
	}
	return "SECRET"
}

func variableRune(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z':
		return r - 'a' + 'A'
	case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return r
	}
	return '_'
}

func wordByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_' || b == '-'
}

// quoted is for a POSIX shell: nothing within single quotes means anything.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
