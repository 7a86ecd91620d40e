package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/behalf-dev/behalf"
)

// said is an error in words for whoever typed the command: without the codes and
// the names of rooms that programs and logs want.
func said(err error) string {
	text := err.Error()
	if e := (*behalf.Error)(nil); errors.As(err, &e) {
		text = strings.Replace(text, e.Error(), plain(e), 1)
	}
	for _, room := range []string{"store: ", "vault: "} {
		text = strings.TrimPrefix(text, room)
	}
	return text
}

// plain is an error of ours without its code.
func plain(e *behalf.Error) string {
	text := e.Message
	if e.Field != "" {
		text = e.Field + ": " + text
	}
	if len(e.Fields) > 1 {
		text = "The request is not valid"
		for _, f := range e.Fields {
			text += "\n  " + f.Field + ": " + f.Message
		}
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// asked is what kong says of arguments, with the variables by which a flag that
// is missing can be set as well.
func asked(err error) string {
	// kong quotes the variable that a bad value came from, which may be a key.
	text, _, _ := strings.Cut(err.Error(), " (from envar ")
	p := (*kong.ParseError)(nil)
	if !errors.As(err, &p) || !strings.HasPrefix(text, "missing flags: ") {
		return text
	}
	for _, flag := range p.Context.Flags() {
		if len(flag.Envs) > 0 {
			text = strings.Replace(text, flag.Summary(), flag.Summary()+" (or "+flag.Envs[0]+")", 1)
		}
	}
	return text
}

// unreachable says why there is no answer, and what to look at.
func unreachable(base string, err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	dns, authority := (*net.DNSError)(nil), x509.UnknownAuthorityError{}
	why := err.Error()
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		why = "nothing listens there. Is the server running (behalf serve)? --url or BEHALF_URL names another"
	case errors.As(err, &dns) && dns.IsNotFound:
		why = "there is no host of this name"
	case errors.Is(err, http.ErrSchemeMismatch):
		why = "it speaks HTTP without TLS: the URL begins with http://"
	case errors.As(err, &authority):
		why = "its certificate is of an authority that this machine does not know"
	}
	return fmt.Errorf("cannot reach the server at %s: %s", base, why)
}

// listening says why an address cannot be listened on.
func listening(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w\nSomething listens there already: end it, or choose another port", err)
	}
	return err
}

// network is a network of addresses, as a flag.
type network struct{ netip.Prefix }

func (n *network) UnmarshalText(b []byte) error {
	p, err := netip.ParsePrefix(string(b))
	if err != nil {
		return errors.New("expected a network such as 10.1.0.0/16, or 10.1.2.3/32 for one address")
	}
	n.Prefix = p
	return nil
}
