package console

import (
	"net/http"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/discover"
	"github.com/behalf-dev/behalf/internal/egress"
)

// discover fills the form from what the application publishes of itself. What
// says how the profile is called, and its client, stays as it was typed.
func (v *visit) discover(e editor) error {
	through, _ := lookUp(e.Form.tree, throughConnector).(string)
	draft, _, err := discover.Draft(v.ctx(), v.cfg.Egress.Via(through).Client(egress.ClientOptions{}), e.Discover)
	if f, ok := faultsOf(err, "Nothing was found there"); ok {
		for i := range f.order {
			f.order[i].Field = "discover"
		}
		f.Fields = map[string]string{"discover": f.order[0].Message}
		e.Form.faults = f
		return v.showEditor(statusOf(err), e)
	}
	if err != nil {
		return err
	}
	found := treeOf(draft.Definition)
	for path := range leavesOfForm(e.Form.groups) {
		got := lookUp(found, path)
		if got == nil || stays[path] && lookUp(e.Form.tree, path) != nil {
			continue
		}
		put(e.Form.tree, path, got)
	}
	e.Notes, e.Found = draft.Notes, "Filled in from what "+hostOr(draft.Definition, "the server")+" publishes. Look at it, enter the client's id and secret, and save."
	return v.showEditor(http.StatusOK, e)
}

var stays = map[string]bool{"name": true, "provider": true, "client_id": true, "description": true, "mode": true, throughConnector: true}

func hostOr(d behalf.Definition, otherwise string) string {
	if d.Provider != "" {
		return d.Provider
	}
	return otherwise
}
