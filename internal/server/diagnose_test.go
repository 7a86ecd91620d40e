package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/simulator"
)

// wrong is something that is wrong, and what a test of the profile says of it.
type wrong struct {
	provider simulator.Switches
	profile  func(*behalf.Definition)
	tenant   string
	quick    bool
	step     behalf.StepName
	code     string
	who      behalf.Responsible
	fix      string // is in the fix
	passes   bool   // it is advice
}

func answers(status int, body string) simulator.Switches {
	return simulator.Switches{Answer: &simulator.Answer{Status: status, Body: body}}
}

// also makes an OpenID definition and changes it.
func also(change func(*behalf.Definition)) func(*behalf.Definition) {
	return func(d *behalf.Definition) { openID(d); change(d) }
}

var wrongs = map[string]wrong{
	"the secret is wrong":                   {provider: simulator.Switches{InvalidClient: true}, step: behalf.StepTokenRequest, code: "wrong_secret", who: behalf.ByAdministrator, fix: "Copy client id and secret anew"},
	"the secret belongs into the body":      {provider: simulator.Switches{ClientAuth: "post"}, step: behalf.StepTokenRequest, code: "wrong_client_auth", who: behalf.ByAdministrator, fix: "oauth.client_auth to post"},
	"the secret belongs into the header":    {provider: simulator.Switches{ClientAuth: "basic"}, profile: func(d *behalf.Definition) { d.OAuth.ClientAuth = behalf.ClientAuthPost }, step: behalf.StepTokenRequest, code: "wrong_client_auth", who: behalf.ByAdministrator, fix: "oauth.client_auth to basic"},
	"PKCE is demanded":                      {profile: func(d *behalf.Definition) { d.OAuth.PKCE = behalf.PKCEOff }, step: behalf.StepCallback, code: "pkce_required", who: behalf.ByAdministrator, fix: "oauth.pkce to required"},
	"PKCE is not known":                     {provider: simulator.Switches{PKCERefused: true}, step: behalf.StepCallback, code: "pkce_unsupported", who: behalf.ByAdministrator, fix: "oauth.pkce to off"},
	"a scope does not exist":                {profile: func(d *behalf.Definition) { d.Scope[0].Value = "notes:fly" }, step: behalf.StepCallback, code: "scope_refused", who: behalf.ByAdministrator, fix: "spelling"},
	"no refresh token comes":                {provider: simulator.Switches{NoRefreshTokenOnExchange: true}, step: behalf.StepTokenRequest, code: "no_refresh_token", who: behalf.ByAdministrator, fix: "access_type=offline", passes: true},
	"the callback names another issuer":     {provider: simulator.Switches{WrongIss: true}, step: behalf.StepCallback, code: "wrong_issuer", who: behalf.ByAdministrator, fix: "oauth.issuer"},
	"the ID token names another issuer":     {provider: simulator.Switches{IDTokenWrongIss: true}, profile: openID, step: behalf.StepValidation, code: "wrong_issuer", who: behalf.ByAdministrator, fix: "oauth.issuer"},
	"iss is missing":                        {provider: simulator.Switches{MissingIss: true}, step: behalf.StepCallback, code: "iss_missing", who: behalf.ByAdministrator, fix: "oauth.require_iss off"},
	"the ID token is another client's":      {provider: simulator.Switches{IDTokenWrongAud: true}, profile: openID, step: behalf.StepValidation, code: "id_token_audience", who: behalf.ByAdministrator, fix: "client_id"},
	"the ID token has another nonce":        {provider: simulator.Switches{IDTokenWrongNonce: true}, profile: openID, step: behalf.StepValidation, code: "id_token_nonce", who: behalf.ByProvider, fix: "openid"},
	"the ID token has expired":              {provider: simulator.Switches{IDTokenExpired: true}, profile: openID, step: behalf.StepValidation, code: "id_token_expired", who: behalf.ByProvider, fix: "Try again"},
	"the ID token's signature is bad":       {provider: simulator.Switches{IDTokenBadSignature: true}, profile: openID, step: behalf.StepValidation, code: "id_token_signature", who: behalf.ByAdministrator, fix: "oauth.jwks_url"},
	"the ID token is unsigned":              {provider: simulator.Switches{IDTokenAlgNone: true}, profile: openID, step: behalf.StepValidation, code: "id_token_signature", who: behalf.ByAdministrator, fix: "oauth.jwks_url"},
	"no ID token comes":                     {provider: simulator.Switches{NoIDToken: true}, profile: openID, step: behalf.StepValidation, code: "id_token_missing", who: behalf.ByAdministrator, fix: "openid"},
	"the clocks are an hour apart":          {provider: simulator.Switches{ClockOffsetSeconds: 3600}, profile: openID, step: behalf.StepValidation, code: "clock_skew", who: behalf.ByOperator, fix: "NTP"},
	"userinfo names somebody else":          {provider: simulator.Switches{UserinfoOtherSub: true}, profile: openID, step: behalf.StepValidation, code: "other_subject", who: behalf.ByProvider, fix: "oauth.userinfo_url"},
	"HTML comes instead of JSON":            {provider: simulator.Switches{GarbageHTML: true}, step: behalf.StepTokenRequest, code: "html_reply", who: behalf.ByAdministrator, fix: "token_url"},
	"an error has status 200":               {provider: simulator.Switches{Error200: "not_today"}, step: behalf.StepTokenRequest, code: "error_200", who: behalf.ByAdministrator, fix: "documentation"},
	"the reply is a form":                   {provider: simulator.Switches{FormReply: true}, step: behalf.StepTokenRequest, code: "form_reply", who: behalf.ByProvider, fix: "Nothing has to be done", passes: true},
	"the token URL redirects":               {provider: simulator.Switches{RedirectTokenEndpoint: "https://www.acorn.example/token"}, step: behalf.StepTokenRequest, code: "redirected", who: behalf.ByAdministrator, fix: "final address"},
	"the token URL leads nowhere":           {profile: func(d *behalf.Definition) { d.TokenURL += "s" }, step: behalf.StepTokenRequest, code: "not_found", who: behalf.ByAdministrator, fix: "Correct token_url"},
	"the token URL is another endpoint":     {profile: func(d *behalf.Definition) { d.TokenURL = d.OAuth.Issuer + "/jwks" }, step: behalf.StepTokenRequest, code: "wrong_method", who: behalf.ByAdministrator, fix: "Correct token_url"},
	"the body must be JSON":                 {provider: answers(415, `{"error":"invalid_request"}`), step: behalf.StepTokenRequest, code: "wrong_body", who: behalf.ByAdministrator, fix: "oauth.token_body to json"},
	"there were too many requests":          {provider: simulator.Switches{RateLimit: "30"}, step: behalf.StepTokenRequest, code: "rate_limited", who: behalf.ByProvider, fix: "Wait"},
	"the provider fails":                    {provider: simulator.Switches{CommitThen500: true}, step: behalf.StepTokenRequest, code: "provider_error", who: behalf.ByProvider, fix: "later"},
	"the provider is out of service":        {provider: simulator.Switches{Unavailable: "none"}, step: behalf.StepTokenRequest, code: "provider_error", who: behalf.ByProvider, fix: "later"},
	"the person declines":                   {provider: simulator.Switches{Deny: true}, step: behalf.StepCallback, code: "declined", who: behalf.ByPerson, fix: "Nothing is wrong"},
	"the check is refused":                  {provider: simulator.Switches{APIAlways401: true}, profile: func(d *behalf.Definition) { d.CheckURL = d.OAuth.Issuer + "/api/me" }, step: behalf.StepCheck, code: "check_refused", who: behalf.ByAdministrator, fix: "check_url"},
	"the check leads nowhere":               {profile: func(d *behalf.Definition) { d.CheckURL = d.OAuth.Issuer + "/api/nothing" }, step: behalf.StepCheck, code: "not_found", who: behalf.ByAdministrator, fix: "Correct check_url"},
	"a required scope is not granted":       {provider: simulator.Switches{NarrowScope: "notes:read"}, profile: func(d *behalf.Definition) { d.Scope[0].Required = true }, step: behalf.StepValidation, code: "scopes_missing", who: behalf.ByPerson, fix: "required"},
	"the token stands elsewhere":            {provider: simulator.Switches{NestedReply: true}, step: behalf.StepTokenRequest, code: "token_elsewhere", who: behalf.ByAdministrator, fix: "oauth.token.reply.access_token to /authed_user/access_token"},
	"there is no token in it":               {provider: answers(200, `{"ok":true}`), step: behalf.StepTokenRequest, code: "no_token", who: behalf.ByAdministrator, fix: "documentation"},
	"the grant is not known":                {provider: answers(400, `{"error":"unsupported_grant_type"}`), step: behalf.StepTokenRequest, code: "unsupported_grant", who: behalf.ByAdministrator, fix: "token_url"},
	"the client may not do this":            {provider: simulator.Switches{ErrorCallback: "unauthorized_client"}, step: behalf.StepCallback, code: "unauthorized_client", who: behalf.ByAdministrator, fix: "allow this client"},
	"the resource is not known":             {provider: simulator.Switches{ErrorCallback: "invalid_target"}, step: behalf.StepCallback, code: "invalid_target", who: behalf.ByAdministrator, fix: "resource"},
	"the response type is not known":        {provider: simulator.Switches{ErrorCallback: "unsupported_response_type"}, step: behalf.StepCallback, code: "unsupported_response_type", who: behalf.ByAdministrator, fix: "oauth.response_type to code"},
	"the reply is empty":                    {provider: simulator.Switches{EmptyBody: true}, step: behalf.StepTokenRequest, code: "empty_reply", who: behalf.ByProvider, fix: "token_url"},
	"the reply is cut off":                  {provider: simulator.Switches{TruncatedJSON: true}, step: behalf.StepTokenRequest, code: "broken_reply", who: behalf.ByProvider, fix: "token_url"},
	"the connection is reset":               {provider: simulator.Switches{TokenReset: true}, step: behalf.StepTokenRequest, code: "connection_closed", who: behalf.ByProvider, fix: "Try again"},
	"the reply is far too large":            {provider: simulator.Switches{BigBody: true}, step: behalf.StepTokenRequest, code: "too_large", who: behalf.ByAdministrator, fix: "token_url"},
	"the code is refused":                   {provider: answers(400, `{"error":"invalid_grant"}`), step: behalf.StepTokenRequest, code: "code_refused", who: behalf.ByAdministrator, fix: "/callback/prf_"},
	"the redirect URI at the token request": {provider: answers(400, `{"error":"invalid_grant","error_description":"redirect_uri does not match"}`), step: behalf.StepTokenRequest, code: "redirect_mismatch", who: behalf.ByAdministrator, fix: "/callback/prf_"},
	"an unknown word":                       {provider: answers(400, `{"error":"computer_says_no"}`), step: behalf.StepTokenRequest, code: "refused", who: behalf.ByAdministrator, fix: "documentation"},
	"the refresh is refused":                {provider: simulator.Switches{RefreshError: "invalid_grant"}, step: behalf.StepRefresh, code: "refresh_refused", who: behalf.ByPerson, fix: "authorize again"},
	"the revocation is refused":             {profile: also(func(d *behalf.Definition) { d.OAuth.RevocationURL = d.OAuth.Issuer + "/api/me" }), step: behalf.StepRevocation, code: "wrong_method", who: behalf.ByAdministrator, fix: "oauth.revocation_url"},
	"the address may not be reached":        {profile: func(d *behalf.Definition) { d.TokenURL = "http://10.1.2.3/token" }, step: behalf.StepTokenRequest, code: "blocked_address", who: behalf.ByOperator, fix: "--allow-private"},
	"nothing listens":                       {profile: func(d *behalf.Definition) { d.TokenURL = "http://127.0.0.1:1/token" }, step: behalf.StepTokenRequest, code: "connection_refused", who: behalf.ByAdministrator, fix: "host and port in token_url"},
	"the tenant does not exist": {tenant: "oak", profile: func(d *behalf.Definition) {
		d.TokenURL = d.OAuth.Issuer + "/{tenant}/token"
		d.Tenancy = &behalf.Tenancy{BaseURL: d.OAuth.Issuer + "/{tenant}/"}
	}, step: behalf.StepTokenRequest, code: "wrong_tenant", who: behalf.ByPerson, fix: "Give the tenant"},

	"quick: all is well":                  {quick: true, step: behalf.StepTokenRequest, passes: true},
	"quick: the secret is wrong":          {quick: true, provider: simulator.Switches{InvalidClient: true}, step: behalf.StepTokenRequest, code: "wrong_secret", who: behalf.ByAdministrator, fix: "Copy"},
	"quick: the secret belongs elsewhere": {quick: true, provider: simulator.Switches{ClientAuth: "post"}, step: behalf.StepTokenRequest, code: "wrong_client_auth", who: behalf.ByAdministrator, fix: "oauth.client_auth to post"},
	"quick: the token URL is wrong":       {quick: true, profile: func(d *behalf.Definition) { d.TokenURL += "s" }, step: behalf.StepTokenRequest, code: "not_found", who: behalf.ByAdministrator, fix: "token_url"},
	"quick: the login page is elsewhere":  {quick: true, profile: func(d *behalf.Definition) { d.AuthorizationURL += "s" }, step: behalf.StepRedirect, code: "not_found", who: behalf.ByAdministrator, fix: "authorization_url"},
	"quick: the client id is wrong":       {quick: true, profile: func(d *behalf.Definition) { d.ClientID = "nobody" }, step: behalf.StepRedirect, code: "authorization_refused", who: behalf.ByAdministrator, fix: "client_id"},
	"quick: PKCE is demanded":             {quick: true, profile: func(d *behalf.Definition) { d.OAuth.PKCE = behalf.PKCEOff }, step: behalf.StepRedirect, code: "pkce_required", who: behalf.ByAdministrator, fix: "oauth.pkce to required"},
	"quick: a scope does not exist":       {quick: true, profile: func(d *behalf.Definition) { d.Scope[0].Value = "notes:fly" }, step: behalf.StepRedirect, code: "scope_refused", who: behalf.ByAdministrator, fix: "spelling"},
}

