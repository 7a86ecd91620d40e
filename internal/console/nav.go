package console

import (
	"strings"

	"github.com/a-h/templ"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
)

// place is one link of the sidebar. A page that gets one adds a line here.
type place struct {
	icon, text string
	path       string            // below the assistant, or below Prefix
	needs      behalf.Permission // as the route's
	exact      bool              // current on this very page only
}

var ofAssistant = []place{
	{icon: "home", text: "Overview", path: "", needs: behalf.ReadAssistants, exact: true},
	{icon: "link", text: "Connections", path: "connections", needs: behalf.ReadConnections},
}

// appSettings stand under App Settings.
var appSettings = []place{
	{icon: "gear", text: "Settings", path: "settings", needs: behalf.ReadAssistants},
	{icon: "key", text: "Keys", path: "keys", needs: behalf.ReadKeys},
	{icon: "braces", text: "Variables", path: "variables", needs: behalf.ReadVariables},
	{icon: "list", text: "Activity", path: "activity", needs: behalf.ReadAudit},
}

// devTools stand under App Settings, Dev Tools.
var devTools = []place{
	{icon: "lock", text: "Authorization Profiles", path: "profiles", needs: behalf.ReadProfiles},
	{icon: "send", text: "Webhooks", path: "webhooks", needs: behalf.ReadWebhooks},
}

var ofServer = []place{
	{icon: "grid", text: "Assistants", path: "assistants", needs: behalf.ReadAssistants, exact: true},
	{icon: "cloud", text: "Connectors", path: "connectors", needs: behalf.ReadConnectors},
	{icon: "people", text: "People", path: "people", needs: behalf.ReadMembers},
	{icon: "key", text: "Administrators’ keys", path: "keys", needs: behalf.ReadKeys},
	{icon: "list", text: "Activity", path: "activity", needs: behalf.ReadAudit},
}

// frame puts a page into the console's frame.
func (v *visit) frame(title, toast string, content templ.Component) templ.Component {
	s := look.Shell{Home: Prefix, Me: look.Me{Name: nameOf(v.member), Note: string(v.member.Role), URL: at("account"), SignOut: at("sign-out"), Current: v.r.URL.Path == at("account")}}
	s.Groups = append(s.Groups, look.NavGroup{Lists: []look.NavList{{Links: v.links(Prefix, ofServer)}}})
	if v.assistant.ID != "" {
		base := at("assistants", v.assistant.Slug)
		s.Groups = append(s.Groups, look.NavGroup{Name: v.assistant.Name, Lists: []look.NavList{
			{Links: v.links(base, ofAssistant)},
			{Of: "App Settings", Links: v.links(base, appSettings)},
			{Of: "Dev Tools", Links: v.links(base, devTools)},
		}})
	}
	return page(title, toast, s, content)
}

// links are those of the places that the member may go to.
func (v *visit) links(base string, places []place) []look.NavLink {
	var out []look.NavLink
	for _, p := range places {
		if !v.may(p.needs) {
			continue
		}
		to := strings.TrimSuffix(base+"/"+p.path, "/")
		here := v.r.URL.Path
		out = append(out, look.NavLink{Icon: p.icon, Text: p.text, URL: to, Current: here == to || !p.exact && strings.HasPrefix(here, to+"/")})
	}
	return out
}

// nameOf returns what a member is called.
func nameOf(m behalf.Member) string {
	if m.Name != "" {
		return m.Name
	}
	return m.Email
}

// wayTo returns the way to a page of an assistant.
func (v *visit) wayTo(more ...look.Crumb) []look.Crumb {
	return append([]look.Crumb{{Text: "Assistants", URL: at("assistants")}, {Text: v.assistant.Name, URL: at("assistants", v.assistant.Slug)}}, more...)
}
