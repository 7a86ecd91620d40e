package server_test

import (
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/storetest"
)

const pepper = "Chilli-of-the-3rd-shelf"

// peppered is a stage whose profile a developer has changed without knowing a
// secret of it.
func peppered(t *testing.T, change func(d *behalf.Definition, base string)) (*stage, string) {
	t.Helper()
	s := newStage(t, servertest.Setup{})
	s.Secret(pepper)
	s.Do(s.Owner, http.MethodPut, s.api("/variables/env/PEPPER"), api.VariableBody{Value: pepper, Secret: true})
	developer := s.NewKey(behalf.Key{Name: "developer", Role: behalf.RoleDeveloper})
	d := s.Profile.Definition
	change(&d, s.Provider)
	if a := s.Do(developer, http.MethodPut, s.api("/profiles/"+s.Profile.Slug), api.ProfileBody{Definition: d}); a.Status != http.StatusOK {
		t.Fatal(a.Status, string(a.Body))
	}
	return s, developer
}

// TestNoFunctionTakesASecretIntoATranscript: what a placeholder makes of a
// secret is masked like the secret itself, under whatever name and wherever it
// is sent.
func TestNoFunctionTakesASecretIntoATranscript(t *testing.T) {
	s, developer := peppered(t, func(d *behalf.Definition, base string) {
		d.OAuth.TokenParams = []behalf.Param{{Key: "note", Value: "{{hex clientSecret}}"}, {Key: "begins", Value: "{{hex (substr clientSecret 0 8)}}"}, {Key: "ends", Value: "-{{substr clientSecret 2}}-"}, {Key: "spice", Value: "{{hex env.PEPPER}}"}}
		d.OAuth.Token.Headers = []behalf.Param{{Key: "X-Note", Value: "{{upper clientSecret}}"}, {Key: "X-Spice", Value: "{{upper env.PEPPER}}"}}
		d.CheckURL = base + "/api/notes?note={{hex env.PEPPER}}"
		d.OAuth.PostConnect = []behalf.Step{{Name: "look", URL: base + "/api/{{hex clientSecret}}?a={{upper env.PEPPER}}", Body: "query", Params: []behalf.Param{{Key: "note", Value: "{{hex clientSecret}}"}},
			Shape: behalf.Shape{Method: http.MethodGet, Headers: []behalf.Param{{Key: "X-Hex", Value: "{{hex clientSecret}}"}}}}}
	})
	quick := s.tests(s.Profile, api.TrialBody{Quick: true})
	full, _ := s.runs(s.Profile, api.TrialBody{})
	for name, id := range map[string]string{"the quick check": quick.ID, "the test": full.ID} {
		got := string(s.Do(developer, http.MethodGet, s.trials(s.Profile)+"/"+id, nil).Body)
		if !strings.Contains(got, "note=") || !strings.Contains(got, "X-Note") {
			t.Errorf("%s has not sent it: %s", name, got)
		}
		for _, of := range []string{storetest.ClientSecret, pepper} {
			for form, text := range map[string]string{"hex": hex.EncodeToString([]byte(of)), "a part in hex": hex.EncodeToString([]byte(of[:8])), "upper case": strings.ToUpper(of)[:4], "a part": of[2:]} {
				if strings.Contains(got, text) {
					t.Errorf("%s shows %s of a secret", name, form)
				}
			}
		}
	}
	if full.Steps[len(full.Steps)-1].Name == behalf.StepTokenRequest {
		t.Errorf("the test has not come far: %s", names(full))
	}
}

// TestASecretIsNotTakenApart: parts that are too short to be masked, or short
// enough to be guessed, are not sent at all.
func TestASecretIsNotTakenApart(t *testing.T) {
	s, _ := peppered(t, func(d *behalf.Definition, _ string) {
		d.OAuth.TokenParams = []behalf.Param{{Key: "a", Value: "{{substr clientSecret 0 3}}"}}
	})
	got := s.tests(s.Profile, api.TrialBody{Quick: true})
	x := step(t, got.Steps, behalf.StepTokenRequest)
	if got.Status != "failed" || x.Request != nil {
		t.Errorf("%s: %+v", got.Status, x.Request)
	}
}
