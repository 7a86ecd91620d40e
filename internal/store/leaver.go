package store

import (
	"context"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
)

// ForgetUser deletes an end user's connect sessions, so that none of them can
// become a connection any more, and variables, and tells it. Their connections
// are ended apart from it: the provider is asked there.
func (s Scope) ForgetUser(ctx context.Context, assistant behalf.AssistantID, user string) (sessions, variables int64, err error) {
	for _, p := range []behalf.Permission{behalf.WriteConnections, behalf.BeginSessions, behalf.WriteVariables} {
		if err := s.allow(p, assistant, "user"); err != nil {
			return 0, 0, err
		}
	}
	if user == "" || !text(user) { // what has no user serves all
		return 0, 0, behalf.NotFound("user")
	}
	err = s.change(ctx, func(c *change) (err error) {
		if err := s.forsakeUser(ctx, c, assistant, user); err != nil {
			return err
		}
		if sessions, err = c.DeleteUserSessions(ctx, query.DeleteUserSessionsParams{Assistant: string(assistant), EndUser: user}); err != nil {
			return err
		}
		if variables, err = c.DeleteUserVariables(ctx, query.DeleteUserVariablesParams{Assistant: string(assistant), EndUser: user}); err != nil {
			return err
		}
		c.audit(assistant, "user.delete", user, "")
		c.event(behalf.Event{Assistant: assistant, Type: behalf.EventUserDeleted, User: user})
		return nil
	})
	return sessions, variables, err
}

// forsakeUser keeps that what the user has authorized is to be revoked where no
// connection was made of it yet.
func (s Scope) forsakeUser(ctx context.Context, c *change, assistant behalf.AssistantID, user string) error {
	rows, err := c.SessionsHolding(ctx, query.SessionsHoldingParams{Assistant: string(assistant), EndUser: user})
	if err != nil {
		return err
	}
	for _, row := range rows {
		f, err := s.held(row)
		if err == nil && f != nil {
			err = s.forsake(ctx, c, sessionFrom(row), *f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
