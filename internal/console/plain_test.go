package console_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/behalf-dev/behalf/internal/console"
)

func TestFieldsAreCalledByTheirLabels(t *testing.T) {
	for text, want := range map[string]string{
		"Correct token_url: it may be a page.":                             "Correct “Token Request URL”: it may be a page.",
		"Set oauth.client_auth to post.":                                   "Set “Client authentication” to post.",
		"Set oauth.token.reply.access_token to /authed_user/access_token.": "Set “Token” (reply.access_token) to /authed_user/access_token.",
		"Look at oauth.refresh.":                                           "Look at “Refreshing and revoking”.",
		"Compare client_id, and client_secret.":                            "Compare “Client ID”, and “Client Secret Key”.",
		"The scope is not known to auth.example.com.":                      "The scope is not known to auth.example.com.",
		"https://x.example/token_url?client_id=1 and {client_id}":          "https://x.example/token_url?client_id=1 and {client_id}",
		"": "",
	} {
		require.Equal(t, want, console.Plain(text))
	}
}
