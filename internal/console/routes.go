package console

import (
	"net/http"
	"strings"

	"github.com/behalf-dev/behalf"
)

// route is one page, or one thing that a page does.
type route struct {
	method string
	path   string            // below Prefix
	needs  behalf.Permission // of the member's role; empty: every member
	open   bool              // for those who are not signed in, too
	do     func(*visit) error
}

const (
	get  = http.MethodGet
	post = http.MethodPost
)

// routes is everything that the console does. Its tests walk this table with
// every role.
func routes() []route {
	return []route{
		{method: get, path: "/sign-in", open: true, do: (*visit).askSignIn},
		{method: post, path: "/sign-in", open: true, do: (*visit).signIn},
		{method: post, path: "/sign-out", open: true, do: (*visit).signOut},
		{method: get, path: "/sso", open: true, do: (*visit).startSSO},
		{method: get, path: "/sso/callback", open: true, do: (*visit).endSSO},
		{method: get, path: "/link/{link}", open: true, do: (*visit).openLink},
		{method: post, path: "/link/{link}", open: true, do: (*visit).useLink},

		{method: get, path: "", do: (*visit).home},
		{method: get, path: "/assistants", needs: behalf.ReadAssistants, do: (*visit).listAssistants},
		{method: get, path: "/assistants/new", needs: behalf.WriteAssistants, do: (*visit).askAssistant},
		{method: post, path: "/assistants/new", needs: behalf.WriteAssistants, do: (*visit).createAssistant},
		{method: get, path: "/assistants/{assistant}", needs: behalf.ReadAssistants, do: (*visit).overview},
		{method: get, path: "/assistants/{assistant}/settings", needs: behalf.ReadAssistants, do: (*visit).assistantSettings},
		{method: post, path: "/assistants/{assistant}/settings", needs: behalf.WriteAssistants, do: (*visit).saveAssistant},
		{method: post, path: "/assistants/{assistant}/settings/logo", needs: behalf.WriteAssistants, do: (*visit).saveLogo},

		{method: get, path: "/assistants/{assistant}/profiles", needs: behalf.ReadProfiles, do: (*visit).listProfiles},
		{method: post, path: "/assistants/{assistant}/profiles", needs: behalf.WriteProfiles, do: (*visit).reserveProfile},
		{method: get, path: "/assistants/{assistant}/profiles/{profile}", needs: behalf.ReadProfiles, do: (*visit).editProfile},
		{method: post, path: "/assistants/{assistant}/profiles/{profile}", needs: behalf.WriteProfiles, do: (*visit).saveProfile},
		{method: get, path: "/assistants/{assistant}/profiles/{profile}/catalog", needs: behalf.WriteProfiles, do: (*visit).pickProvider},
		{method: get, path: "/assistants/{assistant}/profiles/{profile}/catalog/{provider}", needs: behalf.WriteProfiles, do: (*visit).askPicked},
		{method: post, path: "/assistants/{assistant}/profiles/{profile}/catalog/{provider}", needs: behalf.WriteProfiles, do: (*visit).savePicked},
		{method: post, path: "/assistants/{assistant}/profiles/{profile}/check", needs: behalf.WriteProfiles, do: (*visit).checkProfile},
		{method: get, path: "/assistants/{assistant}/profiles/{profile}/delete", needs: behalf.WriteProfiles, do: (*visit).askDeleteProfile},
		{method: post, path: "/assistants/{assistant}/profiles/{profile}/delete", needs: behalf.WriteProfiles, do: (*visit).deleteProfile},
		{method: post, path: "/assistants/{assistant}/profiles/{profile}/restore", needs: behalf.WriteProfiles, do: (*visit).restoreProfile},
		{method: get, path: "/assistants/{assistant}/profiles/{profile}/secrets", needs: behalf.WriteProfiles, do: (*visit).profileSecrets},
		{method: post, path: "/assistants/{assistant}/profiles/{profile}/secrets", needs: behalf.WriteProfiles, do: (*visit).addSecret},
		{method: get, path: "/assistants/{assistant}/profiles/{profile}/secrets/remove", needs: behalf.WriteProfiles, do: (*visit).askRemoveSecret},
		{method: post, path: "/assistants/{assistant}/profiles/{profile}/secrets/remove", needs: behalf.WriteProfiles, do: (*visit).removeSecret},

		{method: get, path: "/assistants/{assistant}/profiles/{profile}/test", needs: behalf.TestProfiles, do: (*visit).askTest},
		{method: post, path: "/assistants/{assistant}/profiles/{profile}/test", needs: behalf.TestProfiles, do: (*visit).beginTest},
		{method: get, path: "/assistants/{assistant}/profiles/{profile}/test/{trial}", needs: behalf.ReadTranscripts, do: (*visit).showTest},
		{method: get, path: "/assistants/{assistant}/profiles/{profile}/test/{trial}/events", needs: behalf.ReadTranscripts, do: (*visit).followTest},
		{method: get, path: "/assistants/{assistant}/connections/{connection}/recorder", needs: behalf.ReadTranscripts, do: (*visit).recorder},

		{method: get, path: "/assistants/{assistant}/connections", needs: behalf.ReadConnections, do: (*visit).listConnections},
		{method: get, path: "/assistants/{assistant}/connections/{connection}", needs: behalf.ReadConnections, do: (*visit).showConnection},
		{method: post, path: "/assistants/{assistant}/connections/{connection}/refresh", needs: behalf.WriteConnections, do: (*visit).refreshConnection},
		{method: post, path: "/assistants/{assistant}/connections/{connection}/default", needs: behalf.WriteConnections, do: (*visit).defaultConnection},
		{method: get, path: "/assistants/{assistant}/connections/{connection}/generations/{generation}/restore", needs: behalf.WriteProfiles, do: (*visit).askRestore},
		{method: post, path: "/assistants/{assistant}/connections/{connection}/generations/{generation}/restore", needs: behalf.WriteProfiles, do: (*visit).restoreGeneration},
		{method: get, path: "/assistants/{assistant}/connections/{connection}/disconnect", needs: behalf.WriteConnections, do: (*visit).askDisconnect},
		{method: post, path: "/assistants/{assistant}/connections/{connection}/disconnect", needs: behalf.WriteConnections, do: (*visit).disconnect},

		{method: get, path: "/assistants/{assistant}/keys", needs: behalf.ReadKeys, do: (*visit).listKeys},
		{method: get, path: "/assistants/{assistant}/keys/new", needs: behalf.WriteKeys, do: (*visit).askKey},
		{method: post, path: "/assistants/{assistant}/keys/new", needs: behalf.WriteKeys, do: (*visit).createKey},
		{method: get, path: "/assistants/{assistant}/keys/{key}/revoke", needs: behalf.WriteKeys, do: (*visit).askRevokeKey},
		{method: post, path: "/assistants/{assistant}/keys/{key}/revoke", needs: behalf.WriteKeys, do: (*visit).revokeKey},
		{method: get, path: "/assistants/{assistant}/variables", needs: behalf.ReadVariables, do: (*visit).listVariables},
		{method: get, path: "/assistants/{assistant}/variables/new", needs: behalf.WriteVariables, do: (*visit).askVariable},
		{method: post, path: "/assistants/{assistant}/variables/new", needs: behalf.WriteVariables, do: (*visit).addVariable},
		{method: get, path: "/assistants/{assistant}/variables/{namespace}/{variable}", needs: behalf.WriteVariables, do: (*visit).editVariable},
		{method: post, path: "/assistants/{assistant}/variables/{namespace}/{variable}", needs: behalf.WriteVariables, do: (*visit).saveVariable},
		{method: get, path: "/assistants/{assistant}/variables/{namespace}/{variable}/delete", needs: behalf.WriteVariables, do: (*visit).askDeleteVariable},
		{method: post, path: "/assistants/{assistant}/variables/{namespace}/{variable}/delete", needs: behalf.WriteVariables, do: (*visit).deleteVariable},
		{method: get, path: "/assistants/{assistant}/webhooks", needs: behalf.ReadWebhooks, do: (*visit).listWebhooks},
		{method: get, path: "/assistants/{assistant}/webhooks/new", needs: behalf.WriteWebhooks, do: (*visit).askWebhook},
		{method: post, path: "/assistants/{assistant}/webhooks/new", needs: behalf.WriteWebhooks, do: (*visit).createWebhook},
		{method: get, path: "/assistants/{assistant}/webhooks/{webhook}", needs: behalf.ReadWebhooks, do: (*visit).showWebhook},
		{method: get, path: "/assistants/{assistant}/webhooks/{webhook}/change", needs: behalf.WriteWebhooks, do: (*visit).askChangeWebhook},
		{method: post, path: "/assistants/{assistant}/webhooks/{webhook}/change", needs: behalf.WriteWebhooks, do: (*visit).changeWebhook},
		{method: post, path: "/assistants/{assistant}/webhooks/{webhook}/enabled", needs: behalf.WriteWebhooks, do: (*visit).switchWebhook},
		{method: get, path: "/assistants/{assistant}/webhooks/{webhook}/rotate", needs: behalf.WriteWebhooks, do: (*visit).askRotateWebhook},
		{method: post, path: "/assistants/{assistant}/webhooks/{webhook}/rotate", needs: behalf.WriteWebhooks, do: (*visit).rotateWebhook},
		{method: post, path: "/assistants/{assistant}/webhooks/{webhook}/test", needs: behalf.WriteWebhooks, do: (*visit).testWebhook},
		{method: get, path: "/assistants/{assistant}/webhooks/{webhook}/replay", needs: behalf.WriteWebhooks, do: (*visit).askReplay},
		{method: post, path: "/assistants/{assistant}/webhooks/{webhook}/replay", needs: behalf.WriteWebhooks, do: (*visit).replayWebhook},
		{method: get, path: "/assistants/{assistant}/webhooks/{webhook}/deliveries/{delivery}", needs: behalf.ReadWebhooks, do: (*visit).showDelivery},
		{method: get, path: "/assistants/{assistant}/webhooks/{webhook}/delete", needs: behalf.WriteWebhooks, do: (*visit).askDeleteWebhook},
		{method: post, path: "/assistants/{assistant}/webhooks/{webhook}/delete", needs: behalf.WriteWebhooks, do: (*visit).deleteWebhook},
		{method: get, path: "/assistants/{assistant}/activity", needs: behalf.ReadAudit, do: (*visit).activity},

		{method: get, path: "/keys", needs: behalf.ReadKeys, do: (*visit).listKeys},
		{method: get, path: "/keys/new", needs: behalf.WriteKeys, do: (*visit).askKey},
		{method: post, path: "/keys/new", needs: behalf.WriteKeys, do: (*visit).createKey},
		{method: get, path: "/keys/{key}/revoke", needs: behalf.WriteKeys, do: (*visit).askRevokeKey},
		{method: post, path: "/keys/{key}/revoke", needs: behalf.WriteKeys, do: (*visit).revokeKey},
		{method: get, path: "/activity", needs: behalf.ReadAudit, do: (*visit).activity},

		{method: get, path: "/connectors", needs: behalf.ReadConnectors, do: (*visit).listConnectors},
		{method: get, path: "/connectors/new", needs: behalf.WriteConnectors, do: (*visit).askConnector},
		{method: post, path: "/connectors/new", needs: behalf.WriteConnectors, do: (*visit).createConnector},
		{method: get, path: "/connectors/{connector}", needs: behalf.ReadConnectors, do: (*visit).showConnector},
		{method: post, path: "/connectors/{connector}", needs: behalf.WriteConnectors, do: (*visit).saveConnector},
		{method: post, path: "/connectors/{connector}/agents", needs: behalf.WriteConnectors, do: (*visit).addAgent},
		{method: get, path: "/connectors/{connector}/agents/{agent}/revoke", needs: behalf.WriteConnectors, do: (*visit).askRevokeAgent},
		{method: post, path: "/connectors/{connector}/agents/{agent}/revoke", needs: behalf.WriteConnectors, do: (*visit).revokeAgent},
		{method: get, path: "/connectors/{connector}/delete", needs: behalf.WriteConnectors, do: (*visit).askDeleteConnector},
		{method: post, path: "/connectors/{connector}/delete", needs: behalf.WriteConnectors, do: (*visit).deleteConnector},

		{method: get, path: "/people", needs: behalf.ReadMembers, do: (*visit).listPeople},
		{method: get, path: "/people/new", needs: behalf.WriteMembers, do: (*visit).askPerson},
		{method: post, path: "/people/new", needs: behalf.WriteMembers, do: (*visit).invitePerson},
		{method: get, path: "/people/{member}", needs: behalf.ReadMembers, do: (*visit).person},
		{method: post, path: "/people/{member}", needs: behalf.WriteMembers, do: (*visit).savePerson},
		{method: post, path: "/people/{member}/link", needs: behalf.WriteMembers, do: (*visit).linkPerson},
		{method: post, path: "/people/{member}/sign-out", needs: behalf.WriteMembers, do: (*visit).signOutPerson},
		{method: get, path: "/people/{member}/remove", needs: behalf.WriteMembers, do: (*visit).askRemovePerson},
		{method: post, path: "/people/{member}/remove", needs: behalf.WriteMembers, do: (*visit).removePerson},

		{method: get, path: "/account", do: (*visit).account},
		{method: post, path: "/account", do: (*visit).saveAccount},
		{method: post, path: "/account/password", do: (*visit).changePassword},
		{method: post, path: "/account/sign-out", do: (*visit).signOutElsewhere},
		{method: post, path: "/account/sign-ins/{sign_in}/end", do: (*visit).endSignIn},
	}
}

