package behalf_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
)

func TestSecretsAreTakenOutAndPutBackWithoutLoss(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := acorn()
		words := rapid.StringMatching(`[A-Za-z|,]{1,3}`)
		for range rapid.IntRange(0, 6).Draw(t, "authorization fields") {
			d.AuthorizationFields = append(d.AuthorizationFields, behalf.AuthorizationField{
				In: rapid.SampledFrom([]behalf.Placement{behalf.InHeader, behalf.InPayload, behalf.InQuery}).Draw(t, "in"), Key: words.Draw(t, "key"),
				Value: rapid.SampledFrom([]string{"", "literal-1", "literal-2", "Bearer {{accessToken}}", "{{user}}-x"}).Draw(t, "value"), Secret: rapid.Bool().Draw(t, "secret"),
				Methods: rapid.SampledFrom([][]string{nil, {"GET"}, {"|"}, {"GET", "POST"}}).Draw(t, "methods"), Paths: rapid.SampledFrom([][]string{nil, {"/a"}, {"/a", "/b"}, {"/|"}}).Draw(t, "paths")})
		}
		for range rapid.IntRange(0, 3).Draw(t, "additional fields") {
			d.AdditionalFields = append(d.AdditionalFields, behalf.AdditionalField{Key: rapid.StringMatching(`[a-c]`).Draw(t, "name"),
				Type: rapid.SampledFrom([]behalf.FieldType{"", behalf.FieldPassword}).Draw(t, "type"), Value: rapid.SampledFrom([]string{"", "pass-1", "pass-2"}).Draw(t, "default")})
		}
		p, err := behalf.Compile(d)
		if err != nil {
			t.Skip("not a definition")
		}
		shown, taken := p.Definition.SplitSecrets()
		text, err := json.Marshal(shown)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range taken {
			if s.Reveal() == "" {
				t.Fatal("nothing was taken")
			}
		}
		for i, f := range p.AuthorizationFields {
			if f.Secret && strings.HasPrefix(f.Value, "literal") && shown.AuthorizationFields[i].Value != "" {
				t.Fatalf("shown: %s", text)
			}
		}
		var read behalf.Definition
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p.Definition.AuthorizationFields, read.JoinSecrets(taken).AuthorizationFields); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(p.Definition.AdditionalFields, read.JoinSecrets(taken).AdditionalFields); diff != "" {
			t.Fatal(diff)
		}
	})
}

func withSecrets() behalf.Definition {
	d := acorn()
	d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-Key", Value: "s3cret", Secret: true}}
	d.AdditionalFields = []behalf.AdditionalField{{Key: "pin", Type: behalf.FieldPassword, Value: "1234"}}
	return d
}

func through(connector string) func(*behalf.Definition) {
	return func(d *behalf.Definition) { d.Connector = &connector }
}

func TestASecretIsNotTakenThroughAnotherConnector(t *testing.T) {
	for name, test := range map[string]struct {
		from, to string
		asked    bool
	}{"to one": {"", "lab", true}, "to another": {"lab", "office", true}, "back": {"lab", "", true}, "the same": {"lab", "lab", false}, "none, in another form": {"", "", false}} {
		t.Run(name, func(t *testing.T) {
			profile := behalf.Profile{Definition: withSecrets(), Secrets: behalf.ProfileSecrets{Client: []behalf.ClientSecret{{Value: secret.New("client")}}}}
			if test.from != "" {
				through(test.from)(&profile.Definition)
			}
			profile.Plan = compile(t, profile.Definition)
			d, _ := profile.Definition.SplitSecrets()
			through(test.to)(&d)
			_, err := profile.Edited(d, nil)
			for _, f := range []string{"client_secret", "authorization_fields[0].value", "additional_fields[0].value"} {
				if slices.Contains(fields(err), f) != test.asked {
					t.Errorf("%s: %v", f, err)
				}
			}
		})
	}
}