func TestWhatIsWrongIsSaidInPlainWords(t *testing.T) {
	all := newStage(t, servertest.Setup{})
	for name, w := range wrongs {
		t.Run(name, func(t *testing.T) {
			s := all.in(t)
			change := func(*behalf.Definition) {}
			if w.profile != nil {
				change = w.profile
			}
			p := s.profile(change)
			if w.quick { // nobody is signed in
				s.Sim.Set(w.provider)
			} else {
				s.behaves(w.provider)
			}
			defer s.behaves(simulator.Switches{})
			var got api.Trial
			if w.quick {
				got = s.tests(p, api.TrialBody{Quick: true})
			} else {
				got, _ = s.runs(p, api.TrialBody{Tenant: w.tenant})
			}
			s.diagnosed(got, w)
			s.holdsNoSecret("the trial", s.Do(s.Key, http.MethodGet, s.trials(p)+"/"+got.ID, nil).Body)
		})
	}
}

// diagnosed checks what a test says of what is wrong.
func (s *stage) diagnosed(got api.Trial, w wrong) {
	s.t.Helper()
	want := map[bool]string{true: "passed", false: "failed"}[w.passes]
	if got.Status != want {
		s.t.Errorf("the test has %s, want %s: %s", got.Status, want, names(got))
	}
	var x *api.RecordedStep
	for i := range got.Steps {
		if got.Steps[i].Name == w.step && (got.Steps[i].Status == behalf.StepFailed || w.passes) {
			x = &got.Steps[i]
		}
	}
	switch {
	case x == nil:
		s.t.Errorf("no step %s failed: %s %+v", w.step, names(got), got.Steps[len(got.Steps)-1])
	case x.Code != w.code || x.Who != w.who || !strings.Contains(x.Fix, w.fix):
		s.t.Errorf("it says %s (%s): %s %s [%s]", x.Code, x.Who, x.Cause, x.Fix, x.Detail)
	case w.code != "" && (x.Cause == "" || x.Fix == ""):
		s.t.Errorf("it does not say what is wrong or what to do: %+v", x)
	}
}