// Pages returns the paths below Prefix of everything that a browser can open, as
// patterns of http.ServeMux, for who looks at all of it.
func Pages() []string {
	var pages []string
	for _, r := range routes() {
		if r.method == get {
			pages = append(pages, r.path)
		}
	}
	return pages
}

// mux serves the table.
func (c *Console) mux() http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes() {
		mux.HandleFunc(r.method+" "+Prefix+r.path, c.serve(r))
	}
	mux.HandleFunc(Prefix+"/", c.serve(route{do: func(*visit) error { return behalf.Errorf(behalf.CodeNotFound, "There is no such page.") }}))
	return mux
}

// serve makes a handler of a route.
func (c *Console) serve(route route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := &visit{Console: c, w: w, r: r}
		if err := v.enter(route); err != nil {
			v.fail(err)
		}
	}
}

// enter lets the visitor in who may, and sends others where they can sign in.
func (v *visit) enter(route route) error {
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxForm)
	if err := parseForm(v.r); err != nil {
		return behalf.Errorf(behalf.CodeInvalid, "The form could not be read: it is too large, or damaged.")
	}
	if err := v.recognise(); err != nil {
		return err
	}
	switch {
	case route.open:
	case v.member.ID == "":
		return v.toSignIn()
	case route.needs != "" && !v.may(route.needs):
		return behalf.Errorf(behalf.CodeForbidden, "Your role, %s, does not allow this (%s). Ask an administrator or an owner.", v.member.Role, route.needs)
	}
	return route.do(v)
}

