package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

// This file keeps transcripts. The rules are:
//
//   - They were masked before they came here, and are sealed all the same: what
//     is left is of persons.
//   - They are few: the last of each profile and connection, and none for ever.
//   - What is recorded beside other work (Record) is written in batches, off its
//     path, and is given up before it could become a burden.

const (
	keptTrials      = 50  // of a profile
	keptTranscripts = 20  // of a connection
	keptRefreshes   = 3   // of these, refreshes that went well
	maxRecords      = 512 // that wait
	maxWell         = 64  // of these, what went well
)

// CreateTranscript keeps the transcript of a test as it begins.
func (s Scope) CreateTranscript(ctx context.Context, t behalf.Transcript) error {
	if err := s.allow(behalf.TestProfiles, t.Assistant, "profile"); err != nil {
		return err
	}
	_, err := s.db.read.Profile(ctx, query.ProfileParams{Assistant: string(t.Assistant), ID: string(t.Profile)})
	if err := found(err, "profile"); err != nil {
		return err
	}
	return s.change(ctx, func(c *change) error {
		c.audit(t.Assistant, "profile.test", string(t.Profile), string(t.Kind))
		if err := s.insertTranscript(ctx, c, t); err != nil {
			return err
		}
		return c.TrimTrials(ctx, query.TrimTrialsParams{Profile: string(t.Profile), Kept: keptTrials})
	})
}

// SaveTranscript moves a transcript on, by its version.
func (s Scope) SaveTranscript(ctx context.Context, t behalf.Transcript) error {
	if err := s.allow(behalf.Maintain, t.Assistant, "transcript"); err != nil {
		return err
	}
	sealed, err := s.db.seal(t.Steps, transcriptPlace(t.ID, t.Version+1))
	if err != nil {
		return fmt.Errorf("store: transcript: %w", err)
	}
	return s.change(ctx, func(c *change) error {
		return one(c.UpdateTranscript(ctx, query.UpdateTranscriptParams{Connection: string(t.Connection), Status: string(t.Status), Sealed: sealed,
			EndedAt: micros(t.EndedAt), ID: string(t.ID), Assistant: string(t.Assistant), Version: t.Version}))
	})
}

// Transcript returns a transcript by id.
func (s Scope) Transcript(ctx context.Context, assistant behalf.AssistantID, id behalf.TranscriptID) (behalf.Transcript, error) {
	if err := s.allow(behalf.ReadTranscripts, assistant, "transcript"); err != nil {
		return behalf.Transcript{}, err
	}
	if !text(string(id)) {
		return behalf.Transcript{}, behalf.NotFound("transcript")
	}
	row, err := s.db.read.Transcript(ctx, string(id))
	if err == nil && row.Assistant != string(assistant) {
		return behalf.Transcript{}, behalf.NotFound("transcript")
	}
	if err := found(err, "transcript"); err != nil {
		return behalf.Transcript{}, err
	}
	return s.db.transcriptFrom(row)
}

// SessionTranscript returns the transcript of a connect session.
func (s Scope) SessionTranscript(ctx context.Context, assistant behalf.AssistantID, id behalf.SessionID) (behalf.Transcript, error) {
	if err := s.allow(behalf.ReadTranscripts, assistant, "transcript"); err != nil {
		return behalf.Transcript{}, err
	}
	if !text(string(id)) {
		return behalf.Transcript{}, behalf.NotFound("transcript")
	}
	row, err := s.db.read.TranscriptOfSession(ctx, string(id))
	if err == nil && row.Assistant != string(assistant) {
		return behalf.Transcript{}, behalf.NotFound("transcript")
	}
	if err := found(err, "transcript"); err != nil {
		return behalf.Transcript{}, err
	}
	return s.db.transcriptFrom(row)
}

// Trials returns the tests of a profile, newest first.
func (s Scope) Trials(ctx context.Context, assistant behalf.AssistantID, profile behalf.ProfileID, page Page) ([]behalf.Transcript, error) {
	if err := s.allow(behalf.ReadTranscripts, assistant, "profile"); err != nil {
		return nil, err
	}
	if !text(string(profile), page.After) {
		return nil, nil
	}
	rows, err := s.db.read.TranscriptsOfProfile(ctx, query.TranscriptsOfProfileParams{Profile: string(profile), Before: page.After, Max: page.limit()})
	return s.transcripts(rows, assistant, err)
}

