package e2e

import "testing"

func TestAServerThatIsKilledWhileThePersonSignsInTakesThemBackWhenItRunsAgain(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			j := newJourney(t, engine, "zitadel", variant{})
			p := j.person
			made := j.bot.begin(map[string]any{"profile": j.profile.Slug, "user": user})
			p.Open(made.URL)
			p.Fill("PIN", j.pin)
			p.Fill("Desk code", j.desk)
			p.Click("Continue to Acme Notes")
			p.WaitURL(origin(t, j.provider.AuthorizationURL))

			j.node.kill()
			j.node.restart()

			if got := j.bot.session(made.ID); got.Status != "waiting" {
				t.Fatalf("after the restart the session is %+v", got)
			}
			p.Login(j.provider.Username, j.provider.Password, j.node.url+"/callback/")
			p.WaitText("Acme Notes is connected")
			if got := j.bot.session(made.ID); got.Status != "connected" {
				t.Fatalf("the session is %+v", got)
			}
			j.checkCall() // with what was typed before
		})
	}
}
