package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/tunnel"
)

// connectorState is a connector with what is known of its agents.
type connectorState struct {
	behalf.Connector
	Agents  []behalf.ConnectorAgent
	Tunnels []behalf.Tunnel
}

func (c connectorState) status() behalf.ConnectorStatus { return c.Status(len(c.Tunnels)) }

// tunnelsOf counts the open tunnels of an agent.
func (c connectorState) tunnelsOf(id behalf.AgentID) int {
	n := 0
	for _, t := range c.Tunnels {
		if t.Agent == id {
			n++
		}
	}
	return n
}

// connected are the agents that are attached now.
func (c connectorState) connected() []behalf.ConnectorAgent {
	return slices.DeleteFunc(slices.Clone(c.Agents), func(a behalf.ConnectorAgent) bool { return c.tunnelsOf(a.ID) == 0 })
}

// latest is the agent that was attached last: what a list has room for.
func (c connectorState) latest() behalf.ConnectorAgent {
	var last behalf.ConnectorAgent
	for _, a := range c.Agents {
		if a.RevokedAt.IsZero() && !a.SeenAt.Before(last.SeenAt) {
			last = a
		}
	}
	return last
}

var connectorStates = map[behalf.ConnectorStatus]struct {
	tone look.Tone
	text string
}{
	behalf.ConnectorNew:          {look.Accent, "Waiting for its first agent"},
	behalf.ConnectorConnected:    {look.Good, "Connected"},
	behalf.ConnectorDisconnected: {look.Bad, "Not connected"},
	behalf.ConnectorDisabled:     {look.Plain, "Disabled"},
}

func (v *visit) stateOf(c behalf.Connector) (connectorState, error) {
	agents, err := v.db.ConnectorAgents(v.ctx(), c.ID)
	if err != nil {
		return connectorState{}, err
	}
	tunnels, err := v.db.ConnectorTunnels(v.ctx(), c.ID)
	return connectorState{c, agents, tunnels}, err
}

// connectors returns all of them.
func (v *visit) connectors() ([]behalf.Connector, error) {
	var out []behalf.Connector
	page := store.Page{}
	for {
		some, err := v.db.Connectors(v.ctx(), page)
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
		if len(some) < pageFull {
			return out, nil
		}
		page.After = string(some[len(some)-1].ID)
	}
}

func (v *visit) listConnectors() error {
	all, err := v.connectors()
	if err != nil {
		return err
	}
	var states []connectorState
	for _, c := range all {
		s, err := v.stateOf(c)
		if err != nil {
			return err
		}
		states = append(states, s)
	}
	return v.show(http.StatusOK, "Connectors", v.connectorsPage(states))
}

// connectorForm is what may be set of a connector that is made.
type connectorForm struct {
	Name string
	faults
}

func (f connectorForm) inputs() []look.Input {
	return f.mark([]look.Input{{Name: "name", Label: "Name", Value: f.Name, Required: true, Code: true, Focus: f.Title == "", Autocomplete: "off",
		Hint: "Where it leads, such as office or plant-2: lower-case letters, digits and hyphens. Profiles name it so, and it stays."}})
}

func (v *visit) askConnector() error {
	return v.show(http.StatusOK, "New connector", v.newConnectorPage(connectorForm{}))
}

// createConnector makes a connector, and at once the token for its first agent.
func (v *visit) createConnector() error {
	form := connectorForm{Name: v.line("name")}
	c, err := v.db.CreateConnector(v.ctx(), behalf.Connector{Name: form.Name})
	if err == nil {
		return v.showToken(c)
	}
	f, ok := faultsOf(err, "No connector is made yet")
	if !ok {
		return err
	}
	form.faults = f
	return v.show(statusOf(err), "New connector", v.newConnectorPage(form))
}

// connector reads the connector of the path.
func (v *visit) connector() (connectorState, error) {
	c, err := v.db.Connector(v.ctx(), v.r.PathValue("connector"))
	if err != nil {
		return connectorState{}, err
	}
	return v.stateOf(c)
}

// connectorUse is a profile that goes through a connector.
type connectorUse struct {
	Profile   behalf.Profile
	Assistant behalf.Assistant
}

