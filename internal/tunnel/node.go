package tunnel

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"sync"
	"time"
)

// This file lets the nodes of one database know each other. The rules are:
//
//   - All of them derive the same authority from a secret that the database keeps
//     sealed; its key is written nowhere.
//   - A node's own key lives as long as its process, and its certificate a day.
//   - Both sides prove themselves, in TLS 1.3, by the id that the database has
//     for the node: who can reach the port and cannot open the seal is nobody.

// Nodes issues this node's certificates and checks those of others. It is safe
// for concurrent use.
type Nodes struct {
	id        string
	now       func() time.Time
	authority *x509.Certificate
	sign      ed25519.PrivateKey
	key       ed25519.PrivateKey
	pool      *x509.CertPool
	sessions  tls.ClientSessionCache

	mu      sync.Mutex
	current *tls.Certificate
	renew   time.Time
}

const (
	certificateLife = 24 * time.Hour
	skew            = time.Hour // between the clocks of two nodes
)

// NewNodes returns what a node of this id needs; secret is the same for all
// nodes of one database, and at least 32 bytes.
func NewNodes(secret []byte, id string, now func() time.Time) (*Nodes, error) {
	if len(secret) < 32 {
		return nil, errors.New("tunnel: the nodes' secret is too short")
	}
	seed, err := hkdf.Key(sha256.New, secret, nil, "behalf node authority 1", ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	n := &Nodes{id: id, now: now, sign: ed25519.NewKeyFromSeed(seed), pool: x509.NewCertPool(), sessions: tls.NewLRUClientSessionCache(256)}
	if _, n.key, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Behalf nodes"},
		NotBefore: time.Unix(0, 0).UTC(), NotAfter: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, n.sign.Public(), n.sign)
	if err != nil {
		return nil, err
	}
	if n.authority, err = x509.ParseCertificate(raw); err != nil {
		return nil, err
	}
	n.pool.AddCert(n.authority)
	return n, nil
}

// certificate returns this node's, a fresh one where it is half used.
func (n *Nodes) certificate() (*tls.Certificate, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.now()
	if n.current != nil && now.Before(n.renew) {
		return n.current, nil
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: n.id}, DNSNames: []string{n.id},
		NotBefore: now.Add(-skew), NotAfter: now.Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, n.authority, n.key.Public(), n.sign)
	if err != nil {
		return nil, err
	}
	n.current, n.renew = &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: n.key}, now.Add(certificateLife/2)
	return n.current, nil
}

// Server is how this node takes connections of others.
func (n *Nodes) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: n.pool, Time: n.now, NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return n.certificate() },
	}
}

// client is how this node connects to another, and knows that it is the one.
func (n *Nodes) client(peer string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: n.pool, ServerName: peer, Time: n.now, NextProtos: []string{"http/1.1"}, ClientSessionCache: n.sessions,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return n.certificate() },
	}
}
