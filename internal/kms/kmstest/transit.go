// Package kmstest speaks, for tests, what key management services speak: as much
// of it as Behalf uses, with real encryption, and faults that can be switched on.
package kmstest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
)

// Service holds keys. Its faults may be changed at any time.
type Service struct {
	mu    sync.Mutex
	keys  map[string]cipher.AEAD
	asked int

	away  int    // how many requests are answered with 503 from now on; -1: all
	other []byte // is answered instead of what was opened
	plain bool   // what is to be wrapped is given back as it is
}

func newService() *Service { return &Service{keys: map[string]cipher.AEAD{}} }

// Away answers the next n requests with 503; -1: all.
func (s *Service) Away(n int) { s.set(func() { s.away = n }) }

// Lie answers something else whenever anything is opened; nil: the truth.
func (s *Service) Lie(other []byte) { s.set(func() { s.other = other }) }

// WrapNothing gives back what it is to wrap.
func (s *Service) WrapNothing(on bool) { s.set(func() { s.plain = on }) }

// Forget destroys every key; the next use of a name makes another.
func (s *Service) Forget() { s.set(func() { clear(s.keys) }) }

// Asked returns how often it was asked.
func (s *Service) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *Service) set(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

func (s *Service) isAway() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.away > 0 {
		s.away--
		return true
	}
	return s.away < 0
}

func (s *Service) key(name string) cipher.AEAD {
	if s.keys[name] == nil {
		var key [32]byte
		_, _ = rand.Read(key[:])
		block, _ := aes.NewCipher(key[:])
		s.keys[name], _ = cipher.NewGCM(block)
	}
	return s.keys[name]
}

func (s *Service) wrap(name string, plain, about []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plain {
		return plain
	}
	nonce := make([]byte, 12)
	_, _ = rand.Read(nonce)
	return s.key(name).Seal(nonce, nonce, plain, about)
}

func (s *Service) open(name string, wrapped, about []byte) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plain {
		return wrapped, true
	}
	if len(wrapped) < 12 {
		return nil, false
	}
	plain, err := s.key(name).Open(nil, wrapped[:12], wrapped[12:], about)
	if err == nil && s.other != nil {
		return s.other, true
	}
	return plain, err == nil
}

// Transit is Vault's and OpenBao's transit engine at /v1/transit, by TLS.
type Transit struct {
	*Service
	Host, Token, CA string // CA is the name of a file with the certificate
}

// NewTransit runs one until the test ends.
func NewTransit(t testing.TB, caFile string) *Transit {
	s, stop, err := StartTransit(caFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return s
}

// StartTransit runs one until stop is called.
func StartTransit(caFile string) (t *Transit, stop func(), err error) {
	s := newService()
	server := httptest.NewUnstartedServer(http.HandlerFunc(s.transit))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // who does not trust it says so
	server.StartTLS()
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(caFile, certificate, 0o600); err != nil {
		server.Close()
		return nil, nil, err
	}
	return &Transit{Service: s, Host: strings.TrimPrefix(server.URL, "https://"), Token: TransitToken, CA: caFile}, server.Close, nil
}

// TransitToken is the one that a Transit takes.
const TransitToken = "hvs.test-token"

// transit answers as the engine's HTTP API is documented
// (developer.hashicorp.com/vault/api-docs/secret/transit, openbao.org/api-docs/secret/transit).
func (s *Service) transit(w http.ResponseWriter, r *http.Request) {
	at := strings.Split(r.URL.Path, "/") // "", v1, transit, encrypt, NAME
	switch {
	case s.isAway():
		reply(w, http.StatusServiceUnavailable, map[string]any{"errors": []string{"Vault is sealed"}})
	case r.Header.Get("X-Vault-Token") != TransitToken:
		reply(w, http.StatusForbidden, map[string]any{"errors": []string{"permission denied"}})
	case len(at) != 5 || at[1] != "v1" || at[2] != "transit" || r.Method != http.MethodPut && r.Method != http.MethodPost:
		reply(w, http.StatusNotFound, map[string]any{"errors": []string{}})
	default:
		s.transitDo(w, r, at[3], at[4])
	}
}

func (s *Service) transitDo(w http.ResponseWriter, r *http.Request, method, name string) {
	var ask struct {
		Plaintext  []byte `json:"plaintext"`
		Ciphertext string `json:"ciphertext"`
		About      []byte `json:"associated_data"`
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		reply(w, http.StatusBadRequest, map[string]any{"errors": []string{"invalid request"}})
		return
	}
	if method == "encrypt" {
		text := "vault:v1:" + base64.StdEncoding.EncodeToString(s.wrap(name, ask.Plaintext, ask.About))
		reply(w, http.StatusOK, map[string]any{"data": map[string]any{"ciphertext": text, "key_version": 1}})
		return
	}
	encoded, versioned := strings.CutPrefix(ask.Ciphertext, "vault:v1:")
	wrapped, err := base64.StdEncoding.DecodeString(encoded)
	plain, ok := s.open(name, wrapped, ask.About)
	if method != "decrypt" || !versioned || err != nil || !ok {
		reply(w, http.StatusBadRequest, map[string]any{"errors": []string{"cipher: message authentication failed"}})
		return
	}
	reply(w, http.StatusOK, map[string]any{"data": map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plain)}})
}

// AWS is AWS KMS over HTTP, in its JSON 1.1 protocol.
type AWS struct {
	*Service
	URL string
}

// NewAWS runs one until the test ends.
func NewAWS(t testing.TB) *AWS {
	s := newService()
	server := httptest.NewServer(http.HandlerFunc(s.aws))
	t.Cleanup(server.Close)
	return &AWS{s, server.URL}
}

// aws answers as docs.aws.amazon.com/kms/latest/APIReference describes. The
// context of an encryption is its associated data.
func (s *Service) aws(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		KeyId                     string
		Plaintext, CiphertextBlob []byte
		EncryptionContext         map[string]string
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=") || json.NewDecoder(r.Body).Decode(&ask) != nil {
		reply(w, http.StatusBadRequest, map[string]any{"__type": "MissingAuthenticationTokenException"})
		return
	}
	if s.isAway() {
		reply(w, http.StatusInternalServerError, map[string]any{"__type": "KMSInternalException"})
		return
	}
	about := fmt.Appendf(nil, "%q", ask.EncryptionContext) // fmt sorts a map
	switch r.Header.Get("X-Amz-Target") {
	case "TrentService.Encrypt":
		reply(w, http.StatusOK, map[string]any{"CiphertextBlob": s.wrap(ask.KeyId, ask.Plaintext, about), "KeyId": ask.KeyId, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"})
	case "TrentService.Decrypt":
		plain, ok := s.open(ask.KeyId, ask.CiphertextBlob, about)
		if !ok {
			reply(w, http.StatusBadRequest, map[string]any{"__type": "InvalidCiphertextException"})
			return
		}
		reply(w, http.StatusOK, map[string]any{"Plaintext": plain, "KeyId": ask.KeyId, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"})
	default:
		reply(w, http.StatusBadRequest, map[string]any{"__type": "UnknownOperationException"})
	}
}

func reply(w http.ResponseWriter, status int, body any) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
