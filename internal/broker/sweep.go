package broker

import (
	"context"
	"errors"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/store"
)

// This file brings to its end what has ended. The rules are:
//
//   - A provider that did not take a revocation is asked again, at growing
//     distances, for behalf.GiveUpRevoking; that it was given up is told.
//   - The connections of a profile that cannot be restored any more are ended as
//     a person would end them, and forgotten once nothing is owed.
//   - Every step can be done twice, and by any node.

const (
	sweepEvery = 30 * time.Second
	firstTry   = 15 * time.Second // somebody waits for the first
	holdOwed   = 2 * time.Minute  // longer than an attempt
	maxPause   = 6 * time.Hour

	revokingAtOnce = 16
)

// Sweeping sweeps until ctx ends.
func (b *Broker) Sweeping(ctx context.Context) error {
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(sweepEvery):
		}
		if err := b.Sweep(ctx); err != nil && ctx.Err() == nil {
			b.cfg.Log.Warn("what has ended was not swept", "err", err)
		}
		if n%20 != 0 {
			continue
		}
		if err := b.TellSecrets(ctx); err != nil && ctx.Err() == nil {
			b.cfg.Log.Warn("the ends of client secrets were not announced", "err", err)
		}
	}
}

// Sweep asks for the revocations that are due, and ends the connections of
// profiles that cannot be restored any more.
func (b *Broker) Sweep(ctx context.Context) error {
	failed := b.revokeDue(ctx)
	over, err := b.keeper.OverdueProfiles(ctx)
	failed = errors.Join(failed, err)
	for _, p := range over {
		failed = errors.Join(failed, b.purge(ctx, p))
	}
	return failed
}

// revokeDue asks for the revocations that are due, several at a time: a provider
// that hangs must not keep the others waiting.
func (b *Broker) revokeDue(ctx context.Context) error {
	due, failed := b.keeper.ClaimOwed(ctx, holdOwed)
	var asking errgroup.Group
	asking.SetLimit(revokingAtOnce)
	for _, o := range due {
		c, err := b.keeper.Connection(ctx, o.Connection)
		switch {
		case behalf.CodeOf(err) == behalf.CodeNotFound: // forgotten meanwhile, or none was made
			c = behalf.Connection{ID: o.Connection, Assistant: o.Assistant, Profile: o.Profile, User: o.User, Tenant: o.Tenant}
		case err != nil:
			failed = errors.Join(failed, err)
			continue
		}
		asking.Go(func() error {
			b.settle(ctx, c, o)
			return nil
		})
	}
	return errors.Join(failed, asking.Wait())
}

// settle asks the provider for a revocation that is owed, and keeps the outcome.
func (b *Broker) settle(ctx context.Context, c behalf.Connection, o store.Owed) behalf.Revocation {
	if o.Grant {
		if outcome := b.heldBack(ctx, c, o); outcome != "" {
			return outcome
		}
	}
	c.Generation, c.Fence = o.Generation, o.Fence
	host, err := b.revoke(ctx, Good{Connection: c, Credential: o.Credential, Inputs: o.Inputs})
	ctx = context.WithoutCancel(ctx)
	now := b.db.Now()
	proof := behalf.RevocationProof{Outcome: behalf.RevocationDone, Host: host, Answer: answerOf(err), Attempts: o.Tries}
	switch {
	case err == nil:
	case errors.Is(err, errNothingToRevoke):
		proof.Outcome, proof.Detail = behalf.RevocationNotOffered, "There was nothing that could be taken back."
	case errors.Is(err, errNoRevocation):
		proof.Outcome, proof.Detail = behalf.RevocationGivenUp, "The profile has no revocation address any more. The end user can end it on the provider's own page."
	case now.Sub(o.CreatedAt) >= behalf.GiveUpRevoking:
		e := (*oauth.Error)(nil)
		errors.As(err, &e)
		proof.Outcome, proof.Detail = behalf.RevocationGivenUp, "The provider did not revoke the authorization. "+words(e)+" The end user can end it on the provider's own page."
	default:
		proof.NextAt = now.Add(min(maxPause, time.Minute<<min(max(o.Tries-1, 0), 10)))
		b.saved(c, b.keeper.Postpone(ctx, o, proof))
		return behalf.RevocationRetrying
	}
	b.saved(c, b.keeper.Settle(ctx, o, proof))
	return proof.Outcome
}

