package behalf

import (
	"crypto/rand"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// Ids are a prefix that tells what they name and a ULID in lower case, so that
// they sort by age and can be told apart in a log. They are names, not secrets.
type (
	AssistantID  string // ast_…
	ProfileID    string // prf_…
	ConnectionID string // con_…
	SessionID    string // cs_…
	KeyID        string // key_…
	EventID      string // evt_…
	VariableID   string // var_…
	TranscriptID string // trs_…
	NodeID       string // nod_…
	ConnectorID  string // cnr_…
	AgentID      string // agt_…
	MemberID     string // mem_…
	SignInID     string // sin_…
	WebhookID    string // whk_…
	DeliveryID   string // dlv_…
	DatabaseID   string // dbs_…
)

func NewAssistantID(now time.Time) AssistantID   { return AssistantID(newID("ast_", now)) }
func NewProfileID(now time.Time) ProfileID       { return ProfileID(newID("prf_", now)) }
func NewConnectionID(now time.Time) ConnectionID { return ConnectionID(newID("con_", now)) }
func NewSessionID(now time.Time) SessionID       { return SessionID(newID("cs_", now)) }
func NewKeyID(now time.Time) KeyID               { return KeyID(newID("key_", now)) }
func NewEventID(now time.Time) EventID           { return EventID(newID("evt_", now)) }
func NewMemberID(now time.Time) MemberID         { return MemberID(newID("mem_", now)) }
func NewSignInID(now time.Time) SignInID         { return SignInID(newID("sin_", now)) }
func NewTranscriptID(now time.Time) TranscriptID { return TranscriptID(newID("trs_", now)) }
func NewNodeID(now time.Time) NodeID             { return NodeID(newID("nod_", now)) }
func NewConnectorID(now time.Time) ConnectorID   { return ConnectorID(newID("cnr_", now)) }
func NewAgentID(now time.Time) AgentID           { return AgentID(newID("agt_", now)) }

func NewWebhookID(now time.Time) WebhookID   { return WebhookID(newID("whk_", now)) }
func NewDeliveryID(now time.Time) DeliveryID { return DeliveryID(newID("dlv_", now)) }

// NewDatabaseID names a database for good: a backup that is restored has it too.
func NewDatabaseID(now time.Time) DatabaseID { return DatabaseID(newID("dbs_", now)) }

func NewVariableID(now time.Time) VariableID { return VariableID(newID("var_", now)) }

func newID(prefix string, now time.Time) string {
	return prefix + strings.ToLower(ulid.MustNew(ulid.Timestamp(now), rand.Reader).String())
}

// IsID reports whether s is an id with the prefix, such as "prf_". What is not
// is a slug, where both are taken.
func IsID(s, prefix string) bool {
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok || len(rest) != ulid.EncodedSize {
		return false
	}
	_, err := ulid.ParseStrict(strings.ToUpper(rest))
	return err == nil && rest == strings.ToLower(rest)
}
