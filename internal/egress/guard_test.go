package egress_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/internal/egress"
)

// loopback is what tests allow and demos do.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func TestNoTrickReachesAnAddressInside(t *testing.T) {
	var reached atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer srv.Close()
	port := srv.URL[strings.LastIndexByte(srv.URL, ':'):]
	out := egress.New(egress.Config{Now: time.Now, Timeout: 5 * time.Second})
	defer out.Close()

	for name, c := range map[string]struct{ host, reason string }{
		"loopback":                          {"127.0.0.1", "loopback address"},
		"another loopback":                  {"127.9.9.9", "loopback address"},
		"a name that resolves to loopback":  {"localhost", "loopback address"},
		"loopback in IPv6":                  {"[::1]", "loopback address"},
		"loopback mapped into IPv6":         {"[::ffff:127.0.0.1]", "loopback address"},
		"loopback mapped, in hexadecimal":   {"[::ffff:7f00:1]", "loopback address"},
		"loopback compatible with IPv6":     {"[::127.0.0.1]", "reserved address"},
		"loopback behind NAT64":             {"[64:ff9b::7f00:1]", "reserved address"},
		"loopback behind local NAT64":       {"[64:ff9b:1::7f00:1]", "reserved address"},
		"loopback behind 6to4":              {"[2002:7f00:1::]", "reserved address"},
		"Teredo":                            {"[2001:0:7f00:1::]", "reserved address"},
		"unspecified":                       {"0.0.0.0", "unspecified address"},
		"unspecified in IPv6":               {"[::]", "unspecified address"},
		"this network":                      {"0.1.2.3", "reserved address"},
		"a decimal number":                  {"2130706433", "ambiguous address"},
		"octal":                             {"0177.0.0.1", "ambiguous address"},
		"octal in the last place":           {"127.0.0.01", "ambiguous address"},
		"hexadecimal":                       {"0x7f000001", "ambiguous address"},
		"hexadecimal with dots":             {"0x7f.0.0.0x1", "ambiguous address"},
		"an empty hexadecimal":              {"127.0x", "ambiguous address"},
		"a short form":                      {"127.1", "ambiguous address"},
		"too many parts":                    {"1.127.0.0.1", "ambiguous address"},
		"metadata":                          {"169.254.169.254", "cloud metadata address"},
		"metadata mapped into IPv6":         {"[::ffff:169.254.169.254]", "cloud metadata address"},
		"metadata in IPv6":                  {"[fd00:ec2::254]", "cloud metadata address"},
		"metadata of Azure":                 {"168.63.129.16", "cloud metadata address"},
		"metadata of Alibaba":               {"100.100.100.200", "reserved address"},
		"metadata of Oracle":                {"192.0.0.192", "reserved address"},
		"link-local":                        {"169.254.1.1", "link-local address"},
		"link-local in IPv6":                {"[fe80::1]", "link-local address"},
		"private 10":                        {"10.0.0.1", "private address"},
		"private 172.16":                    {"172.31.255.255", "private address"},
		"private 192.168":                   {"192.168.0.1", "private address"},
		"private in IPv6":                   {"[fd12:3456::1]", "private address"},
		"carrier-grade NAT":                 {"100.64.0.1", "reserved address"},
		"benchmarking":                      {"198.18.0.1", "reserved address"},
		"documentation":                     {"192.0.2.1", "reserved address"},
		"multicast":                         {"224.0.0.1", "multicast address"},
		"multicast in IPv6":                 {"[ff02::1]", "multicast address"},
		"broadcast":                         {"255.255.255.255", "reserved address"},
		"no host":                           {"", "URL without host"},
		"a user name":                       {"example.com@127.0.0.1", "user name in URL"},
		"an address written in wide digits": {"１２７.０.０.１", "loopback address"},
		"an address written with wide dots": {"127。0。0。1", "loopback address"},
	} {
		t.Run(name, func(t *testing.T) {
			url := "http://" + c.host + port + "/"
			_, err := get(out.Client(egress.ClientOptions{}), url)
			var call *egress.CallError
			if !errors.As(err, &call) || call.Written || call.Phase != egress.PhaseDial {
				t.Fatalf("client: %v", err)
			}
			for _, err := range []error{err, roundTrip(t, out.Transport(), url)} {
				var blocked *egress.BlockedError
				if !errors.As(err, &blocked) || blocked.Reason != c.reason {
					t.Fatalf("blocked as %+v, want %q: %v", blocked, c.reason, err)
				}
			}
			if strings.Contains(call.Error(), "127.0.0.1") {
				t.Fatalf("the message holds an address: %v", call)
			}
		})
	}
	if n := reached.Load(); n != 0 {
		t.Fatalf("%d requests arrived", n)
	}
}

