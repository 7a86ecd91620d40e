package behalf_test

import (
	"slices"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
)

var start = time.Unix(1_800_000_000, 0)

func credential(refresh string, life time.Duration, scopes ...string) behalf.Credential {
	c := behalf.Credential{AccessToken: secret.New("a"), RefreshToken: secret.New(refresh), ObtainedAt: start, Scopes: scopes}
	if life > 0 {
		c.ExpiresAt = start.Add(life)
	}
	return c
}

func TestWhenAnAccessTokenIsDue(t *testing.T) {
	for life, margin := range map[time.Duration]time.Duration{
		2 * time.Second:   400 * time.Millisecond,
		time.Minute:       12 * time.Second,
		150 * time.Second: 30 * time.Second,
		5 * time.Minute:   30 * time.Second,
		10 * time.Minute:  time.Minute,
		time.Hour:         5 * time.Minute,
		24 * time.Hour:    5 * time.Minute,
	} {
		c := behalf.Connection{ObtainedAt: start, ExpiresAt: start.Add(life)}
		if got := c.Margin(); got != margin {
			t.Errorf("a life of %v: margin %v, want %v", life, got, margin)
		}
		at := c.ExpiresAt.Add(-margin)
		if c.Due(at.Add(-time.Nanosecond)) || !c.Due(at) || c.Due(start) || c.Expired(c.ExpiresAt.Add(-1)) || !c.Expired(c.ExpiresAt) {
			t.Errorf("a life of %v: due or ended at another time", life)
		}
	}
	if endless := (behalf.Connection{ObtainedAt: start}); endless.Due(start.Add(1e6*time.Hour)) || endless.Expired(start.Add(1e6*time.Hour)) {
		t.Error("an end that was never told never comes")
	}
	if past := (behalf.Connection{ObtainedAt: start, ExpiresAt: start.Add(-time.Minute)}); !past.Due(start) || !past.Expired(start) || past.Margin() != 0 {
		t.Error("an end before the beginning")
	}
}

// TestTheLifeOfAConnection is the whole of it, step by step.
func TestTheLifeOfAConnection(t *testing.T) {
	old := credential("r1", time.Hour, "read", "write")
	for _, step := range []struct {
		name   string
		do     func(behalf.Connection) behalf.Connection
		status behalf.ConnectionStatus
		usable behalf.Code
		n      int64
		check  func(behalf.Connection) bool
	}{
		{"connected, with a scope refused", func(c behalf.Connection) behalf.Connection {
			return c.Connected(old, behalf.Account{Subject: "s"}, []string{"read", "write", "admin"})
		}, behalf.ConnectionActive, "", 1, func(c behalf.Connection) bool {
			return c.Refreshable && slices.Equal(c.ScopesMissing, []string{"admin"}) && c.Account.Subject == "s" && c.Rotates == behalf.RotationUnknown
		}},
		{"refreshed, rotated, scopes not told", func(c behalf.Connection) behalf.Connection {
			c.Failures, c.IntentAt, c.NextAttemptAt = 3, start, start
			return c.Refreshed(old, credential("r2", time.Hour))
		}, behalf.ConnectionActive, "", 2, func(c behalf.Connection) bool {
			return c.Rotates == behalf.RotationYes && c.Failures == 0 && c.IntentAt.IsZero() && c.NextAttemptAt.IsZero() && len(c.ScopesGranted) == 2
		}},
		{"refreshed with the same token once", func(c behalf.Connection) behalf.Connection {
			return c.Refreshed(credential("r2", 0), credential("r2", 0, "read"))
		}, behalf.ConnectionActive, "", 3, func(c behalf.Connection) bool {
			return c.Rotates == behalf.RotationYes && c.ExpiresAt.IsZero() && slices.Equal(c.ScopesGranted, []string{"read"})
		}},
		{"lapsed", func(c behalf.Connection) behalf.Connection { return c.Lapse("refused") }, behalf.ConnectionLapsed, behalf.CodeAuthorizationRequired, 3,
			func(c behalf.Connection) bool { return c.Reason == "refused" }},
		{"a late answer", func(c behalf.Connection) behalf.Connection {
			return c.Refreshed(credential("r2", 0), credential("r3", time.Hour))
		}, behalf.ConnectionActive, "", 4, func(c behalf.Connection) bool { return c.Reason == "" }},
		{"lapsed again", func(c behalf.Connection) behalf.Connection { return c.Lapse("refused") }, behalf.ConnectionLapsed, behalf.CodeAuthorizationRequired, 4, nil},
		{"connected anew, without a refresh token", func(c behalf.Connection) behalf.Connection {
			return c.Connected(credential("", time.Hour), behalf.Account{Subject: "s"}, nil)
		}, behalf.ConnectionActive, "", 5, func(c behalf.Connection) bool { return !c.Refreshable && c.Reason == "" && c.ScopesMissing == nil }},
		{"revoked", func(c behalf.Connection) behalf.Connection { return c.Revoke("by the person") }, behalf.ConnectionRevoked, behalf.CodeAuthorizationRequired, 5, nil},
	} {
		connection = step.do(connection)
		if connection.Status != step.status || connection.Generation != step.n || behalf.CodeOf(connection.Usable()) != step.usable || step.check != nil && !step.check(connection) {
			t.Errorf("%s: %+v", step.name, connection)
		}
	}
}

var connection behalf.Connection

