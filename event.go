package behalf

import "time"

// EventType names what happened, as webhooks do.
type EventType string

const (
	EventConnectionCreated   EventType = "connection.created"
	EventConnectionRenewed   EventType = "connection.renewed" // authorized again while it still worked
	EventConnectionLapsed    EventType = "connection.lapsed"
	EventConnectionRecovered EventType = "connection.recovered"
	EventConnectionRevoked   EventType = "connection.revoked"
	EventProfileFailing      EventType = "profile.failing"
	EventProfileRecovered    EventType = "profile.recovered"
)

// Event is written in the transaction of the change that it tells of, and waits
// in the outbox for delivery.
type Event struct {
	ID         EventID
	Assistant  AssistantID
	Type       EventType
	Profile    ProfileID
	Connection ConnectionID
	User       string
	Detail     string
	CreatedAt  time.Time
}

// AuditEntry is one line of the audit log: who did what to what, and when.
type AuditEntry struct {
	At        time.Time
	Actor     string
	Assistant AssistantID
	Action    string
	Object    string
	Detail    string
	Count     int64 // uses are written together
}
