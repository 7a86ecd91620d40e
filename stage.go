package behalf

import (
	"maps"
	"slices"
	"strings"
)

// nameSet are the names that exist at one moment of an authorization, beside
// additional fields and what is always there.
type nameSet map[string]bool

func (s nameSet) and(names ...string) nameSet {
	out := nameSet{}
	maps.Copy(out, s)
	for _, n := range names {
		out[n] = true
	}
	return out
}

func (s nameSet) kept(captures []Capture) nameSet {
	names := make([]string, len(captures))
	for i, c := range captures {
		names[i] = c.Name
	}
	return s.and(names...)
}

// stages are the moments of an authorization in their order.
type stages struct {
	tokenURL nameSet // no secret of the request stands in a URL
	token    nameSet
	checkURL nameSet
	refresh  nameSet
	revoke   nameSet
	call     nameSet
	kept     nameSet            // everything that is captured at all
	steps    map[string]nameSet // by where the step stands
}

func (p *Plan) stages() stages {
	o := p.OAuth
	s := stages{steps: map[string]nameSet{}, kept: nameSet{}}
	for name := range p.captures {
		s.kept[name] = true
	}
	request := nameSet{}.and("redirectUri", "clientSecret", "requestTime", "requestTimeMs")
	s.tokenURL = nameSet{}.kept(o.Callback.Capture)
	s.token = request.kept(o.Callback.Capture)
	codes := []string{"code", "state", "codeVerifier"}
	for _, step := range p.before {
		s.steps[step.at] = s.token.and(codes...)
		if contains(step.On, "refresh") {
			s.steps[step.at] = s.token.and("refreshToken", "accessToken")
		}
		s.token, s.tokenURL = s.token.kept(step.Capture), s.tokenURL.kept(step.Capture)
	}
	granted := s.token.and(tokenNames...).and("refreshToken").kept(o.Token.Capture).and(p.slotNames()...)
	s.checkURL = s.tokenURL.kept(o.Token.Capture)
	s.token = s.token.and(codes...)
	for _, step := range p.after {
		s.steps[step.at] = granted
		granted, s.checkURL = granted.kept(step.Capture), s.checkURL.kept(step.Capture)
	}
	for _, step := range p.post {
		s.steps[step.at] = granted
		granted = granted.kept(step.Capture)
	}
	s.refresh = request.and(tokenNames...).and("refreshToken").and(slices.Collect(maps.Keys(s.kept))...)
	s.revoke = s.refresh.and("token")
	s.call = s.kept.and(tokenNames...).and(p.slotNames()...)
	return s
}

// url returns the names that a URL of the definition may hold.
func (s stages) url(field string) nameSet {
	switch at, _ := strings.CutSuffix(field, ".url"); {
	case s.steps[at] != nil:
		return s.steps[at]
	case field == "token_url":
		return s.tokenURL
	case field == "check_url", field == "oauth.userinfo_url", field == "oauth.introspection_url", field == "oauth.jwks_url":
		return s.checkURL
	case field == "oauth.revocation_url":
		return s.kept.and("token") // DELETE /refresh-tokens/{{token}}
	case field == "refresh_url", field == "api.base_url":
		return s.kept
	}
	return nil
}

// allSteps are the steps of all lists.
func (p *Plan) allSteps() []planStep { return slices.Concat(p.before, p.after, p.post) }

// slotPart splits {{slots.user.accessToken}}.
func slotPart(name string) (slot, part string, ok bool) {
	rest, ok := strings.CutPrefix(name, "slots.")
	slot, part, cut := strings.Cut(rest, ".")
	return slot, part, ok && cut
}

func (p *Plan) slotName(name string) bool { return contains(p.slotNames(), name) }

func (p *Plan) slotNames() []string {
	var names []string
	for _, s := range p.OAuth.Slots {
		names = append(names, "slots."+s.Name+".accessToken", "slots."+s.Name+".tokenType")
	}
	return names
}