func TestWhatSomebodyEnteredAndTheApplicationRefusesIsTold(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	for name, c := range map[string]struct {
		profile func(*behalf.Definition)
		fields  map[string]string
		want    wrong
	}{
		"a key":      {keyed, map[string]string{"key": "wrong-key"}, wrong{step: behalf.StepCheck, code: "entered_refused", who: behalf.ByPerson, fix: "put {{key}} where"}},
		"a login":    {login, map[string]string{"username": "hazel", "password": "wrong-password"}, wrong{step: behalf.StepCheck, code: "entered_refused", who: behalf.ByPerson, fix: "put {{username}} and {{password}} where"}},
		"a password": {grants(behalf.OAuth2Password), map[string]string{"username": "hazel", "password": "wrong-password"}, wrong{step: behalf.StepTokenRequest, code: "login_refused", who: behalf.ByPerson, fix: "second factor"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			s.diagnosed(s.tests(s.profile(c.profile), api.TrialBody{Quick: true, Fields: c.fields}), c.want)
		})
	}
}

func TestARedirectURIThatIsNotRegisteredIsTold(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	d := s.Definition("Unregistered")
	plain(&d)
	p := s.NewProfile(s.Assistant, d)
	got := s.tests(p, api.TrialBody{Quick: true})
	s.diagnosed(got, wrong{step: behalf.StepRedirect, code: "redirect_mismatch", who: behalf.ByAdministrator, fix: s.callbackURL(p)})

	made := s.tests(p, api.TrialBody{})
	s.browser().presses(session{api.ConnectSession{}, made.URL, p}) // and there they are stuck
	s.Clock.Advance(behalf.SessionLifetime + time.Minute)
	if err := s.sweep(); err != nil {
		t.Fatal(err)
	}
	s.diagnosed(s.trial(p, made.ID), wrong{step: behalf.StepCallback, code: "not_returned", who: behalf.ByAdministrator, fix: s.callbackURL(p)})
}