// OpenTrials returns the tests of a profile that wait for a person.
func (s Scope) OpenTrials(ctx context.Context, profile behalf.ProfileID) ([]behalf.Transcript, error) {
	if err := s.allow(behalf.Maintain, "", "profile"); err != nil {
		return nil, err
	}
	if !text(string(profile)) {
		return nil, nil
	}
	rows, err := s.db.read.OpenTrials(ctx, query.OpenTrialsParams{Profile: string(profile), Max: 10})
	return s.transcripts(rows, "", err)
}

// ConnectionTranscripts returns what was recorded of a connection, newest
// first: authorizations, refreshes and calls that failed. Authorizations of its
// user that failed belong to it too, on the first page.
func (s Scope) ConnectionTranscripts(ctx context.Context, c behalf.Connection, page Page) ([]behalf.Transcript, error) {
	if err := s.allow(behalf.ReadTranscripts, c.Assistant, "connection"); err != nil {
		return nil, err
	}
	if !text(page.After) {
		return nil, nil
	}
	rows, err := s.db.read.TranscriptsOfConnection(ctx, query.TranscriptsOfConnectionParams{Connection: string(c.ID), Before: page.After, Max: page.limit()})
	if err != nil {
		return nil, unavailable(err)
	}
	failed, err := s.db.read.FailedAuthorizations(ctx, query.FailedAuthorizationsParams{Profile: string(c.Profile), EndUser: c.User, Before: page.After, Max: page.limit()})
	return s.transcripts(newestFirst(rows, failed, page.limit()), c.Assistant, err)
}

// newestFirst merges two lists that are newest first.
func newestFirst(a, b []query.Transcript, limit int64) []query.Transcript {
	var out []query.Transcript
	for int64(len(out)) < limit && len(a)+len(b) > 0 {
		if len(b) == 0 || len(a) > 0 && a[0].ID > b[0].ID {
			out, a = append(out, a[0]), a[1:]
			continue
		}
		out, b = append(out, b[0]), b[1:]
	}
	return out
}

// ForgetTranscripts deletes those that were begun before a time.
func (s Scope) ForgetTranscripts(ctx context.Context, before time.Time) error {
	if err := s.allow(behalf.Maintain, "", "transcript"); err != nil {
		return err
	}
	return s.change(ctx, func(c *change) error { return c.DeleteTranscripts(ctx, micros(before)) })
}

// Record keeps a transcript of something that has ended, within a second or so.
func (s Scope) Record(t behalf.Transcript) {
	s.RecordLater(t.Assistant, false, func() behalf.Transcript { return t })
}

// RecordLater is Record with what it costs to write a transcript left for
// later, too. Of what went well there is a place for few: where a thousand
// things a second go well, nobody looks for one of them.
func (s Scope) RecordLater(assistant behalf.AssistantID, well bool, write func() behalf.Transcript) {
	if s.allow(behalf.Maintain, assistant, "transcript") == nil {
		s.db.records.add(record{write, well})
	}
}

// record is a transcript that waits to be written.
type record struct {
	write func() behalf.Transcript
	well  bool
}

// records are those that wait.
type records struct {
	mu    sync.Mutex
	wait  []record
	well  int // of those that wait
	given int // up
}

func (r *records) add(all ...record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range all {
		if len(r.wait) == maxRecords || one.well && r.well == maxWell {
			r.given += 1 - int(flag(one.well))
			continue
		}
		r.wait, r.well = append(r.wait, one), r.well+int(flag(one.well))
	}
}

// take returns what waits, and how many of what failed were given up.
func (r *records) take() (wait []record, given int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wait, given = r.wait, r.given
	r.wait, r.well, r.given = nil, 0, 0
	return wait, given
}

func (db *DB) flushRecords(ctx context.Context) error {
	wait, given := db.records.take()
	if given > 0 {
		db.log.Warn("transcripts were given up: there are too many", "transcripts", given)
	}
	if len(wait) == 0 {
		return nil
	}
	batch := make([]behalf.Transcript, len(wait))
	for i, one := range wait {
		batch[i] = one.write()
	}
	s := db.As(behalf.System("recorder"))
	err := s.change(ctx, func(c *change) error {
		if err := s.insertTranscripts(ctx, c, batch); err != nil {
			return err
		}
		return c.trim(ctx, batch)
	})
	if err == nil {
		return nil
	}
	for i, t := range batch {
		if db.Now().Sub(t.EndedAt) < patience {
			db.records.add(record{func() behalf.Transcript { return t }, wait[i].well})
		}
	}
	return err
}

// patience is how long it is tried to write a transcript.
const patience = 5 * time.Minute

