package console_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/console"
)

// TestEveryActionOfTheAuditLogHasWords reads the actions in the source of store,
// the one that audits: what it writes there as "noun.verb" is an action.
func TestEveryActionOfTheAuditLogHasWords(t *testing.T) {
	actions := literals(t, "../store/*.go", regexp.MustCompile(`^[a-z]+\.[a-z_]+$`))
	require.Greater(t, len(actions), 50)
	require.Contains(t, actions, "keyring.rotate")
	for _, e := range []behalf.EventType{behalf.EventProfileFailing, behalf.EventProfileRecovered, behalf.EventClientSecretEnding, behalf.EventClientSecretEnded} {
		actions[string(e)] = true
	}
	for _, s := range []behalf.SessionStatus{behalf.SessionPending, behalf.SessionConnected, behalf.SessionDeclined, behalf.SessionExpired, behalf.SessionFailed, behalf.SessionWrongAccount, behalf.SessionTested} {
		actions["session."+string(s)] = true
	}
	for action := range actions {
		if !console.Worded(action) {
			t.Errorf("the activity has no words for %s", action)
		}
	}
}

// literals returns the string literals of a form in source files that are no tests.
func literals(t *testing.T, files string, form *regexp.Regexp) map[string]bool {
	t.Helper()
	paths, err := filepath.Glob(files)
	require.NoError(t, err)
	found := map[string]bool{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if s, err := strconv.Unquote(l.Value); err == nil && form.MatchString(s) {
					found[s] = true
				}
			}
			return true
		})
	}
	return found
}
