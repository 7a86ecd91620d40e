package behalf

import "time"

// Verdict says in one line how a connection is, and who must act.
type Verdict struct {
	Broken bool        `json:"broken"`
	Line   string      `json:"line" doc:"How it is, in one line."`
	Fix    string      `json:"fix,omitempty" doc:"What to do about it."`
	Who    Responsible `json:"who,omitempty" enum:"person,administrator,operator,provider" doc:"Who must act."`
	Code   string      `json:"code,omitempty" doc:"Of the step that failed."`
	Since  *time.Time  `json:"since,omitempty"`
}

// Verdict judges the connection by its state, its profile and what was recorded
// of it, newest first.
func (c Connection) Verdict(p Profile, recorded []Transcript, now time.Time) Verdict {
	last := c.lastFailure(recorded)
	switch {
	case c.Status == ConnectionRevoked:
		return Verdict{true, "This connection was ended.", "The person can connect again.", ByPerson, "revoked", since(c.UpdatedAt)}
	case !p.DeletedAt.IsZero():
		return Verdict{true, "Its authorization profile was deleted: no call goes through.", "Restore the profile, or let the person connect by another one.", ByAdministrator, "profile_deleted", since(p.DeletedAt)}
	case c.Status == ConnectionLapsed:
		v := Verdict{true, "It has lapsed: " + c.Reason, "The person must authorize again.", ByPerson, "lapsed", since(c.UpdatedAt)}
		if last != nil && last.Kind == RefreshTranscript {
			v.Line, v.Code = "It has lapsed. "+last.Failed().Cause, last.Failed().Code
		}
		return v
	case p.Status == ProfileFailing:
		v := Verdict{true, "The provider refuses this profile's client id or secret.", "Mend the profile. No connection is lost by it.", ByAdministrator, "profile_failing", since(p.UpdatedAt)}
		return v.because(last)
	case !c.Refreshable && c.Expired(now):
		return Verdict{true, "Its access token has ended, and the provider gave no refresh token.", "The person must authorize again.", ByPerson, "ended", since(c.ExpiresAt)}
	case last != nil:
		return Verdict{Broken: true}.because(last)
	}
	return Verdict{Line: "Nothing is wrong: calls go through."}
}

// lastFailure returns the newest of what was recorded of the connection itself
// where it failed: what has gone well since then has mended it.
func (c Connection) lastFailure(recorded []Transcript) *Transcript {
	for i, t := range recorded {
		if t.Connection != c.ID {
			continue
		}
		if t.Status != TranscriptFailed || t.Failed() == nil || t.Kind == CallTranscript && t.CreatedAt.Before(c.ObtainedAt) {
			return nil
		}
		return &recorded[i]
	}
	return nil
}

func (v Verdict) because(t *Transcript) Verdict {
	if t == nil {
		return v
	}
	s := t.Failed()
	v.Line, v.Fix, v.Who, v.Code, v.Since = s.Cause, s.Fix, s.Who, s.Code, since(t.CreatedAt)
	return v
}

func since(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
