package store_test

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
)

// free are the methods that neither read nor change anything that is kept.
var free = []string{"Actor", "Now", "Used", "Record", "RecordLater", "Sees"}

func TestEveryMethodOfScopeIsTried(t *testing.T) {
	typ := reflect.TypeFor[store.Scope]()
	for i := range typ.NumMethod() {
		if name := typ.Method(i).Name; ops[name] == nil && !slices.Contains(free, name) {
			t.Errorf("%s is not among the operations that the tests of this package try", name)
		}
	}
}

var (
	reads      = []string{"Assistant", "Assistants", "Profile", "Profiles", "Session", "Connection", "Connections", "LatestConnections", "Generations", "RevocationProofs", "GrantProofs", "CountConnections", "LastUse", "Tallies", "Events", "HeldAssistant", "HeldProfile", "DeletedProfiles", "ProfileUses", "Owes", "Variable", "Variables", "Webhooks", "Webhook", "WebhookHealth", "Delivery", "Deliveries"}
	runs       = []string{"SessionSecrets", "SaveSession", "EndSession", "ForsakeSession", "Connect"}
	tests      = []string{"CreateTranscript", "Transcript", "SessionTranscript", "Trials", "ConnectionTranscripts"}
	uses       = []string{"UserLink", "CreateSession", "ConnectionsOf", "HeldConnections", "HeldConnection", "HeldSecrets", "Answer", "Secrets", "Leased", "Revoke", "RevokeOwing", "MakeDefault", "MakeConnection", "PutVariable", "DeleteVariable", "Stored", "CreateWebhook", "SaveWebhook", "RotateWebhook", "DeleteWebhook", "TestWebhook", "ReplayWebhook", "ForgetUser"}
	configures = []string{"ReserveProfile", "CreateProfile", "SaveProfile", "ApplyProfiles", "DeleteProfile", "EndProfile", "DeletedProfile", "RestoreProfile", "Import", "RestoreGeneration"}
	inspects   = []string{"Connectors", "Connector", "ConnectorAgents", "ConnectorTunnels", "ConnectorTraffic", "ConnectorUses"}
	governs    = []string{"CreateConnector", "SaveConnector", "DeleteConnector", "EnrolToken", "RevokeAgent",
		"Audit", "AuditLines", "CreateAssistant", "SaveAssistant", "SaveLogo", "CreateKey", "Keys", "HasKeys", "RevokeKey",
		"Members", "Member", "MemberByEmail", "InviteMember", "LinkMember", "SaveMember", "RemoveMember", "SignIns", "EndSignIn", "EndSignIns", "Keyring", "RecoveryKit", "AuditHeads", "VerifyAudit"}
	owns      = []string{"RotateKeyring", "DisableKey", "EnableKey", "DestroyKey", "RewrapKeyring", "TakeRecoveryKit"}
	maintains = []string{"OverdueSessions", "ForgetSessions", "Topology", "AttachTunnel", "DetachTunnel", "SweepTunnels", "CountTraffic",
		"SetProfileStatus", "Lease", "LeaseUnread", "Keep", "KeepOn", "Release", "Adopt", "Nodes", "DueProfiles", "ClaimDue", "Unplanned", "Plan", "Warn", "Probe", "SetUp", "ForgetSignIns", "TurnKeyring", "ForgetAudit",
		"SaveTranscript", "OpenTrials", "AccountUse", "Forsake", "ClaimOwedOf", "KeptProfile", "OverdueProfiles", "ForgetProfile", "TellSecret", "ClaimOwed", "Postpone", "Settle", "ForgetTranscripts", "ForgetTallies", "ForgetVariables", "WebhookSigning", "SpreadEvents", "DueWebhooks", "ClaimDeliveries", "SettleDelivery", "ForgetDeliveries"}
)

func administrator(r behalf.Role) func(*house) behalf.Actor {
	return func(*house) behalf.Actor {
		return behalf.Actor{Kind: behalf.ActorAdministrator, ID: "key_a", Role: r}
	}
}

