package behalf

import "time"

const (
	UserLinkLifetime    = 30 * time.Minute // unless the assistant asks for another
	MaxUserLinkLifetime = 24 * time.Hour
)

// UserLink opens an end user's own page: what is connected, and how to end it.
// Who holds the link may see and do that, for as long as it lasts.
type UserLink struct {
	Assistant AssistantID `json:"a"`
	User      string      `json:"u"`
	UserName  string      `json:"n,omitempty"` // shown on the page; empty: User is
	Locale    string      `json:"l,omitempty"`
	ReturnURL string      `json:"r,omitempty"` // a link back to the assistant
	ExpiresAt time.Time   `json:"e"`
}

// Validate checks the link against the assistant.
func (l UserLink) Validate(a Assistant, now time.Time) error {
	var e problems
	e.name("user", l.User)
	e.line("user_name", l.UserName, maxName)
	if l.Locale != "" && !isLanguageTag(l.Locale) {
		e.add("locale", "Expected a language tag (BCP 47) such as en or pt-BR.")
	}
	if l.ReturnURL != "" && !a.AllowsReturn(l.ReturnURL) {
		e.add("return_url", "Expected one of the assistant's return URLs.")
	}
	if life := l.ExpiresAt.Sub(now); life < time.Minute || life > MaxUserLinkLifetime {
		e.add("expires_in", "Expected 60 to 86400 seconds.")
	}
	return e.err()
}

// Shown returns what the page calls the person.
func (l UserLink) Shown() string {
	if l.UserName != "" {
		return l.UserName
	}
	return l.User
}
