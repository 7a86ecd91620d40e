package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
)

func (h *house) variable(space behalf.Namespace, user, name string) behalf.Variable {
	return behalf.Variable{Assistant: h.Assistant.ID, Namespace: space, User: user, Name: name, Value: secret.New("value of " + name), Secret: true}
}

func (h *house) kept(v behalf.Variable) behalf.Variable {
	h.t.Helper()
	v, err := h.System.PutVariable(h.t.Context(), v)
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

func (h *house) stored(a behalf.AssistantID, user string) []string {
	h.t.Helper()
	stored, err := h.System.Stored(h.t.Context(), a, user)
	if err != nil {
		h.t.Fatal(err)
	}
	var out []string
	for name, v := range stored {
		out = append(out, name+"="+v.Text)
	}
	slices.Sort(out)
	return out
}

func TestAVariableIsOfItsAssistantAndItsUserAlone(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		other := h.NewAssistant("Other").ID
		theirs := h.variable(behalf.NamespaceBot, "", "plan")
		theirs.Assistant, theirs.Value = other, secret.New("theirs")
		h.kept(theirs)
		h.kept(h.variable(behalf.NamespaceEnv, "", "REGION"))
		h.kept(h.variable(behalf.NamespaceUser, "jane", "cart"))
		h.kept(h.variable(behalf.NamespaceBotUser, "hugo", "cart"))
		for _, want := range []struct {
			assistant behalf.AssistantID
			user      string
			has       string
		}{
			{h.Assistant.ID, "", "env.REGION=value of REGION"},
			{h.Assistant.ID, "jane", "context.session.UserSession.cart=value of cart env.REGION=value of REGION"},
			{h.Assistant.ID, "hugo", "context.session.BotUserSession.cart=value of cart env.REGION=value of REGION"},
			{h.Assistant.ID, "Jane", "env.REGION=value of REGION"},
			{other, "jane", "context.session.BotContext.plan=theirs"},
		} {
			if got := strings.Join(h.stored(want.assistant, want.user), " "); got != want.has {
				t.Errorf("%s, %q: %s, want %s", want.assistant, want.user, got, want.has)
			}
		}
	})
}

func TestABrowserFillsWithVariablesOfItsOwnUserOnly(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		h.kept(h.variable(behalf.NamespaceUser, "jane", "cart"))
		_, link := h.NewSession(h.Profile, "jane", behalf.SessionSecrets{State: secret.New("s")})
		browser, _, err := h.DB.SessionByLink(t.Context(), link)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := browser.Stored(t.Context(), h.Assistant.ID, "jane"); err != nil || len(got) != 1 {
			t.Errorf("its own: %d, %v", len(got), err)
		}
		for _, user := range []string{"hugo", ""} {
			if _, err := browser.Stored(t.Context(), h.Assistant.ID, user); behalf.CodeOf(err) != behalf.CodeNotFound {
				t.Errorf("%q: %v", user, err)
			}
		}
	})
}

func TestTheValueOfASecretVariableIsSealedAndNeverReadBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		v := h.variable(behalf.NamespaceEnv, "", "PIN")
		v.Value = secret.New("acorns-are-secret")
		h.kept(v)
		open := h.variable(behalf.NamespaceEnv, "", "REGION")
		open.Secret = false
		h.kept(open)
		if strings.Contains(h.dump(), "acorns-are-secret") || strings.Contains(h.dump(), "value of REGION") {
			t.Error("a value stands in a plain column")
		}
		all, err := h.System.Variables(t.Context(), h.Assistant.ID, "", "", store.Page{})
		if err != nil || len(all) != 2 {
			t.Fatalf("%+v, %v", all, err)
		}
		for _, v := range all {
			if v.Secret != v.Value.Empty() || v.Secret != (v.Name == "PIN") {
				t.Errorf("%+v", v)
			}
		}
		one, err := h.System.Variable(t.Context(), h.Assistant.ID, behalf.NamespaceEnv, "", "PIN")
		if err != nil || !one.Value.Empty() || !one.Secret {
			t.Errorf("%+v, %v", one, err)
		}
	})
}