var matrix = map[string]struct {
	actor func(*house) behalf.Actor
	may   [][]string
}{
	"our own work":       {func(*house) behalf.Actor { return behalf.System("test") }, [][]string{reads, runs, uses, tests, configures, inspects, governs, owns, maintains}},
	"an owner":           {administrator(behalf.RoleOwner), [][]string{reads, runs, uses, tests, configures, inspects, governs, owns}},
	"an administrator":   {administrator(behalf.RoleAdministrator), [][]string{reads, runs, uses, tests, configures, inspects, governs}},
	"a developer":        {administrator(behalf.RoleDeveloper), [][]string{reads, runs, uses, tests, configures, inspects}},
	"a viewer":           {administrator(behalf.RoleViewer), [][]string{reads, inspects}},
	"an unknown role":    {administrator("root"), nil},
	"the assistant":      {(*house).assistantActor, [][]string{reads, runs, uses, tests}},
	"another assistant":  {func(h *house) behalf.Actor { return h.stranger(behalf.ActorAssistant) }, [][]string{{"Assistants"}}},
	"no assistant":       {func(*house) behalf.Actor { return behalf.Actor{Kind: behalf.ActorAssistant, ID: "key_x"} }, nil},
	"an end user":        {func(h *house) behalf.Actor { return h.browser("cs_other") }, [][]string{{"Assistant", "Assistants", "Profile", "Profiles", "HeldAssistant", "HeldProfile", "DeletedProfiles"}}},
	"another's end user": {func(h *house) behalf.Actor { return h.stranger(behalf.ActorEndUser) }, [][]string{{"Assistants"}}},
	"nobody":             {func(*house) behalf.Actor { return behalf.Actor{} }, nil},
	"a kind that is not": {func(h *house) behalf.Actor { return behalf.Actor{Kind: "root", Assistant: h.Assistant.ID} }, nil},
	"a role and no kind": {func(*house) behalf.Actor { return behalf.Actor{Role: behalf.RoleOwner} }, nil},
	"an assistant's owner": {func(h *house) behalf.Actor {
		a := h.stranger(behalf.ActorAssistant)
		a.Role = behalf.RoleOwner
		return a
	}, [][]string{{"Assistants"}}},
}

func (h *house) stranger(kind behalf.ActorKind) behalf.Actor {
	return behalf.Actor{Kind: kind, ID: "key_other", Assistant: h.NewAssistant("Other " + freshUser()).ID}
}

func (h *house) browser(id behalf.SessionID) behalf.Actor {
	return behalf.Actor{Kind: behalf.ActorEndUser, ID: string(id), Assistant: h.Assistant.ID}
}

func TestWhoMayDoWhat(t *testing.T) {
	for who, row := range matrix {
		t.Run(who, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, url string) {
				h := newHouse(t, url)
				scope := h.DB.As(row.actor(h))
				var may, not []string
				for _, name := range slices.Sorted(maps.Keys(ops)) {
					if slices.Contains(slices.Concat(row.may...), name) {
						may = append(may, name)
					} else {
						not = append(not, name)
					}
				}
				refused := func(names ...string) (changed bool) {
					calls := map[string]func(context.Context, store.Scope) error{}
					for _, name := range names {
						calls[name] = ops[name](h) // it may make what it is about
					}
					before := h.dump()
					for _, name := range names {
						err := calls[name](t.Context(), scope)
						switch behalf.CodeOf(err) {
						case behalf.CodeForbidden, behalf.CodeNotFound, behalf.CodeUnauthenticated:
						default:
							t.Errorf("%s is not refused: %v", name, err)
						}
					}
					return h.dump() != before
				}
				if refused(not...) { // by which of them?
					t.Error("all is refused, and something changed")
					for _, name := range not {
						if refused(name) {
							t.Errorf("%s is refused, and something changed", name)
						}
					}
				}
				for _, name := range may {
					if err := ops[name](h)(t.Context(), scope); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			})
		})
	}
}

func TestWhatBelongsToAnotherAssistantDoesNotExist(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		for _, kind := range []behalf.ActorKind{behalf.ActorAssistant, behalf.ActorEndUser} {
			scope := h.DB.As(h.stranger(kind))
			for _, name := range slices.Concat(reads, uses, runs, tests) {
				if name == "Assistants" {
					continue
				}
				if err := ops[name](h)(t.Context(), scope); behalf.CodeOf(err) != behalf.CodeNotFound {
					t.Errorf("%s: %s: %v", kind, name, err)
				}
			}
			all, err := scope.Assistants(t.Context(), store.Page{})
			if err != nil || len(all) != 1 || all[0].ID != scope.Actor().Assistant {
				t.Errorf("Assistants: %d, %v", len(all), err)
			}
		}
	})
}

// TestAValueThatNamesTheWrongAssistantOpensNothing is a caller that fills in its
// own assistant beside another's id: the row decides, not the value.
func TestAValueThatNamesTheWrongAssistantOpensNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		stranger := h.stranger(behalf.ActorAssistant)
		scope, ctx := h.DB.As(stranger), t.Context()
		c, n, p := h.connect("victim"), h.session("victim"), h.Profile
		c.Assistant, n.Assistant, p.Assistant = stranger.Assistant, stranger.Assistant, stranger.Assistant
		before := h.dump()
		for name, try := range map[string]func() error{
			"Secrets":        func() error { _, _, err := scope.Secrets(ctx, c); return err },
			"Revoke":         func() error { return scope.Revoke(ctx, c, "mine now") },
			"MakeDefault":    func() error { return scope.MakeDefault(ctx, c) },
			"SessionSecrets": func() error { return discard(scope.SessionSecrets(ctx, n)) },
			"SaveSession":    func() error { return scope.SaveSession(ctx, n, behalf.SessionSecrets{}) },
			"EndSession":     func() error { return discard(scope.EndSession(ctx, n, behalf.SessionFailed, behalf.Outcome{})) },
			"Connect": func() error {
				return discard(scope.Connect(ctx, n, behalf.SessionResult{Credential: h.Credential("x")}, behalf.Inputs{}, nil))
			},
			"CreateSession": func() error {
				n := n
				n.ID, n.LinkHash = behalf.NewSessionID(h.DB.Now()), secret.Hash(secret.Random())
				return scope.CreateSession(ctx, n, behalf.SessionSecrets{})
			},
			"SaveProfile": func() error {
				return discard(h.DB.As(administrator(behalf.RoleDeveloper)(h)).SaveProfile(ctx, p))
			},
			"DeleteProfile": func() error { return h.DB.As(administrator(behalf.RoleDeveloper)(h)).DeleteProfile(ctx, p) },
		} {
			if err := try(); err == nil && name != "Revoke" { // to end what is not there is no error
				t.Errorf("%s did it", name)
			}
			if h.dump() != before {
				t.Errorf("%s changed something", name)
				before = h.dump()
			}
		}
	})
}

