package console

import (
	"net/http"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
	"github.com/behalf-dev/behalf/internal/store"
)

// profileRow is a profile in the list.
type profileRow struct {
	behalf.Profile
	Connections string
	LastTest    *behalf.Transcript // nil: it was never tested
}

func (v *visit) listProfiles() error {
	if err := v.inAssistant(); err != nil {
		return err
	}
	return v.profilesWith(http.StatusOK, faults{})
}

// profilesWith shows the list, with what was wrong.
func (v *visit) profilesWith(status int, f faults) error {
	profiles, err := v.db.Profiles(v.ctx(), v.assistant.ID, store.Page{})
	if err != nil {
		return err
	}
	rows := make([]profileRow, 0, len(profiles))
	for _, p := range profiles {
		n, err := v.connections(p)
		if err != nil {
			return err
		}
		last, err := v.lastTest(p)
		if err != nil {
			return err
		}
		rows = append(rows, profileRow{p, n, last})
	}
	deleted, err := v.db.DeletedProfiles(v.ctx(), v.assistant.ID, store.Page{})
	if err != nil {
		return err
	}
	return v.show(status, "Authorization Profiles", v.profilesPage(rows, deleted, f))
}

// connections counts those of a profile that can be used.
func (v *visit) connections(p behalf.Profile) (string, error) {
	all, err := v.db.Connections(v.ctx(), p.Assistant, store.ConnectionFilter{Profile: p.ID}, store.Page{})
	n := 0
	for _, c := range all {
		if c.Status == behalf.ConnectionActive {
			n++
		}
	}
	if len(all) == pageFull {
		return number(int64(n)) + "+", err
	}
	return number(int64(n)), err
}

// typeNames are the authorization types as the form calls them.
var typeNames = map[behalf.AuthorizationType]string{
	behalf.OAuth2:                  "OAuth v2",
	behalf.OAuth2ClientCredentials: "OAuth v2 client credentials",
	behalf.OAuth2Password:          "OAuth v2 password grant",
	behalf.OAuth2Device:            "OAuth v2 device",
	behalf.JWTBearer:               "JWT bearer",
	behalf.TokenExchange:           "Token exchange",
	behalf.APIKey:                  "API key",
	behalf.Basic:                   "Basic",
}

// standing is the state of a profile in the words of the list.
func standing(p behalf.Profile) (look.Tone, string) {
	switch p.Status {
	case behalf.ProfileConfigured:
		return look.Good, "Configured"
	case behalf.ProfileFailing:
		return look.Bad, "Failing"
	}
	return look.Plain, "Not Configured"
}
