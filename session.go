package behalf

import (
	"slices"
	"strings"
	"time"

	"github.com/behalf-dev/behalf/internal/secret"
)

// SessionStatus is where a connect session stands.
type SessionStatus string

const (
	SessionCreated      SessionStatus = "created"    // the link exists
	SessionRedirected   SessionStatus = "redirected" // Continue was pressed; the person is at the provider
	SessionReturned     SessionStatus = "returned"   // the callback is being worked on
	SessionChoosing     SessionStatus = "choosing"   // authorized, and the person has to choose, such as a site
	SessionPending      SessionStatus = "pending"    // authorized, and waiting for finish
	SessionConnected    SessionStatus = "connected"
	SessionDeclined     SessionStatus = "declined"
	SessionExpired      SessionStatus = "expired"
	SessionFailed       SessionStatus = "failed"
	SessionWrongAccount SessionStatus = "wrong_account"
	SessionTested       SessionStatus = "tested" // a trial that passed
)

// Ended reports whether nothing more can happen to the session.
func (s SessionStatus) Ended() bool {
	switch s {
	case SessionConnected, SessionDeclined, SessionExpired, SessionFailed, SessionWrongAccount, SessionTested:
		return true
	}
	return false
}

// Public returns the status that the assistant sees.
func (s SessionStatus) Public() string {
	switch s {
	case SessionCreated, SessionRedirected, SessionReturned, SessionChoosing:
		return "waiting"
	}
	return string(s)
}

const (
	SessionLifetime    = 15 * time.Minute // unless the assistant asks for 1 to 60 minutes
	MinSessionLifetime = time.Minute
	MaxSessionLifetime = time.Hour
	FinishLifetime     = 10 * time.Minute // from the return to finish
)

// ConnectSession is one run of one person through one authorization.
type ConnectSession struct {
	ID             SessionID
	Assistant      AssistantID
	Profile        ProfileID
	ProfileVersion int64 // as it was when Continue was pressed
	User           string
	UserName       string // shown on the page; empty: User is
	Tenant         string
	Locale         string
	ReturnURL      string
	Status         SessionStatus
	Connection     ConnectionID
	Problem        *Outcome
	Trial          TranscriptID // set: it tests its profile, and makes no connection

	// What binds the session to one backend, one browser and one answer; all
	// are hashes of values that somebody else holds.
	FinishChallenge string // S256 challenge whose verifier the assistant's backend keeps
	LinkHash        []byte
	BrowserHash     []byte
	StateHash       []byte
	FinishHash      []byte
	FinishTries     int64

	RedirectURI string // as it was sent; the callback must come to it
	Issuer      string // as it was expected

	Version      int64
	CreatedAt    time.Time
	ExpiresAt    time.Time
	RedirectedAt time.Time
	ReturnedAt   time.Time
	EndedAt      time.Time
}

// Outcome says why a session ended without a connection, for the person and
// for the assistant.
type Outcome struct {
	Code   string `json:"code"`   // declined, expired, provider, wrong_account, not_finished …
	Detail string `json:"detail"` // what happened, in words for people
	Fix    string `json:"fix,omitempty"`
}

// Expired reports whether the session's time is over. One that waits for finish
// has its own time.
func (s ConnectSession) Expired(now time.Time) bool {
	switch {
	case s.Status.Ended():
		return false
	case s.Status == SessionPending:
		return !now.Before(s.ReturnedAt.Add(FinishLifetime))
	}
	return !now.Before(s.ExpiresAt)
}

// SessionSecrets is what of a session is sealed.
type SessionSecrets struct {
	Fields       map[string]secret.Text // additional fields, as typed or as the assistant sent them
	TenantFixed  bool                   // the assistant named the tenant; the person does not choose
	State        secret.Text
	CodeVerifier secret.Text
	Nonce        secret.Text
	Stored       Stored         // what is kept as variables, for this request; not sealed with it
	Reconnect    Reconnect      // of a session that renews a connection
	Result       *SessionResult // set while the session is pending, or the person chooses
	Choosing     *Choosing      // set while the person chooses
}

// Choosing is what a person has to choose before they are connected.
type Choosing struct {
	Questions []Question
	Next      int // the step of post_connect that follows
}

// Question is one choice among values that the provider listed.
type Question struct {
	Name    string // of the captured value
	Title   string
	Options []Option
}

// Answered reports whether a value is one of the options.
func (q Question) Answered(value string) bool {
	return slices.ContainsFunc(q.Options, func(o Option) bool { return o.Value == value })
}