func TestAnEditKeepsSecretsUnlessTheyWouldGoElsewhere(t *testing.T) {
	profile := behalf.Profile{Definition: withSecrets(), Secrets: behalf.ProfileSecrets{Client: []behalf.ClientSecret{{Value: secret.New("client")}}}}
	profile.Plan = compile(t, profile.Definition)
	const calls = "authorization_fields[0].value"
	for name, test := range map[string]struct {
		change func(*behalf.Definition)
		client []behalf.ClientSecret
		fields []string
	}{
		"another name":                     {change: func(d *behalf.Definition) { d.Name = "New" }},
		"another path":                     {change: func(d *behalf.Definition) { d.TokenURL = "https://auth.acorn.example/oauth/token" }},
		"fewer hosts":                      {change: func(d *behalf.Definition) { d.API.BaseURL = "https://auth.acorn.example/v1" }},
		"another token host":               {change: func(d *behalf.Definition) { d.TokenURL = "https://evil.example/token" }, fields: []string{"client_secret", calls, "additional_fields[0].value"}},
		"another token host, secret given": {change: func(d *behalf.Definition) { d.TokenURL = "https://auth2.acorn.example/token" }, client: []behalf.ClientSecret{{Value: secret.New("x")}}, fields: []string{calls}},
		"another refresh host":             {change: func(d *behalf.Definition) { d.RefreshURL = "https://evil.example/token" }, fields: []string{"client_secret"}},
		"another revocation host":          {change: func(d *behalf.Definition) { d.OAuth.RevocationURL = "https://evil.example/" }, fields: []string{"client_secret"}},
		"the token host without TLS":       {change: func(d *behalf.Definition) { d.TokenURL = "http://auth.acorn.example/token" }, fields: []string{"client_secret"}},
		"another port":                     {change: func(d *behalf.Definition) { d.TokenURL = "https://auth.acorn.example:8443/token" }, fields: []string{"client_secret"}},
		"an API host that is allowed":      {change: func(d *behalf.Definition) { d.TokenURL = "https://api.acorn.example/token" }, fields: []string{"client_secret"}},
		"another API host":                 {change: func(d *behalf.Definition) { d.API.BaseURL = "https://evil.example/" }, fields: []string{calls, "additional_fields[0].value"}},
		"one more allowed host": {change: func(d *behalf.Definition) {
			d.API.AllowedHosts = []string{"auth.acorn.example", "api.acorn.example", "evil.example"}
		}, fields: []string{calls}},
		"the API without TLS":               {change: func(d *behalf.Definition) { d.API.BaseURL = "http://api.acorn.example/v1" }, fields: []string{calls}},
		"through a connector":               {change: through("lab"), fields: []string{"client_secret", calls, "additional_fields[0].value"}},
		"through a connector, secret given": {change: through("lab"), client: []behalf.ClientSecret{{Value: secret.New("x")}}, fields: []string{calls}},
		"another check host":                {change: func(d *behalf.Definition) { d.CheckURL = "https://evil.example/" }, fields: []string{calls}},
	} {
		t.Run(name, func(t *testing.T) {
			d, _ := profile.Definition.SplitSecrets() // as it was shown and is sent back
			test.change(&d)
			got, err := profile.Edited(d, test.client)
			for _, f := range test.fields {
				if !slices.Contains(fields(err), f) {
					t.Errorf("%s is not asked for again: %v", f, err)
				}
			}
			if len(test.fields) > 0 {
				return
			}
			if err != nil || got.AuthorizationFields[0].Value != "s3cret" || got.AdditionalFields[0].Value != "1234" || got.Secrets.Client[0].Value.Reveal() != "client" {
				t.Errorf("secrets were lost: %v", err)
			}
		})
	}
}

func TestClientSecretsThatHaveExpiredAreNotUsed(t *testing.T) {
	now := time.Unix(1000, 0)
	p := behalf.Profile{Secrets: behalf.ProfileSecrets{Client: []behalf.ClientSecret{{Value: secret.New("new")}, {Value: secret.New("ends now"), ExpiresAt: now}, {Value: secret.New("old"), ExpiresAt: now.Add(1)}}}}
	got := p.ClientSecrets(now)
	if len(got) != 2 || got[0].Reveal() != "new" || got[1].Reveal() != "old" {
		t.Errorf("%d secrets", len(got))
	}
}

func TestAClientSecretsLimits(t *testing.T) {
	for text, ok := range map[string]bool{strings.Repeat("s", 255): true, strings.Repeat("s", 256): false, "a\nb": false, "a\x00": false, "s3cr:t/+ %x": true} {
		err := behalf.ProfileSecrets{Client: []behalf.ClientSecret{{Value: secret.New(text)}}}.Validate()
		if (err == nil) != ok || err != nil && strings.Contains(err.Error(), text) {
			t.Errorf("%d characters: %v", len(text), err)
		}
	}
}