func TestOnlyHTTPGoesOut(t *testing.T) {
	out := egress.New(egress.Config{Now: time.Now})
	for _, url := range []string{"file:///etc/passwd", "gopher://127.0.0.1/", "ftp://example.com/", "//example.com/", "https:example.com"} {
		var blocked *egress.BlockedError
		if err := roundTrip(t, out.Transport(), url); !errors.As(err, &blocked) {
			t.Errorf("proxy, %s: %v", url, err)
		}
		if _, err := get(out.Client(egress.ClientOptions{}), url); !errors.As(err, &blocked) && !strings.Contains(err.Error(), "no Host") {
			t.Errorf("client, %s: %v", url, err)
		}
	}
}

func TestTheOperatorAllowsNetworksAndPorts(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("inside")) }))
	defer srv.Close()
	open := netip.MustParseAddrPort(srv.Listener.Addr().String()).Port()
	for name, c := range map[string]struct {
		cfg     egress.Config
		blocked string
	}{
		"an allowed network":                {egress.Config{AllowPrivate: loopback}, ""},
		"an allowed address":                {egress.Config{AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, ""},
		"another network":                   {egress.Config{AllowPrivate: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, "loopback address"},
		"an allowed port":                   {egress.Config{AllowPrivate: loopback, AllowedPorts: []uint16{443, open}}, ""},
		"another port":                      {egress.Config{AllowPrivate: loopback, AllowedPorts: []uint16{80, 443}}, "port"},
		"an empty list of ports is no list": {egress.Config{AllowPrivate: loopback, AllowedPorts: []uint16{}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.Now = time.Now
			out := egress.New(c.cfg)
			defer out.Close()
			_, err := get(out.Client(egress.ClientOptions{}), srv.URL)
			var blocked *egress.BlockedError
			if errors.As(err, &blocked) != (c.blocked != "") || blocked != nil && blocked.Reason != c.blocked {
				t.Fatalf("Get: %v", err)
			}
		})
	}
}

func TestAConnectorDialsInOurPlace(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Host)) }))
	defer srv.Close()
	var asked string
	out := egress.New(egress.Config{Now: time.Now, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		asked = addr
		return new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
	}})
	defer out.Close()
	body, err := get(out.Client(egress.ClientOptions{}), "http://intranet.corp/x")
	if err != nil || body != "intranet.corp" || asked != "intranet.corp:80" {
		t.Fatalf("%q, asked for %q, %v", body, asked, err)
	}
}

func TestTheEnvironmentsProxyIsNotUsed(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	out := egress.New(egress.Config{Now: time.Now})
	_, err := get(out.Client(egress.ClientOptions{}), "http://10.0.0.1/")
	var blocked *egress.BlockedError
	if !errors.As(err, &blocked) || blocked.Addr != "10.0.0.1:80" {
		t.Fatalf("dialled %+v, %v", blocked, err)
	}
}

func roundTrip(t *testing.T, rt http.RoundTripper, url string) error {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := rt.RoundTrip(r)
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}
