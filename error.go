package behalf

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Code is the stable, machine-readable kind of an Error.
type Code string

const (
	CodeInvalid               Code = "invalid"                // the request is wrong; Field says where
	CodeUnauthenticated       Code = "unauthenticated"        // no key, or one that is not known
	CodeForbidden             Code = "forbidden"              // a known key that may not do this
	CodeNotFound              Code = "not_found"              // nothing of that name within the caller's reach
	CodeConflict              Code = "conflict"               // it is not in the state that this needs
	CodeAuthorizationRequired Code = "authorization_required" // the end user must authorize first
	CodeRefreshInProgress     Code = "refresh_in_progress"    // another node refreshes and is not done yet
	CodeProvider              Code = "provider"               // the provider failed or refused; its words are in Message
	CodeLimited               Code = "limited"                // too many requests; RetryAfter says when again
	CodeUnavailable           Code = "unavailable"            // we cannot now: database, network, shutdown
)

// Error is the one error that leaves the house. Message and Fields are safe for
// anybody to read: they never hold a secret or the value that was sent.
type Error struct {
	Code       Code
	Message    string
	Field      string         // the field that is wrong, in dotted form: "tenancy.pattern"
	Fields     []FieldError   // all of them, when there are several
	ConnectURL string         // with CodeAuthorizationRequired: where the end user authorizes
	Candidates []ConnectionID // with CodeConflict: the connections that match
	RetryAfter time.Duration
	Err        error // for the log only
}

// FieldError says what is wrong with one field.
type FieldError struct {
	Field   string
	Message string
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(string(e.Code))
	if e.Field != "" {
		b.WriteString(": " + e.Field)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error of the code; the format must not take input or secrets.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Invalid returns a CodeInvalid Error for one field.
func Invalid(field, format string, args ...any) *Error {
	return &Error{Code: CodeInvalid, Field: field, Message: fmt.Sprintf(format, args...)}
}

// NotFound returns a CodeNotFound Error that names the kind of thing.
func NotFound(noun string) *Error {
	return Errorf(CodeNotFound, "There is no such %s within reach of this key.", noun)
}

// CodeOf returns the code of the first Error in err's chain, or "".
func CodeOf(err error) Code {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// problems gathers what is wrong with a value, field by field.
type problems []FieldError

func (p *problems) add(field, format string, args ...any) {
	*p = append(*p, FieldError{field, fmt.Sprintf(format, args...)})
}

// err returns nil, or one CodeInvalid Error with all fields.
func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return &Error{Code: CodeInvalid, Field: p[0].Field, Message: p[0].Message, Fields: p}
}
