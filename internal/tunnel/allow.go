package tunnel

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// This file is the agent's allow list. The rules are:
//
//   - What no row holds is denied.
//   - A name is compared as a name, never resolved to be compared.
//   - A name that resolves to the machine itself or to its link is refused, unless
//     the administrator wrote that address, or where to go instead.
//   - A path that could be read in two ways matches no row that names paths.

// Row allows one thing. Its words are those of the configuration file.
type Row struct {
	TCP  string `yaml:"tcp"`  // host:port; *.suffix:port takes one label
	HTTP string `yaml:"http"` // https://host[:port], or http://
	To   string `yaml:"to"`   // host:port, or for http https://host:port: where it really is

	Methods     []string     `yaml:"methods"`            // of an http row; none: all
	Paths       []string     `yaml:"paths"`              // of an http row; one that ends in * takes what begins so; none: all
	CAs         []string     `yaml:"cas"`                // of an http row: files; none: those of the connector
	ServerName  string       `yaml:"server_name"`        // of an http row: the name in the application's certificate
	Certificate *Certificate `yaml:"client_certificate"` // of an http row

	kind   Kind
	target Target // host may be *.suffix
	to     string // host:port; empty: the target itself
	plain  bool   // of an http row: the application has no TLS

	resolver *net.Resolver // nil: the system's
}

// Certificate is where a client certificate is kept.
type Certificate struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// prepare reads the addresses of a row. The error names the key it is about.
func (r *Row) prepare() (key, wrong string) {
	switch {
	case r.TCP != "" && r.HTTP != "":
		return "tcp", "Expected tcp or http, not both: a row for each."
	case r.TCP != "":
		return r.prepareTCP()
	case r.HTTP != "":
		return r.prepareHTTP()
	}
	return "", "Expected tcp: host:port, or http: https://host."
}

func (r *Row) prepareTCP() (key, wrong string) {
	r.kind = TCP
	for name, set := range map[string]bool{"methods": r.Methods != nil, "paths": r.Paths != nil, "cas": r.CAs != nil, "server_name": r.ServerName != "", "client_certificate": r.Certificate != nil} {
		if set {
			return name, "It belongs to http rows only: in a tcp row TLS passes through, and the agent sees neither."
		}
	}
	target, err := ParseTarget(TCP, r.TCP)
	if err != nil || !goodPattern(target.Host) {
		return "tcp", "Expected host:port, such as erp.corp.example:443, or *.corp.example:443."
	}
	r.target = Target{TCP, canonical(target.Host), target.Port}
	if r.To == "" {
		return "", ""
	}
	to, err := ParseTarget(TCP, r.To)
	if err != nil || strings.Contains(to.Host, "*") {
		return "to", "Expected host:port."
	}
	r.to = to.Address()
	return "", ""
}

func (r *Row) prepareHTTP() (key, wrong string) {
	r.kind = HTTP
	target, _, ok := parseOrigin(r.HTTP)
	if !ok || !goodPattern(target.Host) {
		return "http", "Expected https://host or https://host:port, without a path."
	}
	r.target = Target{HTTP, canonical(target.Host), target.Port}
	r.plain = strings.HasPrefix(r.HTTP, "http:")
	if r.To != "" {
		to, plain, ok := parseOrigin(r.To)
		if !ok || strings.Contains(to.Host, "*") {
			return "to", "Expected https://host:port, or http:// where the application has no TLS."
		}
		r.to, r.plain = to.Address(), plain
		if !plain && r.ServerName == "" && !strings.Contains(target.Host, "*") {
			r.ServerName = target.Host // the certificate is for the name that everybody uses
		}
	}
	for _, m := range r.Methods {
		if m == "" || strings.ToUpper(m) != m {
			return "methods", "Expected methods in upper case, such as GET."
		}
	}
	for _, p := range r.Paths {
		if !strings.HasPrefix(p, "/") {
			return "paths", "Expected paths that begin with a slash, such as /api/*."
		}
	}
	return "", ""
}

func parseOrigin(raw string) (t Target, plain, ok bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return t, false, false
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	t, err = ParseTarget(HTTP, net.JoinHostPort(u.Hostname(), port))
	return t, u.Scheme == "http", err == nil
}

// goodPattern reports whether a host of the list is a name, an address, or *.
// before a name of two labels at least.
func goodPattern(host string) bool {
	if suffix, ok := strings.CutPrefix(host, "*."); ok {
		return strings.Contains(suffix, ".") && goodName(suffix)
	}
	_, err := netip.ParseAddr(host)
	return err == nil || goodName(host)
}

func goodName(host string) bool {
	return host != "" && len(host) <= 253 && !strings.ContainsFunc(host, func(r rune) bool {
		return !(r == '.' || r == '-' || r == '_' || r <= unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)))
	})
}

// canonical is a host as it is compared.
func canonical(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().String()
	}
	return host
}

// matchHost reports whether a host of the list stands for a host.
func matchHost(pattern, host string) bool {
	host = canonical(host)
	suffix, wild := strings.CutPrefix(pattern, "*.")
	if !wild {
		return host == canonical(pattern)
	}
	label, rest, ok := strings.Cut(host, ".")
	_, err := netip.ParseAddr(host)
	return ok && err != nil && label != "" && rest == canonical(suffix)
}

// find returns the rows that allow a target; those with the exact name come
// before those with a star, and where there are such they alone count.
func find(rows []Row, t Target) []*Row {
	if !goodName(t.Host) && !isAddress(t.Host) {
		return nil
	}
	var exact, wild []*Row
	for i := range rows {
		r := &rows[i]
		switch {
		case r.kind != t.Kind || r.target.Port != t.Port || !matchHost(r.target.Host, t.Host):
		case strings.HasPrefix(r.target.Host, "*"):
			wild = append(wild, r)
		default:
			exact = append(exact, r)
		}
	}
	if len(exact) > 0 {
		return exact
	}
	return wild
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// address is where a target of the row really is.
func (r *Row) address(t Target) string {
	if r.to != "" {
		return r.to
	}
	return t.Address()
}

// explicit reports whether the administrator wrote the address itself, so that
// no name can be made to lead elsewhere.
func (r *Row) explicit() bool {
	return r.to != "" || isAddress(r.target.Host) || r.target.Host == "localhost"
}

// forbidden reports whether no name of the list may lead to the address: the
// agent's own machine, or what is on its link, such as a cloud's metadata.
func forbidden(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast() || a.IsMulticast()
}

// allows reports whether an http row takes a request.
func (r *Row) allows(method, path string) bool {
	if len(r.Methods) > 0 && !slices.Contains(r.Methods, method) {
		return false
	}
	return len(r.Paths) == 0 || !twofold(path) && slices.ContainsFunc(r.Paths, func(p string) bool {
		prefix, star := strings.CutSuffix(p, "*")
		return path == p || star && strings.HasPrefix(path, prefix)
	})
}

// twofold reports whether an application could read an escaped path as another
// one than we do.
func twofold(path string) bool {
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "\\;") || strings.Contains(path, "//") {
		return true
	}
	for i := 0; i+2 < len(path); i++ {
		if path[i] != '%' {
			continue
		}
		n, err := strconv.ParseUint(path[i+1:i+3], 16, 8)
		if err != nil || n < 0x20 || n == '/' || n == '\\' || n == '.' || n == '%' || n == ';' || n == 0x7f || n == 0xc0 || n == 0xc1 { // the last two begin a dot or slash in bytes too many (RFC 3629 §10)
			return true
		}
	}
	for s := range strings.SplitSeq(path, "/") {
		if s == "." || s == ".." {
			return true
		}
	}
	return false
}
