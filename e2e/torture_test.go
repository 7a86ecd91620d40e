package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/e2e/servers"
)

// TestKilledServersUseNoRefreshTokenTwice lets a provider that others wrote, and
// that revokes a grant when one of its refresh tokens comes back, judge a small
// storm: afterwards every connection must refresh once more.
func TestKilledServersUseNoRefreshTokenTwice(t *testing.T) {
	binary, redirectURI := behalfBinary(t), "http://127.0.0.1:9/callback"
	provider := servers.Start(t, "oidc-provider", servers.Options{RedirectURIs: []string{redirectURI}, TokenTTL: 20 * time.Second})
	torture := exec.Command(binary, "torture", "--nodes", "2", "--connections", "12", "--callers", "4", "--kills", "4", "--for", "5s", "--freeze", "1s", "--json",
		"--issuer", provider.Issuer, "--issuer-stats", provider.Issuer+"/issued", "--client", provider.ClientID+":"+provider.ClientSecret, "--redirect-uri", redirectURI)
	torture.Stderr = os.Stderr
	output, err := torture.Output()
	if err != nil {
		t.Errorf("torture: %v", err)
	}
	var got struct {
		Refreshes, Kills, Duplicates int
		FamiliesRevoked              int `json:"families_revoked"`
		Lost, Unavoidable, Announced int
		Unsettled, Unreplayed        int
	}
	if err := json.Unmarshal(output, &got); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if got.Kills != 4 || got.Refreshes < 12 {
		t.Errorf("that was no storm: %s", output)
	}
	if got.Duplicates+got.FamiliesRevoked+got.Unsettled+got.Unreplayed > 0 || got.Lost > got.Unavoidable || got.Announced < got.Lost {
		t.Errorf("%s", output)
	}
}
