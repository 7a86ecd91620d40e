package behalf

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/oauth"
)

// This file says in plain words why a step failed, what to do and who can do
// it. The rules are:
//
//   - One table, in the order of certainty: the first row that holds decides.
//   - A row is judged by what was sent and received, never by who the provider is.
//   - The cause says what was seen; the fix names the field of the profile, and
//     the exact value where it is known.
//   - What a provider says stands beside, in the step's Detail.

// Diagnosis is why a step failed, or what is remarkable about one that did not.
type Diagnosis struct {
	Code  string // stable
	Cause string
	Fix   string
	Who   Responsible
}

// Evidence is what a step is judged by.
type Evidence struct {
	Step   TranscriptStep
	Failed bool
	Err    *oauth.Error  // nil: the step failed otherwise, or not at all
	Phase  egress.Phase  // how far a request got that has no answer; "": there is one
	Ours   *Error        // an error of ours
	Drift  time.Duration // of the provider's clock from ours, by its Date header
	Circumstances
}

// Diagnose returns the first diagnosis that holds.
func Diagnose(e Evidence) (Diagnosis, bool) {
	for _, row := range diagnoses {
		if e.Failed == row.advice || !row.holds(e) {
			continue
		}
		return Diagnosis{row.code, row.cause(e), row.fix(e), row.who}, true
	}
	return Diagnosis{}, false
}

func evidence(s TranscriptStep, err error, c Circumstances) Evidence {
	e := Evidence{Step: s, Failed: err != nil, Circumstances: c}
	errors.As(err, &e.Err)
	if e.Err == nil {
		errors.As(err, &e.Ours)
	}
	if call := (*egress.CallError)(nil); errors.As(err, &call) {
		e.Phase = call.Phase
		e.Step.Error = call.Error()
	}
	if blocked := (*egress.BlockedError)(nil); errors.As(err, &blocked) {
		e.Step.Error = blocked.Error()
	}
	if s.Response != nil {
		if at, err := http.ParseTime(s.Response.Headers.Get("Date")); err == nil && !s.StartedAt.IsZero() {
			e.Drift = at.Sub(s.StartedAt.Add(time.Duration(s.TookMS) * time.Millisecond))
		}
	}
	return e
}

// diagnosis is one row of the table.
type diagnosis struct {
	code   string
	who    Responsible
	advice bool // of a step that passed
	holds  func(Evidence) bool
	cause  func(Evidence) string
	fix    func(Evidence) string
}

// says is a text that is always the same.
func says(s string) func(Evidence) string { return func(Evidence) string { return s } }

// network is a row for a request without an answer, by the words of egress.
func network(words ...string) func(Evidence) bool {
	return func(e Evidence) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(e.Step.Error, w) })
	}
}

func (e Evidence) host() string {
	if e.Step.Request != nil {
		return hostNamed(e.Step.Request.URL)
	}
	return "the provider"
}

// at prefixes a sentence with where it happened.
func at(format string) func(Evidence) string {
	return func(e Evidence) string { return fmt.Sprintf(format, e.host()) }
}

func (e Evidence) status() int {
	switch {
	case e.Step.Response != nil:
		return e.Step.Response.Status
	case e.Err != nil:
		return e.Err.Status
	}
	return 0
}

func (e Evidence) kind() oauth.Kind {
	if e.Err == nil {
		return ""
	}
	return e.Err.Kind
}

// word reports whether the provider's error code is one of these.
func (e Evidence) word(codes ...string) bool {
	return e.Err != nil && slices.Contains(codes, e.Err.Code)
}

// mentions reports whether the provider's words, or the answer, hold one of these.
func (e Evidence) mentions(words ...string) bool {
	text := ""
	if e.Err != nil {
		text = e.Err.Code + " " + e.Err.Description
	}
	if text == " " && e.Step.Response != nil {
		text = e.Step.Response.Body
	}
	text = strings.ToLower(text)
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
}