func (v *visit) connectorUses(c behalf.Connector) ([]connectorUse, error) {
	profiles, err := v.db.ConnectorUses(v.ctx(), c)
	if err != nil {
		return nil, err
	}
	var out []connectorUse
	for _, p := range profiles {
		a, err := v.db.Assistant(v.ctx(), string(p.Assistant))
		if err != nil {
			return nil, err
		}
		out = append(out, connectorUse{p, a})
	}
	return out, nil
}

// passage is what went through a connector in the last day.
type passage struct {
	Hours         []look.Day
	Calls, Failed int64
	In, Out       int64 // bytes
}

// said is the chart in a sentence.
func (c passage) said() string {
	return fmt.Sprintf("Connections by the hour of the last %d hours: %d were opened, %d could not be.", len(c.Hours), c.Calls, c.Failed)
}

// hoursShown is how far back the chart of a connector looks.
const hoursShown = 24

func (v *visit) passageOf(c behalf.Connector) (passage, error) {
	first := v.db.Now().UTC().Truncate(time.Hour).Add(-(hoursShown - 1) * time.Hour)
	minutes, err := v.db.ConnectorTraffic(v.ctx(), c.ID, first)
	out := passage{Hours: make([]look.Day, hoursShown)}
	for i := range out.Hours {
		out.Hours[i].Text = first.Add(time.Duration(i) * time.Hour).Format("2 January, 15:00")
	}
	for _, m := range minutes {
		i := int(m.At.Sub(first) / time.Hour)
		if i < 0 || i >= hoursShown {
			continue
		}
		out.Hours[i].Good, out.Hours[i].Bad = out.Hours[i].Good+m.Calls, out.Hours[i].Bad+m.Failed
		out.Calls, out.Failed, out.In, out.Out = out.Calls+m.Calls, out.Failed+m.Failed, out.In+m.In, out.Out+m.Out
	}
	return out, err
}

func (v *visit) showConnector() error {
	c, err := v.connector()
	if err != nil {
		return err
	}
	uses, err := v.connectorUses(c.Connector)
	if err != nil {
		return err
	}
	traffic, err := v.passageOf(c.Connector)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, c.Name, v.connectorPage(c, uses, traffic))
}

// saveConnector disables a connector, or enables it again.
func (v *visit) saveConnector() error {
	c, err := v.connector()
	if err != nil {
		return err
	}
	c.Enabled, c.Version = v.form("enabled") == "yes", version(v.form("version"))
	if _, err := v.db.SaveConnector(v.ctx(), c.Connector); err != nil {
		return err
	}
	if c.Enabled {
		v.done("The connector " + c.Name + " is enabled. Its agents come back by themselves.")
	} else {
		v.done("The connector " + c.Name + " is disabled: its tunnels are cut, and calls through it fail until it is enabled again.")
	}
	return v.to("connectors", c.Name)
}

// addAgent makes a token with which one more agent can enrol.
func (v *visit) addAgent() error {
	c, err := v.connector()
	if err != nil {
		return err
	}
	return v.showToken(c.Connector)
}

func (v *visit) showToken(c behalf.Connector) error {
	token, ends, err := v.db.EnrolToken(v.ctx(), c)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "Enrol an agent", v.enrolPage(c, token, ends))
}

// howTo is how an agent is started on one system.
type howTo struct {
	ID, System, File, Note string
	Enrol, Start           string // commands
}

