package broker

import (
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/egress"
)

// recorder records the refresh of a credential.
func recorder(p behalf.Profile, old behalf.Credential, now time.Time) *egress.Recorder {
	return &egress.Recorder{Secrets: append(p.ClientSecrets(now), old.AccessToken, old.RefreshToken, old.IDToken)}
}

// record keeps what a refresh sent and received, once its outcome is saved. It
// is masked and written later: nobody waits for that.
func (b *Broker) record(r *request, err error) {
	now := b.db.Now()
	for _, cfg := range r.configs {
		r.rec.Secrets = append(r.rec.Secrets, cfg.Secrets...)
	}
	b.keeper.RecordLater(r.c.Assistant, err == nil, func() behalf.Transcript {
		t := behalf.Transcript{ID: behalf.NewTranscriptID(r.began), Kind: behalf.RefreshTranscript, Assistant: r.c.Assistant, Profile: r.c.Profile, Connection: r.c.ID,
			User: r.c.User, Status: behalf.TranscriptPassed, CreatedAt: r.began, EndedAt: now,
			Steps: behalf.Ran(behalf.StepRefresh, "Refresh", r.began, now.Sub(r.began), r.rec.Transcript().Exchanges, err, behalf.Circumstances{Plan: r.profile.Plan, Tenant: r.c.Tenant})}
		if err != nil {
			t.Status = behalf.TranscriptFailed
		}
		return t
	})
}
