package behalf_test

import (
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
)

func TestWhoIsRefusedIsToldWhoMay(t *testing.T) {
	key := behalf.Actor{Kind: behalf.ActorAdministrator, ID: "key_1", Role: behalf.RoleViewer}
	member := behalf.Actor{Kind: behalf.ActorAdministrator, ID: string(behalf.NewMemberID(time.UnixMilli(1))), Role: behalf.RoleViewer}
	for _, test := range []struct {
		actor behalf.Actor
		p     behalf.Permission
		want  string
	}{
		{key, behalf.WriteProfiles, "This key may not change authorization profiles. Use a key of a developer, an administrator or an owner."},
		{key, behalf.UseConnections, "This key may not use connections. Use the assistant's own key, or one of a developer, an administrator or an owner."},
		{key, behalf.WriteOwnerKeys, "This key may not make and revoke owners' keys. Use a key of an owner."},
		{member, behalf.WriteMembers, "Your role does not let you change members. Ask an administrator or an owner."},
		{key, behalf.Maintain, "This is not allowed."},
	} {
		if got := behalf.Forbidden(test.actor, test.p).Message; got != test.want {
			t.Errorf("%s: %s", test.p, got)
		}
	}
}

func TestEveryPermissionOfARoleHasWords(t *testing.T) {
	owner := behalf.Actor{Kind: behalf.ActorAdministrator, Role: behalf.RoleOwner}
	for _, p := range []behalf.Permission{behalf.TestProfiles, behalf.ReadTranscripts, behalf.ReadConnectors, behalf.WriteConnectors, behalf.ReadKeyring, behalf.WriteKeyring, behalf.ReadVariables, behalf.WriteVariables} {
		if m := behalf.Forbidden(behalf.Actor{}, p).Message; !owner.May(p, "") || !strings.HasPrefix(m, "This key may not ") {
			t.Errorf("%s: %s", p, m)
		}
	}
}