// howTos are the ways to enrol an agent with a token.
func (v *visit) howTos(token secret.Text) []howTo {
	enrol := func(file string) string {
		return "behalf connector enrol -f " + file + " --server " + strings.TrimSuffix(v.cfg.PublicURL.String(), "/") + " --token " + token.Reveal()
	}
	const unix, windows = "/etc/behalf/connector.yaml", `C:\ProgramData\behalf\connector.yaml`
	return []howTo{
		{ID: "linux", System: "Linux", File: unix,
			Enrol: "sudo " + enrol(unix) + "\nsudo useradd --system behalf\nsudo chown -R behalf /etc/behalf",
			Start: "behalf connector service systemd -f " + unix + " | sudo tee /etc/systemd/system/behalf-connector.service\nsudo systemctl daemon-reload\nsudo systemctl enable --now behalf-connector"},
		{ID: "macos", System: "macOS", File: unix, Note: "Cross-built: we have not run it on a Mac yet.",
			Enrol: "sudo " + enrol(unix),
			Start: "behalf connector service launchd --user root -f " + unix + " | sudo tee /Library/LaunchDaemons/dev.behalf.connector.plist\nsudo launchctl bootstrap system /Library/LaunchDaemons/dev.behalf.connector.plist"},
		{ID: "windows", System: "Windows", File: windows, Note: "Cross-built: we have not run it on Windows yet. The commands are for PowerShell as administrator.",
			Enrol: enrol(windows),
			Start: "behalf connector service windows -f " + windows + " | Out-File behalf-connector.ps1\n.\\behalf-connector.ps1"},
	}
}

// allowList is what an agent says that it allows.
func allowList(a behalf.ConnectorAgent) []tunnel.PublishedRow {
	var p tunnel.Published
	if json.Unmarshal(a.Published, &p) != nil {
		return nil // it has not connected yet
	}
	return p.Rows
}

func (v *visit) askRevokeAgent() error {
	c, a, err := v.agent()
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "Revoke "+agentName(a), v.revokeAgentPage(c, a))
}

func (v *visit) revokeAgent() error {
	c, a, err := v.agent()
	if err != nil {
		return err
	}
	if err := v.db.RevokeAgent(v.ctx(), c.ID, a.ID); err != nil {
		return err
	}
	v.done("The agent " + agentName(a) + " is revoked: its tunnels are cut, and it is not let in again.")
	return v.to("connectors", c.Name)
}

// agent reads the agent of the path.
func (v *visit) agent() (connectorState, behalf.ConnectorAgent, error) {
	c, err := v.connector()
	if err != nil {
		return c, behalf.ConnectorAgent{}, err
	}
	i := slices.IndexFunc(c.Agents, func(a behalf.ConnectorAgent) bool { return string(a.ID) == v.r.PathValue("agent") })
	if i < 0 {
		return c, behalf.ConnectorAgent{}, behalf.NotFound("agent")
	}
	return c, c.Agents[i], nil
}

func agentName(a behalf.ConnectorAgent) string {
	if a.Hostname == "" {
		return string(a.ID)
	}
	return a.Hostname
}

func (v *visit) askDeleteConnector() error {
	c, err := v.connector()
	if err != nil {
		return err
	}
	return v.deleteConnectorWith(http.StatusOK, c, faults{})
}

// deleteConnectorWith shows where the connector is used: what is, stays.
func (v *visit) deleteConnectorWith(status int, c connectorState, f faults) error {
	uses, err := v.connectorUses(c.Connector)
	if err != nil {
		return err
	}
	return v.show(status, "Delete "+c.Name, v.deleteConnectorPage(c, uses, f))
}

func (v *visit) deleteConnector() error {
	c, err := v.connector()
	if err != nil {
		return err
	}
	err = v.db.DeleteConnector(v.ctx(), c.Connector)
	if f, ok := faultsOf(err, "The connector is not deleted"); ok {
		return v.deleteConnectorWith(statusOf(err), c, f)
	}
	if err != nil {
		return err
	}
	v.done("The connector " + c.Name + " is deleted, with everything that was enrolled for it.")
	return v.to("connectors")
}

// throughOptions are the ways that the calls of a profile can take. Without any
// connector there is nothing to choose.
func (v *visit) throughOptions() ([]look.Option, error) {
	if !v.may(behalf.ReadConnectors) {
		return nil, nil
	}
	all, err := v.connectors()
	if err != nil {
		return nil, err
	}
	out := []look.Option{{Value: "", Text: "No: over the internet"}}
	for _, c := range all {
		if c.Enabled {
			out = append(out, look.Option{Value: c.Name, Text: c.Name})
		}
	}
	if len(out) == 1 {
		return nil, nil
	}
	return out, nil
}
