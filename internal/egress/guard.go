package egress

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"code.dny.dev/ssrf"
)

// This file keeps calls away from where they must not go. The rules are:
//
//   - The address is checked when it is dialled, after the name was resolved: a
//     name may resolve to anything, and to something else a second later.
//   - What looks like an address but could be read in two ways is refused before
//     any resolver reads it.
//   - No proxy of the environment is used: it would be dialled in our place.

// BlockedError says that a call was not let out. Nothing was written.
type BlockedError struct {
	Reason string // "loopback address", "port", "scheme", …; safe for anybody
	Addr   string // the address and port that were to be dialled, for the operator's log; "" where it did not come to that
}

func (e *BlockedError) Error() string { return "not allowed by this server: " + e.Reason }

// wireServer is a public address that answers inside every machine at Azure with
// the machine's own configuration and keys; it is in no registry of special addresses.
var wireServer = netip.MustParsePrefix("168.63.129.16/32")

// guard returns a net.Dialer.Control.
func guard(allow []netip.Prefix, ports []uint16) func(network, addr string, _ syscall.RawConn) error {
	var v4, v6 []netip.Prefix
	for _, p := range allow {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	if len(ports) == 0 {
		ports = nil // to ssrf an empty list is no port at all
	}
	g := ssrf.New(ssrf.WithPorts(ports...), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...),
		ssrf.WithDeniedV4Prefixes(wireServer))
	return func(network, addr string, c syscall.RawConn) error {
		if err := g.Safe(network, addr, c); err != nil {
			return &BlockedError{Reason: reason(addr, ports), Addr: addr}
		}
		return nil
	}
}

// reason says in words that are safe for anybody why an address was blocked.
func reason(addr string, ports []uint16) string {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return "not an address"
	}
	if ports != nil && !slices.Contains(ports, ap.Port()) {
		return "port"
	}
	ip := ap.Addr().Unmap()
	switch {
	case ip.IsUnspecified():
		return "unspecified address"
	case ip.IsLoopback():
		return "loopback address"
	case ip == netip.AddrFrom4([4]byte{169, 254, 169, 254}), ip == wireServer.Addr(), ip == netip.MustParseAddr("fd00:ec2::254"):
		return "cloud metadata address"
	case ip.IsLinkLocalUnicast():
		return "link-local address"
	case ip.IsPrivate():
		return "private address"
	case ip.IsMulticast():
		return "multicast address"
	}
	return "reserved address"
}

// checkURL refuses what no call of ours may have in its URL. It returns nil or
// a *BlockedError.
func checkURL(u *url.URL) error {
	switch host := u.Hostname(); {
	case u.Scheme != "https" && u.Scheme != "http":
		return &BlockedError{Reason: "scheme"}
	case u.User != nil:
		return &BlockedError{Reason: "user name in URL"}
	case host == "":
		return &BlockedError{Reason: "URL without host"}
	case ambiguous(host):
		return &BlockedError{Reason: "ambiguous address"}
	}
	return nil
}

// ambiguous reports whether a host ends in a number and yet is no plain address:
// some resolvers take 2130706433, 0177.0.0.1, 0x7f.1 and 127.1 for 127.0.0.1.
// The rule is that of browsers (https://url.spec.whatwg.org/#ends-in-a-number-checker).
func ambiguous(host string) bool {
	host = strings.TrimSuffix(host, ".")
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

// guarded is a round tripper that checks each URL; the address is checked by the dialler.
type guarded struct{ next http.RoundTripper }

func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := checkURL(r.URL); err != nil {
		closeBody(r)
		return nil, err
	}
	return g.next.RoundTrip(r)
}

// closeBody keeps the promise of every RoundTripper that does not pass a request on.
func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}
