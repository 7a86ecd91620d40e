package kms

import (
	"context"
	"strings"

	"github.com/tink-crypto/tink-go-awskms/v3/integration/awskms"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// openAWS opens a key of AWS KMS by its ARN, which names the region. Credentials
// are found where AWS's own tools find them.
func openAWS(ctx context.Context, uri string) (tink.AEADWithContext, error) {
	return awskms.NewAEADWithContext(ctx, strings.TrimPrefix(uri, awsScheme))
}