// heldBack looks whether a grant that no connection was made of may be revoked
// now; "": it may. Where its account is in use, it is left for good.
func (b *Broker) heldBack(ctx context.Context, c behalf.Connection, o store.Owed) behalf.Revocation {
	p, err := b.kept(ctx, o.Assistant, o.Profile)
	if err != nil {
		b.saved(c, err)
		return behalf.RevocationRetrying
	}
	use, err := b.keeper.AccountUse(ctx, *p, o.Subject)
	switch {
	case err == nil && use == store.AccountNotUsed:
		return ""
	case err != nil || use == store.AccountWaits && b.db.Now().Sub(o.CreatedAt) < behalf.GiveUpRevoking:
		o.Tries--
		b.saved(c, errors.Join(err, b.keeper.Postpone(context.WithoutCancel(ctx), o, behalf.RevocationProof{NextAt: b.db.Now().Add(time.Minute)})))
		return behalf.RevocationRetrying
	}
	b.saved(c, b.keeper.Settle(context.WithoutCancel(ctx), o, behalf.RevocationProof{Outcome: behalf.RevocationLeft, Attempts: o.Tries - 1,
		Detail: "The account has a live connection, which a revocation could end."}))
	return behalf.RevocationLeft
}

// answerOf is the class of the answer to a revocation.
func answerOf(err error) string {
	e := (*oauth.Error)(nil)
	switch {
	case err == nil:
		return "2xx"
	case errors.As(err, &e) && e.Status > 0:
		return strconv.Itoa(e.Status/100) + "xx"
	}
	return ""
}

// saved logs that an outcome was not kept: the revocation is then asked for once
// more, which harms nobody.
func (b *Broker) saved(c behalf.Connection, err error) {
	if err != nil {
		b.cfg.Log.Warn("the outcome of a revocation was not kept", "connection", c.ID, "err", err)
	}
}

// purge ends a page of the connections of an overdue profile, and forgets what
// owes nothing.
func (b *Broker) purge(ctx context.Context, p behalf.Profile) error {
	for _, status := range []behalf.ConnectionStatus{behalf.ConnectionActive, behalf.ConnectionLapsed} {
		all, err := b.keeper.Connections(ctx, p.Assistant, store.ConnectionFilter{Profile: p.ID, Status: status}, store.Page{})
		if err != nil {
			return err
		}
		for _, c := range all {
			if _, err := b.Disconnect(ctx, b.keeper, c, "Its authorization profile was deleted."); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	_, err := b.keeper.ForgetProfile(ctx, p)
	return err
}

// TellSecrets announces client secrets that come to their end.
func (b *Broker) TellSecrets(ctx context.Context) error {
	return b.eachProfile(ctx, func(p behalf.Profile) error { return b.keeper.TellSecret(ctx, p) })
}

func (b *Broker) eachProfile(ctx context.Context, do func(behalf.Profile) error) error {
	return pages(func(page store.Page) (last string, err error) {
		all, err := b.keeper.Assistants(ctx, page)
		for _, a := range all {
			last = string(a.ID)
			err = errors.Join(err, pages(func(page store.Page) (last string, err error) {
				some, err := b.keeper.Profiles(ctx, a.ID, page)
				for _, p := range some {
					last = string(p.ID)
					err = errors.Join(err, do(p))
				}
				return last, err
			}))
		}
		return last, err
	})
}

// pages reads pages until one is empty.
func pages(read func(store.Page) (last string, err error)) error {
	for page := (store.Page{}); ; {
		last, err := read(page)
		if err != nil || last == "" {
			return err
		}
		page.After = last
	}
}
