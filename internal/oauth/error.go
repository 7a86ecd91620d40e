package oauth

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/behalf-dev/behalf/internal/secret"
)

// This file says what a failure means. The rules are:
//
//   - Refused is said only where the provider itself refused the grant in a word
//     that is known to mean it; only Refused may end a grant.
//   - What was written and not clearly answered is Ambiguous: a rotating server
//     may have spent the refresh token.
//   - The provider's words are kept for people, never obeyed beyond their code:
//     bounded, without control characters, without any secret of this request.
//   - Nothing else of the reply, and nothing of an URL, is in an error's text.

// Op is what was being done.
type Op string

const (
	OpCallback   Op = "authorization response"
	OpExchange   Op = "code exchange"
	OpGrant      Op = "token request"
	OpRefresh    Op = "refresh"
	OpRevoke     Op = "revocation"
	OpUserinfo   Op = "userinfo"
	OpIntrospect Op = "introspection"
	OpCheck      Op = "check"
	OpIDToken    Op = "id_token"
	OpDiscovery  Op = "discovery"
)

// Kind is what a failure means for the grant and what may be done about it.
type Kind string

const (
	Declined    Kind = "declined"     // the person (or a rule about them) said no at the authorization endpoint
	Refused     Kind = "refused"      // the provider refused this grant: it is gone
	ClientFault Kind = "client_fault" // the provider refused the client or how it asks: no grant is at fault
	Limited     Kind = "limited"      // the provider asks to come later: see RetryAfter
	Transient   Kind = "transient"    // nothing was done, mostly for want of a connection: it may be repeated
	Ambiguous   Kind = "ambiguous"    // written, and the answer does not say whether the grant was used or lives
	Invalid     Kind = "invalid"      // a success that cannot be used, such as one without access_token
	Protocol    Kind = "protocol"     // what came breaks the rules that protect the person: it must not be used
)

// Error is a failed step. Its text is safe to show and to log.
type Error struct {
	Op   Op
	Kind Kind
	// Reason is what was wrong, in our words: "the reply is too long".
	Reason string
	// The provider's words (RFC 6749 §5.2): Code at most 100 characters,
	// the others at most 500; a URI that is not http or https is left out.
	Code, Description, URI string
	Status                 int           // of the HTTP reply; 0: none
	RetryAfter             time.Duration // what the provider asked for, at most one hour; 0: it did not
	Written                bool          // the provider may have seen the request
	Elsewhere              string        // where a token reply without a token has one (RFC 6901); "": nowhere
	Err                    error         // for errors.Is; its own text is not cleaned
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("oauth: " + string(e.Op) + ": " + e.Reason)
	if e.Status != 0 {
		b.WriteString(" (status " + strconv.Itoa(e.Status) + ")")
	}
	for _, word := range []string{e.Code, e.Description} {
		if word != "" {
			b.WriteString(": " + word)
		}
	}
	return b.String()
}

// Sentence says the same to people, with the provider's own words apart: "The
// code exchange did not succeed: the provider answered with an error (status
// 400). It says: invalid_grant: the code has expired."
func (e *Error) Sentence() string {
	var b strings.Builder
	b.WriteString("The " + string(e.Op) + " did not succeed: " + e.Reason)
	if e.Status != 0 {
		b.WriteString(" (status " + strconv.Itoa(e.Status) + ")")
	}
	b.WriteString(".")
	said := strings.TrimRight(strings.TrimPrefix(strings.Join([]string{e.Code, e.Description}, ": "), ": "), ": .")
	if said != "" {
		b.WriteString(" It says: " + said + ".")
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the *Error in err's chain, "" where there is none.
func KindOf(err error) Kind {
	var e *Error
	if !errors.As(err, &e) {
		return ""
	}
	return e.Kind
}

// kind of a token or revocation reply that is not a success.
func kind(status int, h http.Header, code string) Kind {
	switch {
	case status == http.StatusTooManyRequests,
		status == http.StatusServiceUnavailable && h.Get("Retry-After") != "":
		return Limited
	case status >= 500, status == http.StatusRequestTimeout:
		return Ambiguous // one server answers the loser of a race with a 500 page
	case status >= 300 && status < 400:
		return ClientFault // the URL is not the endpoint's
	}
	if k := kindOfCode(code); k != "" {
		return k
	}
	switch status {
	case http.StatusUnauthorized: // RFC 6749 §5.2: client authentication failed
		return ClientFault
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType:
		return ClientFault
	}
	// An unknown word, an empty 400, a firewall's page, or invalid_request, which
	// some servers say of a dead refresh token and others of a missing parameter.
	return Ambiguous
}

// kindOfCode holds the codes of RFC 6749 §5.2, RFC 7009 §2.2.1 and RFC 8628
// §3.5, and the dialects of invalid_grant that mean nothing else.
func kindOfCode(code string) Kind {
	switch code {
	case "invalid_grant", "access_denied", "expired_token", "invalid_token", "token_expired", "token_revoked",
		"invalid_refresh_token", "bad_refresh_token", "bad_verification_code",
		"login_required", "consent_required", "interaction_required":
		return Refused
	case "invalid_client", "unauthorized_client", "invalid_scope", "invalid_target",
		"unsupported_grant_type", "unsupported_token_type":
		return ClientFault
	case "temporarily_unavailable", "slow_down", "rate_limited", "ratelimited", "rate_limit_exceeded", "too_many_requests":
		return Limited
	}
	return ""
}

const maxRetryAfter = time.Hour

// retryAfter reads Retry-After in both its forms (RFC 9110 §10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	var d time.Duration
	if s, err := strconv.ParseFloat(v, 64); err == nil && s > 0 {
		d = time.Duration(min(s, maxRetryAfter.Seconds()) * float64(time.Second))
	} else if t, err := http.ParseTime(v); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}

// words are what a provider says of an error.
type words struct{ code, description, uri string }

// say puts the provider's words into e, without the secrets.
func (e *Error) say(w words, secrets ...secret.Text) {
	e.Code = clean(w.code, 100, secrets)
	e.Description = clean(w.description, 500, secrets)
	if u, err := url.Parse(w.uri); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
		e.URI = clean(w.uri, 500, secrets)
	}
}

// clean bounds foreign text in characters, turns control characters into
// spaces, and masks the secrets.
func clean(s string, limit int, secrets []secret.Text) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) { // Cf: bidirectional marks rewrite a line
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = masker(secrets).Replace(s)
	s = strings.TrimSpace(s)
	if r := []rune(s); len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return s
}

// masker replaces secrets in the spellings that an echo could have.
func masker(secrets []secret.Text) *strings.Replacer {
	var pairs []string
	for _, t := range secrets {
		if t.Empty() {
			continue
		}
		v := t.Reveal()
		for _, spelling := range []string{
			v, url.QueryEscape(v), escape(v), url.PathEscape(v), base64.StdEncoding.EncodeToString([]byte(v)),
		} {
			pairs = append(pairs, spelling, secret.Mask)
		}
	}
	return strings.NewReplacer(pairs...)
}
