package tunnel

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"

	"github.com/behalf-dev/behalf/internal/secret"
)

// Identity is what an agent is by: made by itself when it enrols, kept in a file
// that its user alone may read. The private key never leaves the machine.
type Identity struct {
	Server    string
	Connector string // its name
	Agent     string // agt_…
	Key       ed25519.PrivateKey
}

type identityFile struct {
	Server    string `json:"server"`
	Connector string `json:"connector"`
	Agent     string `json:"agent"`
	Key       []byte `json:"key"`
}

// LoadIdentity reads the file that Enrol wrote.
func LoadIdentity(name string) (Identity, error) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Identity{}, fmt.Errorf("there is no %s: enrol this agent first, with behalf connector enrol", name)
	case err != nil:
		return Identity{}, err
	case open(info):
		return Identity{}, fmt.Errorf("%s holds this agent's private key and others may read it: chmod 600 it, and enrol anew if others are on this machine", name)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return Identity{}, err
	}
	var f identityFile
	if err := json.Unmarshal(raw, &f); err != nil || len(f.Key) != ed25519.SeedSize || f.Agent == "" {
		return Identity{}, fmt.Errorf("%s is not what enrolment writes: enrol this agent anew", name)
	}
	return Identity{f.Server, f.Connector, f.Agent, ed25519.NewKeyFromSeed(f.Key)}, nil
}

// save writes the file; an identity that is there already is not overwritten.
func (i Identity) save(name string) error {
	raw, err := json.MarshalIndent(identityFile{i.Server, i.Connector, i.Agent, i.Key.Seed()}, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

// EnrolRequest is what an agent sends once; EnrolAnswer what it gets.
type (
	EnrolRequest struct {
		Token     string `json:"token"`
		PublicKey []byte `json:"public_key"`
		Proof     []byte `json:"proof"` // the public key signed by itself: that the private one is at hand
		Hostname  string `json:"hostname"`
	}
	EnrolAnswer struct {
		Agent     string `json:"agent"`
		Connector string `json:"connector"`
	}
)

func enrolProof(key ed25519.PublicKey) []byte { return append([]byte("behalf enrol\x00"), key...) }

// Proven reports whether the sender of the request holds its private key.
func (r EnrolRequest) Proven() bool {
	return len(r.PublicKey) == ed25519.PublicKeySize && ed25519.Verify(r.PublicKey, enrolProof(r.PublicKey), r.Proof)
}

// Enrol makes a key, shows the server its public half with the one-time token,
// and writes the identity file.
func Enrol(ctx context.Context, c *Config, server string, token secret.Text) (Identity, error) {
	u, err := ServerURL(server)
	if err != nil {
		return Identity{}, fmt.Errorf("server: %w", err)
	}
	if _, err := os.Stat(c.Identity); err == nil {
		return Identity{}, fmt.Errorf("%s is there already: this agent is enrolled; move the file away to enrol it anew", c.Identity)
	}
	client, err := c.client(u)
	if err != nil {
		return Identity{}, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Identity{}, err
	}
	host, _ := os.Hostname()
	body, err := json.Marshal(EnrolRequest{Token: token.Reveal(), PublicKey: public, Proof: ed25519.Sign(private, enrolProof(public)), Hostname: host})
	if err != nil {
		return Identity{}, err
	}
	answer, err := post(ctx, client, u.String()+PathEnrol, body)
	if err != nil {
		return Identity{}, err
	}
	id := Identity{Server: u.String(), Connector: answer.Connector, Agent: answer.Agent, Key: private}
	if err := id.save(c.Identity); err != nil {
		return Identity{}, fmt.Errorf("enrolled, but the identity could not be written; make a new token and enrol again: %w", err)
	}
	return id, nil
}

func post(ctx context.Context, client *http.Client, url string, body []byte) (EnrolAnswer, error) {
	var answer EnrolAnswer
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return answer, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return answer, fmt.Errorf("the server could not be reached: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return answer, fmt.Errorf("the server's answer broke off: %w", err)
	}
	if res.StatusCode != http.StatusCreated {
		var p struct{ Detail string }
		if json.Unmarshal(raw, &p) != nil || p.Detail == "" {
			p.Detail = "status " + res.Status + ": is this the address of a Behalf server?"
		}
		return answer, fmt.Errorf("the server refused: %s", p.Detail)
	}
	if err := json.Unmarshal(raw, &answer); err != nil || answer.Agent == "" {
		return answer, errors.New("the server's answer is not that of a Behalf server")
	}
	return answer, nil
}

// Fingerprint is a public key as an administrator may compare it.
func Fingerprint(key ed25519.PublicKey) string {
	return base64.RawStdEncoding.EncodeToString(key)
}