// SessionResult is what an authorization brought, held back until finish.
type SessionResult struct {
	Credential Credential
	Account    Account
	Captured   map[string]string
	Origins    []string     // as Inputs keep them
	Into       ConnectionID // the connection that the session renews
	Imported   bool         // another broker held it until now
}

// Origin says how the credential came.
func (r SessionResult) Origin() Origin {
	if r.Imported {
		return OriginImport
	}
	return OriginConnect
}

// Reconnect is the connection that a session renews.
type Reconnect struct {
	Connection ConnectionID
	Subject    string // of its account; empty: not known
	AnyAccount bool   // another account may be connected as well
}

// Allows reports whether the account that the person has authorized with may be
// connected. One whose subject nobody knows cannot be told from another.
func (r Reconnect) Allows(a Account) bool {
	return r.AnyAccount || r.Subject == "" || a.Subject == "" || a.Subject == r.Subject
}

// NewSession is what an assistant asks for.
type NewSession struct {
	Profile         string
	User            string
	UserName        string
	Tenant          string
	Fields          map[string]secret.Text
	ReturnURL       string
	FinishChallenge string
	Locale          string
	Lifetime        time.Duration
	Variables       Variables
	Connection      ConnectionID // to be renewed
	AnyAccount      bool         // also with another account, which then is a further connection
}

// Validate checks the request against the assistant and the profile.
func (n NewSession) Validate(a Assistant, p *Plan) error {
	var e problems
	switch {
	case !p.Shared():
		e.name("user", n.User)
	case n.User != "":
		e.add("user", "This profile is authorized once for all users; leave it out.")
	}
	if n.AnyAccount && n.Connection == "" {
		e.add("allow_other_account", "It has no meaning without connection: a session that renews none takes any account.")
	}
	e.line("user_name", n.UserName, maxName)
	if n.Locale != "" && !isLanguageTag(n.Locale) {
		e.add("locale", "Expected a language tag (BCP 47) such as en or pt-BR.")
	}
	if n.Lifetime != 0 && (n.Lifetime < MinSessionLifetime || n.Lifetime > MaxSessionLifetime) {
		e.add("expires_in", "Expected 60 to 3600 seconds.")
	}
	if p.Shared() {
		a.Finish = false // an administrator's own session: there is no user whom a stranger could stand in for
	}
	e.returnURL(n, a)
	if n.Tenant != "" {
		e.nested("", p.CheckTenant(n.Tenant))
	}
	for key, value := range n.Fields {
		e.nested("fields.", p.CheckField(key, value))
	}
	return e.err()
}

func (p *problems) returnURL(n NewSession, a Assistant) {
	switch {
	case n.ReturnURL == "" && a.Finish:
		p.add("return_url", "Required: this assistant finishes its connections itself.")
	case n.ReturnURL == "" && n.FinishChallenge != "":
		p.add("return_url", "Required with finish_challenge: the person's browser brings the code there.")
	case n.ReturnURL != "" && !a.AllowsReturn(n.ReturnURL):
		p.add("return_url", "Expected one of the assistant's return URLs.")
	}
	switch {
	case a.Finish && !isChallenge(n.FinishChallenge):
		p.add("finish_challenge", "Expected the base64url SHA-256 (43 characters) of a verifier that your backend keeps.")
	case !a.Finish && n.FinishChallenge != "" && !isChallenge(n.FinishChallenge):
		p.add("finish_challenge", "Expected the base64url SHA-256 (43 characters) of a verifier that your backend keeps.")
	}
}

// isLanguageTag reports whether s has the form of a BCP 47 tag.
func isLanguageTag(s string) bool {
	for i, part := range strings.Split(s, "-") {
		if part == "" || len(part) > 8 || i == 0 && len(part) < 2 || !isToken(part) || strings.ContainsAny(part, "!#$%&'*+.^_`|~") {
			return false
		}
	}
	return len(s) <= 35 // the longest registered ones
}

// isChallenge reports whether s has the form of an S256 challenge (RFC 7636 §4.2).
func isChallenge(s string) bool {
	if len(s) != 43 {
		return false
	}
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_') {
			return false
		}
	}
	return true
}

// NeedsFinish reports whether the session's result is held back until the
// assistant's backend has confirmed it. One that asked for it gets it.
func (s ConnectSession) NeedsFinish() bool { return s.FinishChallenge != "" }
