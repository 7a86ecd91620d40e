package console_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/storetest"
)

var aToken = regexp.MustCompile(`bhc_[A-Za-z0-9_-]+`)

// enrolled makes a connector with agents that are attached and told what they
// allow.
func (s *stage) enrolled(name string, hosts ...string) (behalf.Connector, []behalf.ConnectorAgent) {
	s.t.Helper()
	ctx := s.t.Context()
	c, err := s.System.CreateConnector(ctx, behalf.Connector{Name: name})
	if err != nil {
		s.t.Fatal(err)
	}
	var agents []behalf.ConnectorAgent
	for _, host := range hosts {
		token, _, err := s.System.EnrolToken(ctx, c)
		if err != nil {
			s.t.Fatal(err)
		}
		s.Secret(token.Reveal())
		a, _, err := s.DB.EnrolAgent(ctx, token, make([]byte, 32), host)
		if err != nil {
			s.t.Fatal(err)
		}
		a.Version, a.System, a.Address = "0.9.0", "linux/amd64", "203.0.113.7"
		a.Published = []byte(`{"rows":[{"kind":"tcp","host":"erp.corp.example","port":443},{"kind":"http","host":"*.hr.corp.example","port":8443}]}`)
		if err := s.System.AttachTunnel(ctx, "tun_"+string(a.ID), a); err != nil {
			s.t.Fatal(err)
		}
		agents = append(agents, a)
	}
	return c, agents
}

// connectors lets the lively stage have three: one at work, one that waits for
// its first agent, and one that is disabled.
func (l *lively) connectors() behalf.ConnectorAgent {
	l.t.Helper()
	ctx := l.t.Context()
	office, agents := l.enrolled("office", "edge-1.corp.example", "edge-2.corp.example", "old-edge.corp.example")
	if err := l.System.RevokeAgent(ctx, office.ID, agents[2].ID); err != nil {
		l.t.Fatal(err)
	}
	l.enrolled("plant")
	lab, _ := l.enrolled("lab")
	lab.Enabled = false
	if _, err := l.System.SaveConnector(ctx, lab); err != nil {
		l.t.Fatal(err)
	}
	through := l.Definition("Corporate ERP")
	through.Connector = &office.Name
	l.NewProfile(l.Assistant, through)
	return agents[0]
}

// carries lets a day pass, in which much goes through a connector.
func (l *lively) carries(id behalf.ConnectorID) {
	l.t.Helper()
	for hour := range 24 {
		passed := map[behalf.ConnectorID]behalf.Traffic{id: {Calls: int64(40 + hour*7%50), Failed: int64(hour % 7), In: 3_400_000, Out: 120_000}}
		if err := l.System.CountTraffic(l.t.Context(), passed); err != nil {
			l.t.Fatal(err)
		}
		l.Clock.Advance(time.Hour)
	}
	if err := l.System.AttachTunnel(l.t.Context(), "tun_again", l.agent); err != nil { // the first one was long ago
		l.t.Fatal(err)
	}
}

func TestAConnectorIsMadeUsedAndDeletedInTheConsole(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	b := s.arrives(s.member("Ada", behalf.RoleAdministrator))
	profile := s.at("/assistants/" + s.Assistant.Slug + "/profiles/" + s.Profile.Slug)
	b.Open(profile)
	if strings.Contains(b.Text(), "Access Using a Connector") {
		t.Error("a connector is asked for where there is none")
	}
	b.Open(s.at("/connectors"))
	b.WaitText("No connector yet")
	b.Click("New connector")
	b.Fill("Name", "Not A Name")
	b.Click("Make the connector")
	b.WaitText("No connector is made yet")
	b.Fill("Name", "office")
	b.Click("Make the connector")
	b.WaitText("Use it now")
	token := aToken.FindString(b.Text())
	s.Secret(token)
	b.Click("To the connector")
	b.WaitText("Waiting for its first agent")
	if strings.Contains(b.Text(), token) {
		t.Error("the token is shown again")
	}

	b.Open(profile)
	b.WaitText("Access Using a Connector")
	b.Fill("Access Using a Connector", "office")
	b.Click("Save")
	b.WaitText("or another connector") // whose operator may see it
	b.Fill("Client Secret Key", storetest.ClientSecret)
	b.Click("Save")
	b.WaitText("The profile is saved")
	p, err := s.System.Profile(t.Context(), s.Assistant.ID, string(s.Profile.ID))
	if err != nil || p.ConnectorName() != "office" {
		t.Errorf("the profile goes through %q, %v", p.ConnectorName(), err)
	}
	b.Fill("Issuer or address", "https://erp.corp.example")
	b.Click("Discover")
	b.WaitText("not connected") // the connector, which discovery goes through

	b.Open(s.at("/connectors/office/delete"))
	b.WaitText(s.Profile.Name)
	b.Click("Back")
	b.Click("Disable")
	b.WaitText("is disabled")
	if c, err := s.System.Connector(t.Context(), "office"); err != nil || c.Enabled {
		t.Error("it is enabled", err)
	}
	p.Connector = nil
	if _, err := s.System.SaveProfile(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	b.Click("Delete…")
	b.WaitText("No profile uses it")
	b.Click("Delete")
	b.WaitText("is deleted")
	b.WaitText("No connector yet")
}
