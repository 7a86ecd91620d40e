package kms

import (
	"context"
	"errors"
	"net/url"

	vaultapi "github.com/hashicorp/vault/api"
	"github.com/tink-crypto/tink-go-hcvault/v2/integration/hcvault"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/behalf-dev/behalf/internal/secret"
)

// openVault opens a key of the transit engine of Vault or OpenBao. Certificates
// and namespace come from the environment, as Vault's own tools read it
// (VAULT_CACERT, VAULT_NAMESPACE, …); the server is the URI's alone.
func openVault(uri string, token secret.Text) (tink.AEADWithContext, error) {
	u, err := hostOf(uri)
	if err != nil {
		return nil, err
	}
	cfg := vaultapi.DefaultConfig()
	if cfg.Error != nil {
		return nil, cfg.Error
	}
	cfg.Address, cfg.AgentAddress = (&url.URL{Scheme: u.Scheme, Host: u.Host}).String(), ""
	cfg.Timeout, cfg.MaxRetries = askLimit, 0 // it is asked again by Key
	client, err := vaultapi.NewClient(cfg)
	if err != nil {
		return nil, err
	}
	client.SetToken(token.Reveal())
	aead, err := hcvault.NewAEAD(u.EscapedPath(), client.Logical())
	if err != nil {
		return nil, errors.New("expected hcvault://HOST:PORT/transit/keys/NAME")
	}
	return withoutContext{aead}, nil
}

// withoutContext is for a client that takes no context; Key bounds it.
type withoutContext struct{ aead tink.AEAD }

func (w withoutContext) EncryptWithContext(_ context.Context, plaintext, about []byte) ([]byte, error) {
	return w.aead.Encrypt(plaintext, about)
}

func (w withoutContext) DecryptWithContext(_ context.Context, wrapped, about []byte) ([]byte, error) {
	return w.aead.Decrypt(wrapped, about)
}

func vaultStatus(err error) int {
	var refused *vaultapi.ResponseError
	if !errors.As(err, &refused) {
		return 0
	}
	return refused.StatusCode
}
