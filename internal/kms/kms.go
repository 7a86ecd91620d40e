// Package kms asks a key management service to wrap and open one short secret:
// Vault or OpenBao (the transit engine), AWS KMS, or Google Cloud KMS.
package kms

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/behalf-dev/behalf/internal/secret"
)

// This file asks. The rules are:
//
//   - A service that is away is asked again for a bounded time; one that refuses
//     is asked once.
//   - What it is told beside the secret (associated data) it must be told again.
//   - An error says which key was asked, and never what for.

const (
	vaultScheme = "hcvault://"
	localScheme = "hcvault+http://" // of an agent on this machine
	awsScheme   = "aws-kms://"
	gcpScheme   = "gcp-kms://"

	askLimit  = 10 * time.Second
	firstRest = 250 * time.Millisecond
	longest   = 5 * time.Second
)

var (
	// ErrAway is returned where a service does not answer, or says that it cannot now.
	ErrAway = errors.New("the key management service does not answer")

	// ErrRefused is returned where a service refuses: the key, the credentials, or
	// what it was given to open.
	ErrRefused = errors.New("the key management service refuses")
)

// Config is what is needed beside a key's URI.
type Config struct {
	Token secret.Text   // Vault's or OpenBao's; the others find their credentials where their own tools do
	Wait  time.Duration // for how long a service that is away is asked again; 0: it is asked once
	Log   *slog.Logger
}

// Key is a key that a service holds.
type Key struct {
	uri  string
	cfg  Config
	asks tink.AEADWithContext
}

// Named reports whether a setting names a key of a service.
func Named(setting secret.Text) bool {
	for _, scheme := range []string{vaultScheme, localScheme, awsScheme, gcpScheme} {
		if strings.HasPrefix(setting.Reveal(), scheme) {
			return true
		}
	}
	return false
}

// Open returns the key that a URI names. Nothing is asked yet.
//
//	hcvault://vault.example.com:8200/transit/keys/behalf
//	hcvault+http://127.0.0.1:8100/transit/keys/behalf
//	aws-kms://arn:aws:kms:eu-central-1:123456789012:key/…
//	gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k
func Open(ctx context.Context, uri string, cfg Config) (*Key, error) {
	k := &Key{uri: uri, cfg: cfg}
	var err error
	switch {
	case strings.HasPrefix(uri, vaultScheme), strings.HasPrefix(uri, localScheme):
		k.asks, err = openVault(uri, cfg.Token)
	case strings.HasPrefix(uri, awsScheme):
		k.asks, err = openAWS(ctx, uri)
	case strings.HasPrefix(uri, gcpScheme):
		k.asks, err = openGoogle(ctx, uri)
	default:
		err = errors.New("it begins with none of " + strings.Join([]string{vaultScheme, awsScheme, gcpScheme}, ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("kms: %s: %w", uri, err)
	}
	return k, nil
}

// EncryptWithContext returns the secret as the service wraps it. The error is
// ErrAway or ErrRefused.
func (k *Key) EncryptWithContext(ctx context.Context, plaintext, about []byte) ([]byte, error) {
	return k.ask(ctx, func(ctx context.Context) ([]byte, error) { return k.asks.EncryptWithContext(ctx, plaintext, about) })
}

// DecryptWithContext returns what the service has wrapped. The error is ErrAway
// or ErrRefused.
func (k *Key) DecryptWithContext(ctx context.Context, wrapped, about []byte) ([]byte, error) {
	return k.ask(ctx, func(ctx context.Context) ([]byte, error) { return k.asks.DecryptWithContext(ctx, wrapped, about) })
}

func (k *Key) ask(ctx context.Context, once func(context.Context) ([]byte, error)) ([]byte, error) {
	patience, cancel := context.WithTimeout(ctx, k.cfg.Wait)
	defer cancel()
	for rest := firstRest; ; rest = min(2*rest, longest) {
		answer, err := limited(ctx, once)
		switch {
		case err == nil:
			return answer, nil
		case !away(err):
			return nil, fmt.Errorf("kms: %s: %w: %w", k.uri, ErrRefused, err)
		}
		select {
		case <-patience.Done():
			return nil, fmt.Errorf("kms: %s: %w: %w", k.uri, ErrAway, err)
		case <-time.After(rest):
			k.cfg.Log.Warn("the key management service does not answer; it is asked again", "key", k.uri, "err", err)
		}
	}
}

// limited ends with its context, whether the service's client does or not.
func limited(ctx context.Context, once func(context.Context) ([]byte, error)) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	type answer struct {
		bytes []byte
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		b, err := once(ctx)
		answers <- answer{b, err}
	}()
	select {
	case a := <-answers:
		return a.bytes, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// away reports whether asking again may help.
func away(err error) bool {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return false
	}
	var coded interface{ ErrorCode() string } // AWS says with status 400 that it is asked too often
	if errors.As(err, &coded) && strings.Contains(coded.ErrorCode(), "Throttl") {
		return true
	}
	code := statusOf(err)
	return code == 0 || code >= http.StatusInternalServerError || code == http.StatusTooManyRequests
}

// statusOf returns the status that a service has answered with; 0 where it has
// not answered.
func statusOf(err error) int {
	if code := vaultStatus(err); code != 0 {
		return code
	}
	var answered interface{ HTTPStatusCode() int }
	if errors.As(err, &answered) {
		return answered.HTTPStatusCode()
	}
	return 0
}

// hostOf returns the server that a URI of Vault's names. By plain http only this
// machine itself may be reached: the root key travels there.
func hostOf(uri string) (*url.URL, error) {
	u, err := url.Parse(uri)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("expected hcvault://HOST:PORT/transit/keys/NAME")
	case u.Scheme == "hcvault":
		u.Scheme = "https"
		return u, nil
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback()) {
		return nil, errors.New("hcvault+http is for this machine itself only: the root key travels there")
	}
	u.Scheme = "http"
	return u, nil
}