func TestAnEndUserMayRunTheirOwnSessionOnly(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		mine, link := h.NewSession(h.Profile, "me", behalf.SessionSecrets{State: secret.New("s")})
		other := h.session("other")
		scope, got, err := h.DB.SessionByLink(t.Context(), link)
		if err != nil || got.ID != mine.ID {
			t.Fatal(got.ID, err)
		}
		if s, err := scope.SessionSecrets(t.Context(), got); err != nil || s.State.Reveal() != "s" {
			t.Errorf("their own: %v", err)
		}
		if _, err := scope.SessionSecrets(t.Context(), other); behalf.CodeOf(err) != behalf.CodeNotFound {
			t.Errorf("another's: %v", err)
		}
		if err := scope.SaveSession(t.Context(), other, behalf.SessionSecrets{}); behalf.CodeOf(err) != behalf.CodeNotFound {
			t.Errorf("another's: %v", err)
		}
		if _, err := scope.Connect(t.Context(), got, behalf.SessionResult{Credential: h.Credential("x")}, behalf.Inputs{}, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestOnlyOwnersMakeAndEndOwnersKeys(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		owner, admin := h.DB.As(administrator(behalf.RoleOwner)(h)), h.DB.As(administrator(behalf.RoleAdministrator)(h))
		k, key, err := owner.CreateKey(t.Context(), behalf.Key{Name: "owner", Role: behalf.RoleOwner})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := admin.CreateKey(t.Context(), behalf.Key{Name: "owner", Role: behalf.RoleOwner}); behalf.CodeOf(err) != behalf.CodeForbidden {
			t.Errorf("CreateKey: %v", err)
		}
		if err := admin.RevokeKey(t.Context(), k.ID); behalf.CodeOf(err) != behalf.CodeForbidden {
			t.Errorf("RevokeKey: %v", err)
		}
		if a, err := h.DB.Authenticate(t.Context(), key); err != nil || a.Role != behalf.RoleOwner || a.ID != string(k.ID) {
			t.Errorf("%v, %v", a, err)
		}
		if err := owner.RevokeKey(t.Context(), k.ID); err != nil {
			t.Error(err)
		}
		if err := owner.RevokeKey(t.Context(), k.ID); err != nil {
			t.Errorf("again: %v", err)
		}
		if _, err := h.DB.Authenticate(t.Context(), key); behalf.CodeOf(err) != behalf.CodeUnauthenticated {
			t.Errorf("a revoked key: %v", err)
		}
	})
}

func TestTheDoors(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		ctx := t.Context()
		_, key, err := h.System.CreateKey(ctx, behalf.Key{Name: "short", Assistant: h.Assistant.ID, ExpiresAt: h.DB.Now().Add(time10)})
		if err != nil {
			t.Fatal(err)
		}
		for name, k := range map[string]secret.Text{"none": {}, "unknown": secret.NewKey(behalf.KeyPrefix), "odd bytes": secret.New("\x00\xff"), "1 MB": secret.New(strings.Repeat("x", 1<<20))} {
			if _, err := h.DB.Authenticate(ctx, k); behalf.CodeOf(err) != behalf.CodeUnauthenticated {
				t.Errorf("key %s: %v", name, err)
			}
			if _, _, err := h.DB.SessionByLink(ctx, k); behalf.CodeOf(err) != behalf.CodeNotFound {
				t.Errorf("link %s: %v", name, err)
			}
			if _, _, err := h.DB.SessionByState(ctx, k); behalf.CodeOf(err) != behalf.CodeNotFound {
				t.Errorf("state %s: %v", name, err)
			}
		}
		if a, err := h.DB.Authenticate(ctx, key); err != nil || a.Kind != behalf.ActorAssistant || a.Assistant != h.Assistant.ID {
			t.Errorf("%v, %v", a, err)
		}
		h.Clock.Advance(time10)
		if _, err := h.DB.Authenticate(ctx, key); behalf.CodeOf(err) != behalf.CodeUnauthenticated {
			t.Errorf("an ended key: %v", err)
		}
		if _, _, err := h.System.CreateKey(ctx, behalf.Key{Name: "nobody's", Assistant: behalf.NewAssistantID(h.DB.Now())}); behalf.CodeOf(err) != behalf.CodeNotFound {
			t.Errorf("a key for an assistant that is not: %v", err)
		}
	})
}
