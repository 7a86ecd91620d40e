package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/behalf-dev/behalf"
)

type importedBatch struct {
	Results []struct{ Action, User, Connection string }
}

func TestConnectionsAreImportedAllOrNone(t *testing.T) {
	b := newBuilding(t)
	batch := func(dry, replace bool, rows ...map[string]any) map[string]any {
		return map[string]any{"profile": "acorn", "connections": rows, "dry_run": dry, "replace": replace}
	}
	held := func(user string) int {
		var list struct{ Items []struct{ ID string } }
		b.Do(b.Owner, "GET", b.at("/connections?user="+user), nil).Into(t, &list)
		return len(list.Items)
	}
	path := b.at("/connections/import")

	t.Run("a dry run changes nothing", func(t *testing.T) {
		before := b.audited(t)
		var out importedBatch
		b.Do(b.Owner, "POST", path, batch(true, false, map[string]any{"user": "ann", "access_token": "t"})).Into(t, &out)
		require.Equal(t, "create", out.Results[0].Action)
		require.Empty(t, out.Results[0].Connection)
		require.Zero(t, held("ann"))
		require.Equal(t, before, b.audited(t))
	})
	t.Run("one that is wrong stops all, and is named", func(t *testing.T) {
		a := b.Do(b.Owner, "POST", path, batch(false, false, map[string]any{"user": "ann", "access_token": "t"}, map[string]any{"user": "bob"},
			map[string]any{"user": "", "access_token": "two\nlines"}, map[string]any{"user": "eve", "tenant": "acme", "access_token": "t"}))
		a.Problem(t, 422, behalf.CodeInvalid)
		require.Equal(t, []string{"connections[1].access_token", "connections[2].user", "connections[2].access_token", "connections[3].tenant"}, fieldsOf(t, a))
		require.NotContains(t, a.Body, "lines")
		require.Zero(t, held("ann"))
	})
	t.Run("what is imported is used, and refreshed when it is due", func(t *testing.T) {
		var out importedBatch
		b.Do(b.Owner, "POST", path, batch(false, false, map[string]any{"user": "ann", "access_token": "imported-token"}, map[string]any{"user": "bob", "refresh_token": "unknown-to-the-provider"})).Into(t, &out)
		require.Len(t, out.Results, 2)
		var token struct {
			AccessToken string `json:"access_token"`
		}
		b.Do(b.Key, "POST", b.at("/token"), map[string]string{"profile": "acorn", "user": "ann"}).Into(t, &token)
		require.Equal(t, "imported-token", token.AccessToken)
		b.Do(b.Key, "POST", b.at("/token"), map[string]string{"profile": "acorn", "user": "bob"}).Problem(t, 409, behalf.CodeAuthorizationRequired)
	})
	t.Run("who is connected stays so, unless it is asked to be replaced", func(t *testing.T) {
		var out importedBatch
		row := map[string]any{"user": "ann", "access_token": "newer-token"}
		b.Do(b.Owner, "POST", path, batch(false, false, row)).Into(t, &out)
		require.Equal(t, "skip", out.Results[0].Action)
		b.Do(b.Owner, "POST", path, batch(false, true, row)).Into(t, &out)
		require.Equal(t, "replace", out.Results[0].Action)
		require.Equal(t, 1, held("ann"))
	})
}
