package console

import (
	"regexp"
	"strings"
	"sync"
)

// What is wrong with a profile is told with the names that its fields have in
// files and in the API. Here they have labels.

// labels are those of the form's fields, by path.
var labels = sync.OnceValue(func() map[string]string {
	out := map[string]string{"client_secret": "Client Secret Key", "oauth.refresh": "Refreshing and revoking"}
	for path, f := range leavesOfForm(groups()) {
		if strings.ContainsAny(path, "._") { // else it is a word like any other
			out[path] = f.Label
		}
	}
	return out
})

var aPath = regexp.MustCompile(`[a-z]+(?:[._][a-z]+)+`)

// plain says a text with the labels of the fields that it names.
func plain(text string) string {
	var b strings.Builder
	done := 0
	for _, at := range aPath.FindAllStringIndex(text, -1) {
		before, after := text[:at[0]], text[at[1]:]
		if strings.HasSuffix(before, "/") || strings.HasSuffix(before, "{") || strings.HasSuffix(before, "&") || strings.HasSuffix(before, "?") || strings.HasPrefix(after, "=") || strings.HasPrefix(after, "/") {
			continue // within an address, or a placeholder
		}
		b.WriteString(text[done:at[0]])
		b.WriteString(labelled(text[at[0]:at[1]]))
		done = at[1]
	}
	return b.String() + text[done:]
}

// labelled is a path with the label of the field that it leads into.
func labelled(path string) string {
	for name := path; name != ""; {
		if label := labels()[name]; label != "" {
			rest := strings.TrimPrefix(path[len(name):], ".")
			if rest != "" {
				rest = " (" + rest + ")"
			}
			return "“" + label + "”" + rest
		}
		cut := strings.LastIndexByte(name, '.')
		if cut < 0 {
			break
		}
		name = name[:cut]
	}
	return path
}
