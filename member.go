package behalf

import (
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/behalf-dev/behalf/internal/secret"
)

// Member is somebody of ours who signs in to the console. An end user is never
// one: people there sign in at the provider.
type Member struct {
	ID         MemberID
	Email      string // folded
	Name       string
	Role       Role
	Password   bool // signs in by password
	SSO        bool // signs in by single sign-on
	DisabledAt time.Time
	SignedInAt time.Time // last; zero: never
	Version    int64
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// Actor returns who asks when this member does.
func (m Member) Actor() Actor {
	return Actor{Kind: ActorAdministrator, ID: string(m.ID), Role: m.Role}
}

// Good reports whether the member may be signed in.
func (m Member) Good() bool { return m.DisabledAt.IsZero() }

// Invited reports whether the member has not come in yet.
func (m Member) Invited() bool { return !m.Password && !m.SSO }

// Validate checks what may be set of a member.
func (m Member) Validate() error {
	var p problems
	p.line("name", m.Name, maxName)
	switch {
	case m.Email == "":
		p.add("email", "Required.")
	case !isEmail(m.Email):
		p.add("email", "Expected an address such as jane@example.com.")
	}
	if !m.Role.Valid() {
		p.add("role", "Expected owner, administrator, developer or viewer.")
	}
	return p.err()
}

// FoldEmail returns an address as it is kept and compared.
func FoldEmail(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

func isEmail(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s && a.Name == "" && len(s) <= 254 && clean(s)
}

// Bounds of a password. Length is what counts, and no rule about its
// characters is made (NIST SP 800-63B §3.1.1.2).
const (
	minPassword = 12
	maxPassword = 256
)

// CheckPassword checks a password that a member chooses.
func CheckPassword(m Member, password secret.Text) error {
	var p problems
	s := password.Reveal()
	name, _, _ := strings.Cut(m.Email, "@")
	switch n := utf8.RuneCountInString(s); {
	case n == 0:
		p.add("password", "Required.")
	case n < minPassword:
		p.add("password", "Expected at least %d characters. A few words that you remember are good.", minPassword)
	case n > maxPassword || !utf8.ValidString(s):
		p.add("password", "Expected at most %d characters.", maxPassword)
	case strings.Count(s, s[:1]) == len(s), FoldEmail(s) == m.Email, name != "" && len(name) > 3 && strings.Trim(strings.ToLower(s), "0123456789!.") == name:
		p.add("password", "This is too easy to guess. A few words that you remember are good.")
	}
	return p.err()
}

// LinkPurpose is what a member's link is good for.
type LinkPurpose string

const (
	LinkSetUp  LinkPurpose = "set_up"  // makes the first owner
	LinkInvite LinkPurpose = "invite"  // lets somebody who was invited choose a password
	LinkReset  LinkPurpose = "reset"   // lets a member choose another
	LinkSignIn LinkPurpose = "sign_in" // signs in at once; the demo's
)

// Lifetime is how long a link of this purpose is good.
func (p LinkPurpose) Lifetime() time.Duration {
	switch p {
	case LinkInvite:
		return 7 * 24 * time.Hour
	case LinkReset:
		return time.Hour
	}
	return 24 * time.Hour
}

// Once reports whether the link is used up by being used. The demo's is not: it
// opens in one browser after the other, for as long as the demo runs.
func (p LinkPurpose) Once() bool { return p != LinkSignIn }

// MemberLink is a link by which a member comes in without a password. Its secret
// is shown once, when it is made; only its hash is kept.
type MemberLink struct {
	Member    MemberID // empty with LinkSetUp
	Purpose   LinkPurpose
	CreatedAt time.Time
	ExpiresAt time.Time
}

// Identity is who somebody is by single sign-on: its issuer has vouched for it.
type Identity struct {
	Issuer  string
	Subject string
	Email   string // folded, and verified by the issuer
	Name    string
	Role    Role // of its claims; empty: what the member has, and nobody new is taken in
	Mapped  bool // Role comes from a claim: it replaces the member's
}

// SignIn is a browser in which a member is signed in.
type SignIn struct {
	ID        SignInID
	Member    MemberID
	Agent     string // what the browser calls itself
	Address   string
	CreatedAt time.Time
	SeenAt    time.Time
	ExpiresAt time.Time
}