// trim deletes what is too much of the same as was just kept.
func (c *change) trim(ctx context.Context, batch []behalf.Transcript) error {
	done := map[string]bool{}
	for _, t := range batch {
		of := string(t.Connection)
		if of == "" {
			of = string(t.Profile) + "/" + t.User
		}
		if done[of] {
			continue
		}
		done[of] = true
		if err := c.trimOf(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

func (c *change) trimOf(ctx context.Context, t behalf.Transcript) error {
	if t.Connection == "" {
		return c.TrimFailedAuthorizations(ctx, query.TrimFailedAuthorizationsParams{Profile: string(t.Profile), EndUser: t.User, Kept: keptTranscripts})
	}
	if err := c.TrimRefreshes(ctx, query.TrimRefreshesParams{Connection: string(t.Connection), Kept: keptRefreshes}); err != nil {
		return err
	}
	return c.TrimTranscripts(ctx, query.TrimTranscriptsParams{Connection: string(t.Connection), Kept: keptTranscripts})
}

// transcriptRow is a transcript as it travels to the database.
type transcriptRow struct {
	behalf.Transcript
	sealed []byte
}

func (r transcriptRow) values() []any {
	return []any{string(r.ID), string(r.Kind), string(r.Assistant), string(r.Profile), string(r.Connection), string(r.Session), r.User, r.Actor, string(r.Status),
		r.sealed, micros(r.CreatedAt), micros(r.EndedAt)}
}

var insertTranscripts = &many{`INSERT INTO transcripts (id, kind, assistant, profile, connection, session, end_user, actor, status, sealed, version, created_at, ended_at)
SELECT rid, rkind, rassistant, rprofile, rconnection, rsession, rend_user, ractor, rstatus, rsealed, 1, rcreated_at, rended_at FROM many`,
	[]string{"rid text", "rkind text", "rassistant text", "rprofile text", "rconnection text", "rsession text", "rend_user text", "ractor text", "rstatus text",
		"rsealed bytea", "rcreated_at bigint", "rended_at bigint"}}

func (s Scope) insertTranscripts(ctx context.Context, c *change, batch []behalf.Transcript) error {
	rows := make([]transcriptRow, len(batch))
	for i, t := range batch {
		sealed, err := s.db.seal(t.Steps, transcriptPlace(t.ID, 1))
		if err != nil {
			return fmt.Errorf("store: transcript: %w", err)
		}
		rows[i] = transcriptRow{t, sealed}
	}
	return each(ctx, c, insertTranscripts, rows, nil)
}

func (s Scope) insertTranscript(ctx context.Context, c *change, t behalf.Transcript) error {
	sealed, err := s.db.seal(t.Steps, transcriptPlace(t.ID, 1))
	if err != nil {
		return fmt.Errorf("store: transcript: %w", err)
	}
	return c.InsertTranscript(ctx, query.InsertTranscriptParams{ID: string(t.ID), Kind: string(t.Kind), Assistant: string(t.Assistant), Profile: string(t.Profile),
		Connection: string(t.Connection), Session: string(t.Session), EndUser: t.User, Actor: t.Actor, Status: string(t.Status), Sealed: sealed,
		CreatedAt: micros(t.CreatedAt), EndedAt: micros(t.EndedAt)})
}

func transcriptPlace(id behalf.TranscriptID, version int64) vault.Place {
	return vault.Place{Table: "transcripts", Row: string(id), Column: "sealed", Generation: version}
}

func (s Scope) transcripts(rows []query.Transcript, assistant behalf.AssistantID, err error) ([]behalf.Transcript, error) {
	if err != nil {
		return nil, unavailable(err)
	}
	out := make([]behalf.Transcript, 0, len(rows))
	for _, row := range rows {
		if assistant != "" && row.Assistant != string(assistant) {
			continue
		}
		t, err := s.db.transcriptFrom(row)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func (db *DB) transcriptFrom(row query.Transcript) (behalf.Transcript, error) {
	t := behalf.Transcript{ID: behalf.TranscriptID(row.ID), Kind: behalf.TranscriptKind(row.Kind), Assistant: behalf.AssistantID(row.Assistant), Profile: behalf.ProfileID(row.Profile),
		Connection: behalf.ConnectionID(row.Connection), Session: behalf.SessionID(row.Session), User: row.EndUser, Actor: row.Actor, Status: behalf.TranscriptStatus(row.Status),
		Version: row.Version, CreatedAt: at(row.CreatedAt), EndedAt: at(row.EndedAt)}
	err := db.unseal(row.Sealed, transcriptPlace(t.ID, row.Version), &t.Steps)
	return t, err
}
