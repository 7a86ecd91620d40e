package kms_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/internal/kms"
	"github.com/behalf-dev/behalf/internal/kms/kmstest"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/vault"
)

const arn = "aws-kms://arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-"

// service is a kind of service with two of its keys.
type service struct {
	*kmstest.Service
	one, two string
	cfg      kms.Config
}

func config() kms.Config { return kms.Config{Log: slog.New(slog.DiscardHandler)} }

func transit(t *testing.T) service {
	s := kmstest.NewTransit(t, filepath.Join(t.TempDir(), "ca.pem"))
	t.Setenv("VAULT_CACERT", s.CA)
	t.Setenv("VAULT_ADDR", "https://elsewhere.invalid") // the URI alone says where
	t.Setenv("VAULT_AGENT_ADDR", "https://elsewhere.invalid")
	cfg := config()
	cfg.Token = secret.New(s.Token)
	return service{s.Service, "hcvault://" + s.Host + "/transit/keys/one", "hcvault://" + s.Host + "/transit/keys/two", cfg}
}

func aws(t *testing.T) service {
	s := kmstest.NewAWS(t)
	t.Setenv("AWS_ENDPOINT_URL_KMS", s.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	return service{s.Service, arn + "one", arn + "two", config()}
}

func opened(t *testing.T, uri string, cfg kms.Config) *kms.Key {
	t.Helper()
	k, err := kms.Open(t.Context(), uri, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func each(t *testing.T, do func(*testing.T, service)) {
	for name, start := range map[string]func(*testing.T) service{"transit": transit, "AWS": aws} {
		t.Run(name, func(t *testing.T) { do(t, start(t)) })
	}
}

func TestAServiceOpensWhatItWrappedAndNothingElse(t *testing.T) {
	each(t, func(t *testing.T, s service) {
		one, two := opened(t, s.one, s.cfg), opened(t, s.two, s.cfg)
		wrapped, err := one.EncryptWithContext(t.Context(), []byte("secret"), []byte("about"))
		if err != nil || bytes.Contains(wrapped, []byte("secret")) {
			t.Fatal(err)
		}
		got, err := one.DecryptWithContext(t.Context(), wrapped, []byte("about"))
		if err != nil || string(got) != "secret" {
			t.Fatal(string(got), err)
		}
		asked := s.Asked()
		for name, try := range map[string]func() ([]byte, error){
			"another key":   func() ([]byte, error) { return two.DecryptWithContext(t.Context(), wrapped, []byte("about")) },
			"about another": func() ([]byte, error) { return one.DecryptWithContext(t.Context(), wrapped, []byte("other")) },
			"about nothing": func() ([]byte, error) { return one.DecryptWithContext(t.Context(), wrapped, nil) },
			"what was changed": func() ([]byte, error) {
				return one.DecryptWithContext(t.Context(), append(bytes.Clone(wrapped), 'A'), []byte("about"))
			},
		} {
			if got, err := try(); !errors.Is(err, kms.ErrRefused) {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
		if n := s.Asked() - asked; n != 4 {
			t.Errorf("asked %d times: who refuses is asked once", n)
		}
	})
}

func TestAServiceThatIsAwayIsAskedAgain(t *testing.T) {
	each(t, func(t *testing.T, s service) {
		once := opened(t, s.one, s.cfg)
		s.Away(1)
		if _, err := once.EncryptWithContext(t.Context(), []byte("secret"), nil); !errors.Is(err, kms.ErrAway) || !strings.Contains(err.Error(), s.one) {
			t.Fatal(err)
		}
		s.cfg.Wait = time.Minute
		patient := opened(t, s.one, s.cfg)
		s.Away(2)
		if _, err := patient.EncryptWithContext(t.Context(), []byte("secret"), nil); err != nil {
			t.Fatal(err)
		}
	})
}

func TestVaultRefusesAnotherToken(t *testing.T) {
	s := transit(t)
	s.cfg.Token, s.cfg.Wait = secret.New("hvs.wrong-token"), time.Minute
	_, err := opened(t, s.one, s.cfg).EncryptWithContext(t.Context(), []byte("my-secret"), nil)
	if !errors.Is(err, kms.ErrRefused) || strings.Contains(err.Error(), "wrong-token") || strings.Contains(err.Error(), "my-secret") {
		t.Error(err)
	}
	t.Setenv("VAULT_CACERT", "") // its certificate is nobody's: that is no outage
	if _, err := opened(t, s.one, s.cfg).EncryptWithContext(t.Context(), []byte("my-secret"), nil); !errors.Is(err, kms.ErrRefused) {
		t.Error(err)
	}
}

func TestWhatNamesNoKeyIsRefused(t *testing.T) {
	for _, uri := range []string{
		"hcvault://", "hcvault://host", "hcvault://host/transit/key/x", "hcvault://me:secret@host/transit/keys/x", "hcvault://host/transit/keys/x?a=b",
		"hcvault+http://vault.example.com/transit/keys/x", "hcvault+http://10.1.2.3/transit/keys/x",
		"aws-kms://alias/x", "aws-kms://", "gcp-kms://", "gcp-kms://projects/p", "gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k/../x", "azure://x",
	} {
		if _, err := kms.Open(t.Context(), uri, config()); err == nil {
			t.Errorf("%s is taken for a key", uri)
		}
	}
	for text, want := range map[string]bool{"behalf-root-key-v1 x": false, "": false, "hcvault://x": true, "aws-kms://x": true, "gcp-kms://x": true, "root.key": false} {
		if kms.Named(secret.New(text)) != want {
			t.Error(text)
		}
	}
}

func TestARootKeyIsHeldForOneDatabase(t *testing.T) {
	each(t, func(t *testing.T, s service) {
		ctx, key := t.Context(), opened(t, s.one, s.cfg)
		root, err := vault.HoldRootKey(ctx, s.one, key, "dbs_a")
		if err != nil || root.HeldBy() != s.one {
			t.Fatal(root.HeldBy(), err)
		}
		_, wrapped, err := vault.NewKeyring(root)
		if err != nil {
			t.Fatal(err)
		}
		held := vault.Held(wrapped)
		again, err := vault.OpenHeldRootKey(ctx, key, held)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := vault.OpenKeyring(again, wrapped); err != nil {
			t.Error(err)
		}
		code, err := root.Kit("dbs_a")
		if err != nil {
			t.Fatal(err)
		}
		kit, err := vault.ParseKit(code)
		if err != nil || kit.Root.HeldBy() != "" || kit.Root.HeldAs(wrapped).HeldBy() != s.one {
			t.Error("who came in by the kit loses what the service holds", err)
		}
		for name, bad := range map[string][]byte{
			"another database": bytes.Replace(held, []byte("dbs_a"), []byte("dbs_b"), 1),
			"nothing":          nil, "no JSON": []byte("{"), "an empty one": []byte("{}"),
		} {
			if _, err := vault.OpenHeldRootKey(ctx, key, bad); err == nil {
				t.Error(name)
			}
		}
		if _, err := vault.OpenHeldRootKey(ctx, opened(t, s.two, s.cfg), held); !errors.Is(err, kms.ErrRefused) {
			t.Error(err)
		}
	})
}

func TestAServiceThatLiesIsNotBelieved(t *testing.T) {
	each(t, func(t *testing.T, s service) {
		ctx, key := t.Context(), opened(t, s.one, s.cfg)
		root, err := vault.HoldRootKey(ctx, s.one, key, "dbs_a")
		if err != nil {
			t.Fatal(err)
		}
		_, wrapped, err := vault.NewKeyring(root)
		if err != nil {
			t.Fatal(err)
		}
		s.Lie([]byte("too short"))
		if _, err := vault.OpenHeldRootKey(ctx, key, vault.Held(wrapped)); !errors.Is(err, vault.ErrHeld) {
			t.Error(err)
		}
		s.Lie(bytes.Repeat([]byte("k"), 32))
		if _, err := vault.HoldRootKey(ctx, s.one, key, "dbs_a"); !errors.Is(err, vault.ErrHeld) {
			t.Error(err)
		}
		other, err := vault.OpenHeldRootKey(ctx, key, vault.Held(wrapped))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := vault.OpenKeyring(other, wrapped); !errors.Is(err, vault.ErrWrongRootKey) {
			t.Error(err)
		}
		s.Lie(nil)
		s.WrapNothing(true)
		if _, err := vault.HoldRootKey(ctx, s.one, key, "dbs_a"); !errors.Is(err, vault.ErrHeld) {
			t.Error(err)
		}
	})
}
