package expand

import (
	"fmt"
	"net/url"
	"strings"
)

// Hosts are the hosts that a filled URL may have. The zero value allows none.
type Hosts struct{ patterns []hostPattern }

type hostPattern struct {
	name string // "*.example.com"; lower case
	port string // "" for the scheme's own
}

// ParseHosts parses entries like "api.example.com", "*.example.com" and
// "[::1]:8443". A "*" is exactly one label and not one of the last two. Without
// a port an entry means the one that is usual for the URL's scheme.
func ParseHosts(entries []string) (Hosts, error) {
	var hosts Hosts
	for i, entry := range entries {
		p, err := parseHostPattern(entry)
		if err != nil {
			return Hosts{}, fmt.Errorf("allowed host %d: %w", i+1, err)
		}
		hosts.patterns = append(hosts.patterns, p)
	}
	return hosts, nil
}

// parseHostPattern reads "*" as if it were a placeholder.
func parseHostPattern(entry string) (hostPattern, error) {
	var parts []part
	at := 0
	for i := range len(entry) {
		if entry[i] != '*' {
			continue
		}
		if at < i {
			parts = append(parts, part{offset: at, lit: entry[at:i]})
		}
		parts = append(parts, part{offset: i, expr: &expr{}})
		at = i + 1
	}
	if at < len(entry) {
		parts = append(parts, part{offset: at, lit: entry[at:]})
	}
	h, err := parseHost(parts, 0)
	if err != nil {
		return hostPattern{}, err
	}
	for i, l := range h.labels {
		if len(l) > 1 {
			return hostPattern{}, &SyntaxError{l[0].offset, `"*" alone between dots`}
		}
		if !isLiteral(l) && i >= len(h.labels)-registrable {
			return hostPattern{}, &SyntaxError{l[0].offset, `"*" before at least two literal labels`}
		}
	}
	return hostPattern{name: h.name(), port: h.port}, nil
}

// Allows reports whether u is an http or https URL without user information
// whose host and port are among h.
func (h Hosts) Allows(u *url.URL) bool {
	var usual string
	switch u.Scheme {
	case "https":
		usual = "443"
	case "http":
		usual = "80"
	}
	if usual == "" || u.User != nil || u.Opaque != "" {
		return false
	}
	name := strings.TrimSuffix(u.Host, ":"+u.Port())
	port := u.Port()
	if port == "" {
		port = usual
	}
	for _, p := range h.patterns {
		if (p.port == port || p.port == "" && port == usual) && p.matches(name) {
			return true
		}
	}
	return false
}

// matches compares label by label. It folds the case of ASCII only: to
// strings.EqualFold the Kelvin sign is a k.
func (p hostPattern) matches(name string) bool {
	pattern := p.name
	for {
		want, wants, moreWanted := strings.Cut(pattern, ".")
		have, has, more := strings.Cut(name, ".")
		if moreWanted != more || !matchLabel(want, have) {
			return false
		}
		if !more {
			return true
		}
		pattern, name = wants, has
	}
}

func matchLabel(want, have string) bool {
	if want == "*" {
		lower, ok := lowerHost(have)
		return ok && isLabel(lower)
	}
	if len(want) != len(have) {
		return false
	}
	for i := range len(want) {
		c := have[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != want[i] {
			return false
		}
	}
	return true
}
