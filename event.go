package behalf

import "time"

// EventType names what happened, as webhooks do.
type EventType string

const (
	EventConnectionCreated     EventType = "connection.created"
	EventConnectionRenewed     EventType = "connection.renewed" // authorized again while it still worked
	EventConnectionLapsed      EventType = "connection.lapsed"
	EventConnectionRecovered   EventType = "connection.recovered"
	EventConnectionExpiring    EventType = "connection.expiring" // it will end whatever we do
	EventConnectionRevoked     EventType = "connection.revoked"
	EventProfileFailing        EventType = "profile.failing"
	EventProfileRecovered      EventType = "profile.recovered"
	EventConnectorConnected    EventType = "connector.connected"    // the first agent of it has a tunnel
	EventConnectorDisconnected EventType = "connector.disconnected" // the last one has none any more
	EventProfileDeleted        EventType = "profile.deleted"
	EventProfileRestored       EventType = "profile.restored"
	EventClientSecretEnding    EventType = "profile.client_secret_ending" // 30, 7 and 1 days ahead
	EventClientSecretEnded     EventType = "profile.client_secret_ended"
	EventRevocationGivenUp     EventType = "connection.revocation_given_up" // the provider did not revoke a connection that was ended
)

// Events about webhooks themselves, and one that is made for a test.
const (
	EventWebhookFailing   EventType = "webhook.failing" // an endpoint does not take what it is told
	EventWebhookRecovered EventType = "webhook.recovered"
	EventWebhookDisabled  EventType = "webhook.disabled" // it failed for too long
	EventWebhookTest      EventType = "webhook.test"     // told to one endpoint, by hand
	EventUserDeleted      EventType = "user.deleted"     // all of a user was ended and deleted
)

// EventTypes returns all types that an endpoint can ask for.
func EventTypes() []EventType {
	return []EventType{EventConnectionCreated, EventConnectionRenewed, EventConnectionLapsed, EventConnectionRecovered, EventConnectionExpiring, EventConnectionRevoked, EventRevocationGivenUp,
		EventProfileFailing, EventProfileRecovered, EventProfileDeleted, EventProfileRestored, EventClientSecretEnding, EventClientSecretEnded,
		EventConnectorConnected, EventConnectorDisconnected,
		EventWebhookFailing, EventWebhookRecovered, EventWebhookDisabled, EventUserDeleted}
}

// Event is written in the transaction of the change that it tells of, and waits
// in the outbox for delivery.
type Event struct {
	ID         EventID
	Assistant  AssistantID
	Type       EventType
	Profile    ProfileID
	Connection ConnectionID
	Webhook    WebhookID // that the event is about
	User       string
	Detail     string
	CreatedAt  time.Time
}

// AuditEntry is one line of the audit log: who did what to what, and when.
type AuditEntry struct {
	ID        string // where it stands in the log; empty before it is written
	At        time.Time
	Actor     string
	Assistant AssistantID
	Action    string
	Object    string
	Detail    string
	Count     int64 // uses are written together
}

// AuditHead is the newest link of one chain of the audit log.
type AuditHead struct {
	Chain string    `json:"chain"` // the node that writes it
	Link  int64     `json:"link"`
	Hash  string    `json:"hash"` // hexadecimal
	At    time.Time `json:"at"`
}

// AuditReport is what was found when the audit log was held against its chains.
type AuditReport struct {
	Chains, Links int64
	Lines         int64    // that hang on links, as they should
	Unlinked      int64    // that hang on none: of the last moments, or a problem
	Problems      []string // what does not fit; empty: the log is whole
}