func TestAnAnswerThatCannotBeBelievedIsToldToWhoeverTests(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	t.Run("its state is lost", func(t *testing.T) {
		s := s.in(t)
		s.behaves(simulator.Switches{NoState: true})
		defer s.behaves(simulator.Switches{})
		got, _ := s.runs(s.Profile, api.TrialBody{})
		if got.Status != "waiting" {
			t.Errorf("it is %s: the right answer may still come", got.Status)
		}
		got.Status = "failed"
		s.diagnosed(got, wrong{step: behalf.StepCallback, code: "state_lost", who: behalf.ByAdministrator, fix: "authorization_url"})
	})
	t.Run("it comes in another browser", func(t *testing.T) {
		s := s.in(t)
		made := s.tests(s.Profile, api.TrialBody{})
		mine, other := s.browser(), s.browser()
		back := mine.agrees(mine.presses(session{api.ConnectSession{}, made.URL, s.Profile}))
		if shown := other.get(back); shown.Status != http.StatusForbidden {
			t.Errorf("%d: %s", shown.Status, shown.text)
		}
		got := s.trial(s.Profile, made.ID)
		got.Status = "failed"
		s.diagnosed(got, wrong{step: behalf.StepCallback, code: "cookie_missing", who: behalf.ByPerson, fix: "same browser"})
		mine.get(back)
		if got := s.trial(s.Profile, made.ID); got.Status != "passed" {
			t.Errorf("the right browser: %s, %s", got.Status, names(got))
		}
	})
}

func TestAFailedCallIsRecordedAndTold(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	of := s.begin(s.Profile)
	c := s.connected(of, s.browser().connects(of))
	s.behaves(simulator.Switches{API403Expired: true, APIAlways401: true})
	if a := s.Do(s.Key, http.MethodPost, s.api("/proxy/"+s.Profile.Slug+"/echo"), map[string]string{"password": "hunter2-of-hazel"}, "Behalf-User", of.User); a.Status < 400 {
		t.Fatal(a.Status)
	}
	var got api.Flight
	var raw string
	eventually(t, func() bool {
		a := s.Do(s.Key, http.MethodGet, s.api("/connections/"+c.ID+"/transcripts"), nil)
		raw = a.Body
		a.Into(t, &got)
		return len(got.Items) > 1
	})
	if len(got.Items) == 0 || got.Items[0].Kind != "call" || got.Items[0].Status != "failed" || !got.Verdict.Broken || got.Verdict.Who == "" {
		t.Fatalf("%s", raw)
	}
	s.holdsNoSecret("the recorder", raw)
	if strings.Contains(raw, "hunter2") {
		t.Error("a password of the call is recorded")
	}
}