// parseForm reads a form, with the file that it may send: what is in it stays in
// memory, which the bound of the body bounds too.
func parseForm(r *http.Request) error {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		return r.ParseMultipartForm(maxForm)
	}
	return r.ParseForm()
}

// recognise reads who is signed in, anew with every request: a role that was
// changed, or an end, counts at once.
func (v *visit) recognise() error {
	id := v.signIns.GetString(v.ctx(), keyMember)
	if id == "" {
		return nil
	}
	m, err := v.Console.db.SignedIn(v.ctx(), behalf.MemberID(id))
	switch {
	case behalf.CodeOf(err) == behalf.CodeUnauthenticated:
		return v.signIns.Destroy(v.ctx())
	case err != nil:
		return err
	}
	v.member, v.db = m, v.Console.db.As(m.Actor())
	return nil
}

// toSignIn sends the browser to sign in, and afterwards back to the page that
// was asked for.
func (v *visit) toSignIn() error {
	to := at("sign-in")
	if v.r.Method == get && v.r.URL.Path != Prefix {
		to += "?next=" + escapeQuery(v.r.URL.RequestURI())
	}
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
	return nil
}

// next returns where to go after signing in: a page of ours or the first one.
func next(raw string) string {
	if strings.HasPrefix(raw, Prefix+"/") && !strings.ContainsAny(raw, "\\\r\n\t") && !strings.Contains(raw, "//") && !strings.Contains(raw, "..") {
		return raw
	}
	return Prefix
}