func TestWhetherAProviderRotatesIsLearned(t *testing.T) {
	for name, test := range map[string]struct {
		known    behalf.Rotation
		old, got string
		want     behalf.Rotation
	}{
		"another token":                 {"", "a", "b", behalf.RotationYes},
		"the same token":                {"", "a", "a", behalf.RotationNo},
		"no token":                      {"", "a", "", behalf.RotationNo},
		"it begins to":                  {behalf.RotationNo, "a", "b", behalf.RotationYes},
		"seen to rotate, the same once": {behalf.RotationYes, "a", "a", behalf.RotationYes},
		"nothing to compare with":       {"", "", "b", ""},
	} {
		c := behalf.Connection{Rotates: test.known}
		if got := c.Refreshed(credential(test.old, 0), credential(test.got, 0)).Rotates; got != test.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestWhatARefreshLeavesOutStays(t *testing.T) {
	old := behalf.Credential{AccessToken: secret.New("a1"), RefreshToken: secret.New("r1"), IDToken: secret.New("i1"), Scopes: []string{"read"}}
	got := old.Merged(behalf.Credential{AccessToken: secret.New("a2")})
	if got.AccessToken.Reveal() != "a2" || got.RefreshToken.Reveal() != "r1" || got.IDToken.Reveal() != "i1" || len(got.Scopes) != 1 {
		t.Error("lost")
	}
	got = old.Merged(behalf.Credential{RefreshToken: secret.New("r2"), IDToken: secret.New("i2"), Scopes: []string{}})
	if got.RefreshToken.Reveal() != "r2" || got.IDToken.Reveal() != "i2" || len(got.Scopes) != 0 {
		t.Error("not replaced")
	}
}

func TestScopesThatAreNoTextAreDropped(t *testing.T) {
	sent := []string{"read", "a\x00b", "\xff", "https://acorn.example/auth"}
	c := behalf.Connection{}.Refreshed(behalf.Credential{}, credential("r", 0, sent...))
	if !slices.Equal(c.ScopesGranted, []string{"read", "https://acorn.example/auth"}) || len(sent) != 4 || sent[1] != "a\x00b" {
		t.Errorf("%q of %q", c.ScopesGranted, sent)
	}
}

func TestPermissions(t *testing.T) {
	all := []behalf.Permission{behalf.ReadAssistants, behalf.WriteAssistants, behalf.ReadProfiles, behalf.WriteProfiles, behalf.ReadSessions, behalf.BeginSessions, behalf.ReadConnections,
		behalf.WriteConnections, behalf.UseConnections, behalf.ReadKeys, behalf.WriteKeys, behalf.WriteOwnerKeys, behalf.ReadEvents, behalf.ReadAudit, behalf.RunSessions, behalf.Maintain}
	// One column per permission, in the order above.
	for actor, want := range map[behalf.Actor]string{
		{Kind: behalf.ActorSystem}:                                          "xxxxxxxxxxxxxxxx",
		{Kind: behalf.ActorAdministrator, Role: behalf.RoleOwner}:           "xxxxxxxxxxxxxx..",
		{Kind: behalf.ActorAdministrator, Role: behalf.RoleAdministrator}:   "xxxxxxxxxxx.xx..",
		{Kind: behalf.ActorAdministrator, Role: behalf.RoleDeveloper}:       "x.xxxxxxx...x...",
		{Kind: behalf.ActorAdministrator, Role: behalf.RoleViewer}:          "x.x.x.x.....x...",
		{Kind: behalf.ActorAdministrator}:                                   "................",
		{Kind: behalf.ActorAssistant, Assistant: "a"}:                       "x.x.xxxxx...x...",
		{Kind: behalf.ActorAssistant, Assistant: "b"}:                       "................",
		{Kind: behalf.ActorAssistant}:                                       "................",
		{Kind: behalf.ActorEndUser, Assistant: "a"}:                         "x.x...........x.",
		{Kind: behalf.ActorEndUser, Assistant: "b", Role: behalf.RoleOwner}: "................",
		{Kind: "other", Assistant: "a", Role: behalf.RoleOwner}:             "................",
		{}: "................",
	} {
		got := ""
		for _, p := range all {
			if actor.May(p, "a") {
				got += "x"
			} else {
				got += "."
			}
		}
		if got != want {
			t.Errorf("%+v:\n%s, want\n%s", actor, got, want)
		}
	}
	if (behalf.Actor{Kind: behalf.ActorAssistant, Assistant: "a"}).May(behalf.ReadAssistants, "") {
		t.Error("what belongs to no assistant is no assistant's")
	}
}

func TestAKeyThatIsToBeMade(t *testing.T) {
	for name, test := range map[string]struct {
		k     behalf.Key
		field string
	}{
		"an assistant's":         {behalf.Key{Name: "k", Assistant: "a"}, ""},
		"an administrator's":     {behalf.Key{Name: "k", Role: behalf.RoleViewer}, ""},
		"with both":              {behalf.Key{Name: "k", Assistant: "a", Role: behalf.RoleViewer}, "role"},
		"with neither":           {behalf.Key{Name: "k"}, "role"},
		"with an unknown role":   {behalf.Key{Name: "k", Role: "root"}, "role"},
		"without a name":         {behalf.Key{Assistant: "a"}, "name"},
		"that has ended already": {behalf.Key{Name: "k", Assistant: "a", ExpiresAt: start}, "expires_at"},
	} {
		err := test.k.Validate(start)
		if (err == nil) != (test.field == "") || err != nil && !slices.Contains(fields(err), test.field) {
			t.Errorf("%s: %v", name, err)
		}
	}
	k := behalf.Key{ExpiresAt: start}
	if k.Good(start) || !k.Good(start.Add(-1)) || (behalf.Key{RevokedAt: start}).Good(start) {
		t.Error("when a key is good")
	}
}
