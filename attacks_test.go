package behalf_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
)

// What somebody who may edit profiles could do with secrets that they do not know.

func attackable() behalf.Definition {
	return behalf.Definition{Type: behalf.OAuth2, Name: "Notes", Provider: "Notes", ClientID: "c",
		AuthorizationURL: "https://as.example.com/authorize", TokenURL: "https://as.example.com/token", API: behalf.API{BaseURL: "https://api.example.com"}}
}

func TestAPasswordFieldNeverGoesThroughTheBrowser(t *testing.T) {
	pin := []behalf.AdditionalField{{Key: "pin", Type: behalf.FieldPassword, Visibility: behalf.Hidden, Value: "CONST"}}
	for name, change := range map[string]func(*behalf.Definition){
		"authorization_url": func(d *behalf.Definition) { d.AuthorizationURL += "?x={{pin}}" },
		"scope[0].value":    func(d *behalf.Definition) { d.Scope = []behalf.ScopeParam{{Key: "x", Value: "{{authfield1}}"}} },
		"oauth.authorization_params[0].value": func(d *behalf.Definition) {
			d.OAuth.AuthorizationParams = []behalf.Param{{Key: "x", Value: "{{base64 pin}}"}}
		},
		"oauth.issuer": func(d *behalf.Definition) { d.OAuth.Issuer = "https://as.example.com/{{pin}}" },
	} {
		d := attackable()
		d.AdditionalFields = pin
		change(&d)
		_, err := behalf.Compile(d)
		if e, _ := err.(*behalf.Error); e == nil || e.Field != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestASecretInsideAPlaceholderIsNotShown(t *testing.T) {
	for value, shown := range map[string]bool{
		`Bearer {{accessToken}}`:        true,
		`{{pin}}`:                       true,
		`Basic {{base64 "svc:S3CRET"}}`: false,
		`{{hmac "S3CRET" now}}`:         false,
		`{{default pin "S3CRET"}}`:      false,
		`S3CRET`:                        false,
		`S3CRET-{{pin}}`:                false,
	} {
		d := attackable()
		d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-Key", Value: value, Secret: true}}
		public, taken := d.SplitSecrets()
		if got := public.AuthorizationFields[0].Value == value; got != shown || (len(taken) == 0) != shown {
			t.Errorf("%s is shown: %v", value, got)
		}
	}
}

func TestAClosedListOfTenantsIsPartOfWhereASecretGoes(t *testing.T) {
	of := func(tenancy behalf.Tenancy, hosts ...string) behalf.Definition {
		d := attackable()
		d.AuthorizationURL, d.TokenURL, d.API.BaseURL = "https://{tenant}/authorize", "https://{tenant}/token", "https://{tenant}/api"
		tenancy.BaseURL, d.Tenancy, d.API.AllowedHosts = "https://{tenant}", &tenancy, hosts
		return d
	}
	good := of(behalf.Tenancy{Allowed: []string{"login.good.example"}}, "login.good.example")
	plan, err := behalf.Compile(good)
	if err != nil {
		t.Fatal(err)
	}
	p := behalf.Profile{Definition: good, Plan: plan, Secrets: behalf.ProfileSecrets{Client: []behalf.ClientSecret{{Value: secret.New("s")}}}}
	if _, err := p.Edited(of(behalf.Tenancy{Allowed: []string{"login.evil.example"}}, "login.evil.example"), nil); err == nil || !strings.Contains(err.Error(), "client_secret") {
		t.Errorf("moved with its secret: %v", err)
	}
	if _, err := p.Edited(good, nil); err != nil {
		t.Errorf("unchanged: %v", err)
	}
	wide := attackable()
	wide.TokenURL, wide.Tenancy = "https://{tenant}.sandbox.example/token", &behalf.Tenancy{BaseURL: "https://{tenant}.sandbox.example", Allowed: []string{"acme"}}
	if plan, err = behalf.Compile(wide); err != nil {
		t.Fatal(err)
	}
	p.Definition, p.Plan = wide, plan
	wide.Tenancy = &behalf.Tenancy{BaseURL: "https://{tenant}.sandbox.example"}
	if _, err := p.Edited(wide, nil); err == nil || !strings.Contains(err.Error(), "client_secret") {
		t.Errorf("widened with its secret: %v", err)
	}
}

func TestPatternsAndListsAreBounded(t *testing.T) {
	d := attackable()
	d.AdditionalFields = []behalf.AdditionalField{{Key: "a", Pattern: strings.Repeat(".{0,1000}", 54) + "x"}}
	if _, err := behalf.Compile(d); err == nil || !strings.Contains(err.Error(), "additional_fields[0].pattern") {
		t.Error(err)
	}
	// A quotation that is not closed would take in what is put behind a pattern.
	for _, quoted := range []string{`\Qabc`, `a|\Q`, `\Q)|.*|(`} {
		d.AdditionalFields = []behalf.AdditionalField{{Key: "a", Pattern: quoted}}
		plan, err := behalf.Compile(d)
		if err != nil {
			t.Fatalf("%s: %v", quoted, err)
		}
		for _, value := range []string{"abcd", "x", "a|", ")|.*|(x"} {
			if plan.CheckField("a", secret.New(value)) == nil {
				t.Errorf("%s takes %s", quoted, value)
			}
		}
	}
	if plan, _ := behalf.Compile(d); plan.CheckField("a", secret.New(")|.*|(")) != nil {
		t.Error("what is quoted is not taken")
	}
	d.AdditionalFields = make([]behalf.AdditionalField, 51)
	if _, err := behalf.Compile(d); err == nil || !strings.Contains(err.Error(), "at most 50") {
		t.Error(err)
	}
}

func TestAPolicyIsNotPassedByOddlyWrittenPaths(t *testing.T) {
	plan, err := behalf.Compile(attackable())
	if err != nil {
		t.Fatal(err)
	}
	credential := behalf.Credential{AccessToken: secret.New("t")}
	for path, good := range map[string]bool{
		"/v1/items/a%2Fb": true, "/v1/items/a.b..c": true, "/v1/items/%252Fok": true,
		"/v1/items/..%3b/admin": false, "/v1/items/%252e%252e/admin": false, "/v1/items/..%00/admin": false,
		"/v1/items/..%20/admin": false, "/v1/items%2f..%2fadmin": false, "/v1/items/%25252e./admin": false,
	} {
		_, err := plan.Authorize(behalf.Values{Plan: plan, Credential: &credential}, behalf.Call{Method: "GET", Path: path}, nil)
		if (err == nil) != good {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestASecretPathFieldFillsOnlyWhatTheProfileWrote(t *testing.T) {
	d := attackable()
	d.API.BaseURL = "https://api.example.com/bot{tok}"
	d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InPath, Key: "tok", Value: "S3CRET", Secret: true}, {In: behalf.InPath, Key: "team", Value: "t1"}}
	plan, err := behalf.Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	out, err := plan.Authorize(behalf.Values{Plan: plan}, behalf.Call{Method: "GET", Path: "/teams/{team}"}, nil)
	if err != nil || out.URL.String() != "https://api.example.com/botS3CRET/teams/t1" {
		t.Errorf("%v %v", out.URL, err)
	}
	if _, err := plan.Authorize(behalf.Values{Plan: plan}, behalf.Call{Method: "GET", Path: "/echo/{tok}"}, nil); err == nil {
		t.Error("the assistant has put the secret where it wants")
	}
}

func TestTokensStayWithTheHostsTheyWereGivenFor(t *testing.T) {
	in := behalf.Inputs{Origins: []string{"https://api.example.com", "https://as.example.com"}}
	for raw, good := range map[string]bool{
		"https://api.example.com/x": true, "https://API.example.com/x": true, "": true,
		"https://evil.example/x": false, "http://api.example.com/x": false, "https://api.example.com:8443/x": false, "https://api.example.com.evil.example/": false,
	} {
		if err := in.MaySend(raw); (err == nil) != good {
			t.Errorf("%s: %v", raw, err)
		}
	}
	plan, err := behalf.Compile(attackable())
	if err != nil {
		t.Fatal(err)
	}
	got, err := plan.Origins(behalf.Values{Plan: plan}, nil)
	if err != nil || strings.Join(got, " ") != "https://api.example.com https://as.example.com" {
		t.Error(got, err)
	}
}

func TestANameReadsAsItIs(t *testing.T) {
	a := behalf.NewAssistant("evil \u202elive", storeTime)
	if err := a.Validate(); err == nil {
		t.Error("a name that turns the direction of reading is taken")
	}
	for locale, good := range map[string]bool{"en": true, "pt-BR": true, "zh-Hant-TW": true, "xx_bogus!!": false, "e": false, "en-": false, "toolonglanguage": false} {
		plan, err := behalf.Compile(attackable())
		if err != nil {
			t.Fatal(err)
		}
		err = behalf.NewSession{User: "u", Locale: locale}.Validate(behalf.Assistant{}, plan)
		if (err == nil) != good {
			t.Errorf("%s: %v", locale, err)
		}
	}
}

var storeTime = time.UnixMilli(1_700_000_000_000)

// TestACopiedRequestRunsNothingElse pastes the command of a step whose profile
// and whose call were written by somebody else.
func TestACopiedRequestRunsNothingElse(t *testing.T) {
	step := behalf.TranscriptStep{Name: behalf.StepCall, Request: &behalf.SentMessage{Method: "POST", URL: "https://api.example.com/x", Body: "@/etc/passwd",
		Headers: http.Header{"X-Token`id`": {secret.Mask}, "X-$Home-'Key'": {secret.Mask}, "9-Token": {secret.Mask}}}}
	command := step.Curl()
	for _, unsafe := range []string{"--data ", "\"$X_TOKEN`", "$Home-", "\"$9"} {
		if strings.Contains(strings.ReplaceAll(command, "'X-$Home-'\\''Key'\\'': '", ""), unsafe) {
			t.Errorf("%s in\n%s", unsafe, command)
		}
	}
	if !strings.Contains(command, `--data-raw '@/etc/passwd'`) || !strings.Contains(command, "'X-Token`id`: '\"$X_TOKEN_ID_\"") {
		t.Error(command)
	}
}

// TestWhatIsMadeOfASecretIsOneToo holds for calls, whose addresses and fields
// may be filled with functions of what nobody may read.
func TestWhatIsMadeOfASecretIsOneToo(t *testing.T) {
	d := attackable()
	d.API.BaseURL = "https://api.example.com/{{hex env.PEPPER}}"
	d.CheckURL = "https://api.example.com/?x={{upper env.PEPPER}}"
	d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InQuery, Key: "k", Value: "a-{{hex env.PEPPER}}"}}
	plan, err := behalf.Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	v := behalf.Values{Plan: plan, Stored: behalf.Stored{"env.PEPPER": {Text: "chilli-pepper", Secret: true}}}
	out, err := plan.Authorize(v, behalf.Call{Method: "GET", Path: "/"}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	_, checked, err := plan.CheckURLFor(v, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for _, made := range []string{"6368696c6c692d706570706572", "CHILLI-PEPPER"} {
		if !slices.ContainsFunc(append(out.Secrets, checked...), func(s secret.Text) bool { return s.Equal(secret.New(made)) }) {
			t.Errorf("%s is not known to be secret", made)
		}
	}
}
