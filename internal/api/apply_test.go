package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/behalf-dev/behalf"
)

type applied struct {
	Changes []struct{ Action, Slug, Name, Was string }
}

func apply(b *building, dry, prune bool, profiles ...map[string]any) map[string]any {
	return map[string]any{"profiles": profiles, "dry_run": dry, "prune": prune}
}

func names(b *building, t *testing.T) (out []string) {
	t.Helper()
	var list struct{ Items []profile }
	b.Do(b.Owner, "GET", b.at("/profiles"), nil).Into(t, &list)
	for _, p := range list.Items {
		out = append(out, p.Name)
	}
	return out
}

func TestProfilesAreAppliedAllOrNone(t *testing.T) {
	b := newBuilding(t)
	good := func(name string) map[string]any { return profileBody(b.Definition(name)) }
	before := names(b, t)

	t.Run("a dry run says what would be and changes nothing", func(t *testing.T) {
		var out applied
		b.Do(b.Owner, "PUT", b.at("/profiles"), apply(b, true, true, good("Birch"))).Into(t, &out)
		require.Equal(t, "create", out.Changes[0].Action)
		require.Equal(t, "delete", out.Changes[1].Action)
		require.Equal(t, before, names(b, t))
	})
	t.Run("one that is wrong stops all, and is named", func(t *testing.T) {
		r := b.Do(b.Owner, "PUT", b.at("/profiles"), apply(b, false, true, good("Birch"), with(good("Cedar"), "token_url", "nonsense"), with(good("Dogwood"), "name", "")))
		r.Problem(t, 422, behalf.CodeInvalid)
		require.Equal(t, []string{"profiles[1].token_url", "profiles[2].name"}, fieldsOf(t, r))
		require.Equal(t, before, names(b, t))
	})
	t.Run("two of one name are refused, however they are written", func(t *testing.T) {
		r := b.Do(b.Owner, "PUT", b.at("/profiles"), apply(b, false, false, good("Birch"), good("birch ")))
		r.Problem(t, 422, behalf.CodeInvalid)
		require.Equal(t, []string{"profiles[1].name"}, fieldsOf(t, r))
		require.Equal(t, before, names(b, t))
	})
	t.Run("a rename keeps the profile and what it holds", func(t *testing.T) {
		var was, now profile
		b.Do(b.Owner, "PUT", b.at("/profiles"), apply(b, false, false, good("Elm"))).Into(t, &applied{})
		b.Do(b.Owner, "GET", b.at("/profiles/elm"), nil).Into(t, &was)
		renamed := with(good("Great Elm"), "was", "elm")
		delete(renamed, "client_secret")
		var out applied
		b.Do(b.Owner, "PUT", b.at("/profiles"), apply(b, false, false, renamed)).Into(t, &out)
		require.Equal(t, "elm", out.Changes[0].Was)
		b.Do(b.Owner, "GET", b.at("/profiles/great-elm"), nil).Into(t, &now)
		require.Equal(t, was.ID, now.ID)
		require.True(t, now.ClientSecretSet, "what is left out stays")
	})
	t.Run("a copy of a file does not take over the profile of the original", func(t *testing.T) {
		var out applied
		b.Do(b.Owner, "PUT", b.at("/profiles"), apply(b, false, false, with(good("Small Elm"), "was", "great-elm"), with(good("Great Elm"), "was", "great-elm"))).Into(t, &out)
		require.Equal(t, "create", out.Changes[0].Action)
		require.NotEqual(t, "create", out.Changes[1].Action)
	})
	t.Run("what moves to another host asks for its secret again", func(t *testing.T) {
		moved := with(good("Great Elm"), "token_url", "https://elsewhere.example/token")
		delete(moved, "client_secret")
		r := b.Do(b.Owner, "PUT", b.at("/profiles"), apply(b, false, false, moved))
		r.Problem(t, 422, behalf.CodeInvalid)
		require.Equal(t, []string{"profiles[0].client_secret"}, fieldsOf(t, r))
	})
	t.Run("prune deletes what is not in the list", func(t *testing.T) {
		b.Do(b.Owner, "PUT", b.at("/profiles"), apply(b, false, true, good("Great Elm"))).Into(t, &applied{})
		require.Equal(t, []string{"Great Elm"}, names(b, t))
	})
}