// reason reports whether our own words for what was wrong hold one of these.
func (e Evidence) reason(words ...string) bool {
	return e.Err != nil && slices.ContainsFunc(words, func(w string) bool { return strings.Contains(e.Err.Reason, w) })
}

func (e Evidence) step(names ...StepName) bool { return slices.Contains(names, e.Step.Name) }

// tokenEndpoint reports whether the step asked the token endpoint.
func (e Evidence) tokenEndpoint() bool { return e.step(StepTokenRequest, StepRefresh) }

func (e Evidence) idToken(words ...string) bool {
	return e.Err != nil && e.Err.Op == oauth.OpIDToken && e.reason(words...)
}

func (e Evidence) html() bool {
	return e.Step.Response != nil && strings.HasPrefix(e.Step.Response.Body, "[HTML")
}

func (e Evidence) usesPKCE() bool { return e.Plan == nil || e.Plan.OAuth.PKCE != PKCEOff }

func (e Evidence) connector() string {
	if e.Plan == nil || e.Plan.Connector == nil {
		return ""
	}
	return *e.Plan.Connector
}

// kindOf reports whether the profile is of one of these types.
func (e Evidence) kindOf(types ...AuthorizationType) bool {
	return e.Plan != nil && slices.Contains(types, e.Plan.Type)
}

func (e Evidence) skewed() bool { return e.Drift > 2*time.Minute || e.Drift < -2*time.Minute }

// urlField names the field of the profile whose address was asked.
func (e Evidence) urlField() string {
	switch e.Step.Name {
	case StepRedirect, StepCallback:
		return "authorization_url"
	case StepCheck:
		return "check_url"
	case StepRevocation:
		return "oauth.revocation_url"
	case StepCall:
		return "api.base_url"
	case StepRefresh:
		if e.Plan != nil && e.Plan.RefreshURL != "" {
			return "refresh_url"
		}
	case StepValidation:
		if e.Err != nil && e.Err.Op == oauth.OpIDToken {
			return "oauth.jwks_url"
		}
		return "oauth.userinfo_url"
	}
	return "token_url"
}

func lookAt(format string) func(Evidence) string {
	return func(e Evidence) string { return fmt.Sprintf(format, e.urlField()) }
}

// clientAuth is how the client authenticated.
func (e Evidence) clientAuth() ClientAuth {
	if e.Plan == nil || e.Plan.OAuth.ClientAuth == "" {
		return ClientAuthBasic
	}
	return e.Plan.OAuth.ClientAuth
}

var authWords = map[ClientAuth]string{
	ClientAuthBasic: "in the Authorization header (basic)", ClientAuthPost: "in the body of the request (post)", ClientAuthNone: "without a secret (none)",
}

func otherAuth(a ClientAuth) ClientAuth {
	if a == ClientAuthPost {
		return ClientAuthBasic
	}
	return ClientAuthPost
}

// scopesAsked are those of the profile.
func (e Evidence) scopesAsked() []string {
	if e.Plan == nil {
		return nil
	}
	all, _ := e.Plan.Scopes()
	return all
}

// scopesNamed are those that the provider's words name, else all.
func (e Evidence) scopesNamed() string {
	asked := e.scopesAsked()
	var named []string
	for _, s := range asked {
		if e.Err != nil && slices.Contains(strings.FieldsFunc(e.Err.Description, notScope), s) {
			named = append(named, s)
		}
	}
	if len(named) == 0 {
		named = asked
	}
	return strings.Join(named, ", ")
}

func notScope(r rune) bool { return strings.ContainsRune(" ,;'\"()[]“”‘’", r) }

// nested returns the pointer at which an answer holds an access token that is
// not where the profile looks for it; "" where there is none.
func (e Evidence) nested() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Elsewhere
}

func (e Evidence) redirectFix() string {
	if e.CallbackURL == "" {
		return "Register the profile's Callback Link at the provider, character by character."
	}
	return "Register exactly this redirect URI at the provider, character by character: " + e.CallbackURL
}
