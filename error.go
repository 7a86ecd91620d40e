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

	// What a connector met: which side of the tunnel has to be looked at.
	CodeConnectorNotConnected Code = "connector_not_connected" // no agent of it is connected, or it is disabled
	CodeConnectorLost         Code = "connector_lost"          // the tunnel broke during the call
	CodeConnectorLimited      Code = "connector_limited"       // the agent has no room
	CodeConnectorNotAllowed   Code = "connector_not_allowed"   // the agent's allow list
	CodeConnectorNotResolved  Code = "connector_not_resolved"  // the name, inside
	CodeConnectorRefused      Code = "connector_refused"       // the application's machine
	CodeConnectorUnreachable  Code = "connector_unreachable"   // the network inside
	CodeConnectorTLS          Code = "connector_tls"           // the application's certificate
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
	return Errorf(CodeNotFound, "There is no such %s within your reach.", noun)
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

// Together joins errors about fields into one, so that a form is told all that
// is wrong with it. The first that is about no field is returned alone.
func Together(errs ...error) error {
	var all problems
	for _, err := range errs {
		if err == nil {
			continue
		}
		e := (*Error)(nil)
		if !errors.As(err, &e) || e.Code != CodeInvalid {
			return err
		}
		if len(e.Fields) == 0 {
			all.add(e.Field, "%s", e.Message)
		}
		all = append(all, e.Fields...)
	}
	return all.err()
}

// needs says in words what a permission is for.
var needs = map[Permission]string{
	ReadAssistants: "read assistants", WriteAssistants: "change assistants", ReadProfiles: "read authorization profiles", WriteProfiles: "change authorization profiles",
	ReadSessions: "read connect sessions", BeginSessions: "begin connect sessions", ReadConnections: "read connections", WriteConnections: "change connections",
	UseConnections: "use connections", ReadVariables: "read variables", WriteVariables: "set variables", Preauthorize: "decide about a connection that serves all users", ReadKeys: "read keys", WriteKeys: "make and revoke keys", WriteOwnerKeys: "make and revoke owners' keys",
	ReadMembers: "read members", WriteMembers: "change members", WriteOwners: "change owners", ReadKeyring: "see the keyring", WriteKeyring: "rotate the keyring", ReadEvents: "read events", ReadAudit: "read the audit log",
	ReadWebhooks: "read webhooks", WriteWebhooks: "change webhooks",
	TestProfiles: "test authorization profiles", ReadTranscripts: "read what was sent and received", ReadConnectors: "see connectors", WriteConnectors: "make and change connectors",
}

// Forbidden returns a CodeForbidden Error that says what the actor would have
// to be allowed, and who is.
func Forbidden(a Actor, p Permission) *Error {
	need, who := needs[p], rolesThatMay(p)
	switch person := IsID(a.ID, "mem_"); {
	case need == "" || who == "":
		return Errorf(CodeForbidden, "This is not allowed.")
	case person:
		return Errorf(CodeForbidden, "Your role does not let you %s. Ask %s.", need, who)
	case byAssistant[p]:
		return Errorf(CodeForbidden, "This key may not %s. Use the assistant's own key, or one of %s.", need, who)
	}
	return Errorf(CodeForbidden, "This key may not %s. Use a key of %s.", need, who)
}

// rolesThatMay names the roles that have a permission.
func rolesThatMay(p Permission) string {
	var who []string
	for _, r := range []struct {
		role Role
		name string
	}{{RoleViewer, "a viewer"}, {RoleDeveloper, "a developer"}, {RoleAdministrator, "an administrator"}, {RoleOwner, "an owner"}} {
		if byRole[r.role][p] {
			who = append(who, r.name)
		}
	}
	if len(who) < 2 {
		return strings.Join(who, "")
	}
	return strings.Join(who[:len(who)-1], ", ") + " or " + who[len(who)-1]
}
