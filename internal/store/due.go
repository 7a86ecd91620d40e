package store

import (
	"context"
	"slices"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
)

// This file finds what is to be looked after without anybody asking. The rules
// are:
//
//   - Work is found by index, profile by profile and lane by lane: neither a
//     provider that is down nor refreshes that fail stand before the others.
//   - Who claims something puts off for others when they look at it. The lease is
//     what keeps refreshes apart; a claim only saves asking twice.

// The lanes of a profile.
const (
	LaneHealthy = 0
	LaneFailing = 1 // the last refresh failed
)

// Due is a profile with connections that are to be looked after.
type Due struct {
	Assistant behalf.AssistantID
	Profile   behalf.ProfileID
}

// DueProfiles returns the profiles with connections that are due.
func (s Scope) DueProfiles(ctx context.Context) ([]Due, error) {
	if err := s.allow(behalf.Maintain, "", "connection"); err != nil {
		return nil, err
	}
	now := micros(s.db.Now())
	rows, err := s.db.read.LiveProfiles(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	var out []Due
	for _, r := range rows {
		n, err := s.db.read.CountDue(ctx, query.CountDueParams{Profile: r.ID, Now: now})
		if err != nil {
			return nil, unavailable(err)
		}
		if n > 0 {
			out = append(out, Due{behalf.AssistantID(r.Assistant), behalf.ProfileID(r.ID)})
		}
	}
	return out, nil
}

// ClaimDue returns at most n due connections of a profile's lane, those that
// wait longest first, and puts them off for d.
func (s Scope) ClaimDue(ctx context.Context, p behalf.ProfileID, lane, n int64, d time.Duration) ([]behalf.Connection, error) {
	if err := s.allow(behalf.Maintain, "", "connection"); err != nil {
		return nil, err
	}
	now := s.db.Now()
	// A row that another node is just claiming is passed over.
	text := `UPDATE connections SET refresh_at = $1 WHERE id IN (SELECT id FROM connections
		WHERE profile = $2 AND lane = $3 AND status = 'active' AND refresh_at > 0 AND refresh_at <= $4 ORDER BY refresh_at LIMIT $5` + s.db.engine.skipLocked + `) RETURNING id`
	until := micros(now.Add(d))
	rows, err := s.db.engine.writer.QueryContext(ctx, text, until, string(p), lane, micros(now), n)
	if err != nil {
		return nil, unavailable(err)
	}
	defer func() { _ = rows.Close() }()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, unavailable(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return nil, unavailable(err)
	}
	if len(ids) == 0 {
		return nil, nil
	}
	claimed, err := s.db.read.ClaimedConnections(ctx, query.ClaimedConnectionsParams{Profile: string(p), Lane: lane, Until: until})
	if err != nil {
		return nil, unavailable(err)
	}
	claimed = slices.DeleteFunc(claimed, func(c query.Connection) bool { return !slices.Contains(ids, c.ID) }) // another node's
	return connectionsFrom(claimed), nil
}

// Unplanned returns active connections for which nobody has decided when they
// are looked after.
func (s Scope) Unplanned(ctx context.Context) ([]behalf.Connection, error) {
	if err := s.allow(behalf.Maintain, "", "connection"); err != nil {
		return nil, err
	}
	rows, err := s.db.read.UnplannedConnections(ctx, maxPage)
	return connectionsFrom(rows), unavailableIf(err)
}

// Plan decides when connections, as they were read, are looked after: at their
// RefreshAt. One that has changed meanwhile is left alone.
func (s Scope) Plan(ctx context.Context, all []behalf.Connection) error {
	if err := s.allow(behalf.Maintain, "", "connection"); err != nil {
		return err
	}
	return s.change(ctx, func(c *change) error {
		for _, n := range all {
			if err := c.PlanConnection(ctx, query.PlanConnectionParams{RefreshAt: planned(n.RefreshAt), ID: string(n.ID), Version: n.Version}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Warn tells once that an authorization will end, and why.
func (s Scope) Warn(ctx context.Context, n behalf.Connection, detail string) error {
	if err := s.allow(behalf.Maintain, n.Assistant, "connection"); err != nil {
		return err
	}
	return s.change(ctx, func(c *change) error {
		rows, err := c.WarnConnection(ctx, query.WarnConnectionParams{WarnedAt: micros(c.now), ID: string(n.ID)})
		if err != nil || rows == 0 {
			return err
		}
		c.audit(n.Assistant, "connection.expiring", string(n.ID), detail)
		c.event(eventOf(n, behalf.EventConnectionExpiring, detail))
		c.noteConnection(n)
		return nil
	})
}

// probeAfter is how long after its n-th probe a failing profile is probed again.
func probeAfter(n int64) time.Duration {
	if n > 8 {
		return 5 * time.Minute
	}
	return time.Second << n
}

// Probe reports whether the provider of a failing profile may be asked once
// now, to see whether it takes our client again: one node at a time may, at
// growing intervals. The profile is as it was read.
func (s Scope) Probe(ctx context.Context, p behalf.Profile) (bool, error) {
	if err := s.allow(behalf.Maintain, p.Assistant, "profile"); err != nil {
		return false, err
	}
	row, err := s.db.read.ProfileProbes(ctx, string(p.ID))
	if isNoRows(err) {
		return false, nil
	}
	now := s.db.Now()
	if err != nil || row.ProbeAt > micros(now) {
		return false, unavailableIf(err)
	}
	rows, err := s.db.write.ProbeProfile(ctx, query.ProbeProfileParams{Next: micros(now.Add(probeAfter(row.Probes + 1))), ID: string(p.ID), Probes: row.Probes})
	return rows > 0, unavailableIf(err)
}