// TestAVariableThatSomebodyMovedOpensNothing is somebody who can write to the
// database and would like to read a value under a name that is not secret, or
// as another user.
func TestAVariableThatSomebodyMovedOpensNothing(t *testing.T) {
	for column, value := range map[string]string{"name": "shown", "end_user": "mallory", "namespace": string(behalf.NamespaceBotUser)} {
		t.Run(column, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, url string) {
				h := newHouse(t, url)
				h.kept(h.variable(behalf.NamespaceUser, "jane", "cart"))
				h.exec("UPDATE variables SET " + column + " = '" + value + "'")
				user := "jane"
				if column == "end_user" {
					user = value
				}
				if stored, err := h.System.Stored(t.Context(), h.Assistant.ID, user); err == nil {
					t.Errorf("it opened: %d", len(stored))
				}
			})
		})
	}
}

func TestAVariableWhoseTimeIsOverIsNotUsedAndThenForgotten(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		v := h.variable(behalf.NamespaceBot, "", "soon")
		v.ExpiresAt = h.DB.Now().Add(time.Minute)
		h.kept(v)
		h.kept(h.variable(behalf.NamespaceUser, "jane", "day"))
		h.kept(h.variable(behalf.NamespaceBot, "", "ever"))
		h.Clock.Advance(time.Minute)
		if got := h.stored(h.Assistant.ID, "jane"); len(got) != 2 {
			t.Errorf("after a minute: %v", got)
		}
		if _, err := h.System.Variable(t.Context(), h.Assistant.ID, v.Namespace, "", "soon"); behalf.CodeOf(err) != behalf.CodeNotFound {
			t.Errorf("it is shown: %v", err)
		}
		h.Clock.Advance(24 * time.Hour)
		if got := h.stored(h.Assistant.ID, "jane"); len(got) != 1 {
			t.Errorf("after a day: %v", got)
		}
		if err := h.System.ForgetVariables(t.Context()); err != nil || len(h.rows("variables")) != 1 {
			t.Errorf("%v, %v", h.rows("variables"), err)
		}
	})
}

func TestAVariableIsReplacedEvenWhereThereIsRoomForNoMore(t *testing.T) {
	h := newHouse(t, storetest.SQLite(t))
	for i := range 200 {
		h.kept(h.variable(behalf.NamespaceBot, "", fmt.Sprint("v", i)))
	}
	first := h.kept(h.variable(behalf.NamespaceBot, "", "v0"))
	again := h.kept(h.variable(behalf.NamespaceBot, "", "v0"))
	if first.ID != again.ID {
		t.Errorf("%s is another than %s", again.ID, first.ID)
	}
	if _, err := h.System.PutVariable(t.Context(), h.variable(behalf.NamespaceEnv, "", "one-more")); behalf.CodeOf(err) != behalf.CodeConflict {
		t.Errorf("one more: %v", err)
	}
	h.kept(h.variable(behalf.NamespaceUser, "jane", "own"))
}

func TestWhatAnAdministratorKeepsNoAssistantSets(t *testing.T) {
	h := newHouse(t, storetest.SQLite(t))
	assistant := h.DB.As(h.assistantActor())
	for _, space := range []behalf.Namespace{behalf.NamespaceEnv, behalf.NamespaceEnterprise} {
		v := h.kept(h.variable(space, "", "REGION"))
		if _, err := assistant.PutVariable(t.Context(), v); behalf.CodeOf(err) != behalf.CodeForbidden {
			t.Errorf("%s is set: %v", space, err)
		}
		if err := assistant.DeleteVariable(t.Context(), v); behalf.CodeOf(err) != behalf.CodeForbidden {
			t.Errorf("%s is deleted: %v", space, err)
		}
	}
}
