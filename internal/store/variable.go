package store

import (
	"context"
	"strings"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

// maxKeptVariables bounds what is kept for all users of an assistant, and for
// each of them: every call that uses variables reads them.
const maxKeptVariables = 200

// variablePlace binds a value to whose and which variable it is.
func variablePlace(v behalf.Variable) vault.Place {
	return vault.Place{Table: "variables", Row: strings.Join([]string{string(v.Assistant), string(v.Namespace), v.User, v.Name}, "\x00"), Column: "sealed"}
}

// PutVariable keeps a variable, in the place of one of the same name.
func (s Scope) PutVariable(ctx context.Context, v behalf.Variable) (behalf.Variable, error) {
	if err := s.maySetVariable(v); err != nil {
		return v, err
	}
	now := s.db.Now()
	if v.ExpiresAt.IsZero() {
		if life := v.Namespace.Lifetime(); life > 0 {
			v.ExpiresAt = now.Add(life)
		}
	}
	if err := v.Validate(now); err != nil {
		return v, err
	}
	sealed, err := s.db.seal(v.Value.Reveal(), variablePlace(v))
	if err != nil {
		return v, err
	}
	v.UpdatedAt = now
	err = s.change(ctx, func(c *change) error {
		n, err := c.CountVariables(ctx, query.CountVariablesParams{Assistant: string(v.Assistant), EndUser: v.User, Namespace: string(v.Namespace), Name: v.Name, Now: micros(now)})
		switch {
		case err != nil:
			return err
		case n >= maxKeptVariables:
			return behalf.Errorf(behalf.CodeConflict, "There are %d variables already, which is as many as are kept for all users, and for each. Delete one first.", n)
		}
		c.audit(v.Assistant, "variable.set", v.Placeholder(), "")
		id, err := c.PutVariable(ctx, query.PutVariableParams{ID: string(behalf.NewVariableID(now)), Assistant: string(v.Assistant), Namespace: string(v.Namespace), EndUser: v.User,
			Name: v.Name, Sealed: sealed, Secret: flag(v.Secret), ExpiresAt: micros(v.ExpiresAt), UpdatedAt: micros(now)})
		v.ID = behalf.VariableID(id)
		return err
	})
	return v, err
}

func (s Scope) maySetVariable(v behalf.Variable) error {
	if v.Namespace.Governed() {
		return s.allow(behalf.WriteProfiles, v.Assistant, "variable")
	}
	return s.allow(behalf.WriteVariables, v.Assistant, "variable")
}

// Variable returns a variable; the value of a secret one stays here, and every
// value where the actor may not set one: what only looks sees no values.
func (s Scope) Variable(ctx context.Context, assistant behalf.AssistantID, namespace behalf.Namespace, user, name string) (behalf.Variable, error) {
	if err := s.allow(behalf.ReadVariables, assistant, "variable"); err != nil {
		return behalf.Variable{}, err
	}
	if !text(string(assistant), string(namespace), user, name) {
		return behalf.Variable{}, behalf.NotFound("variable")
	}
	row, err := s.db.read.Variable(ctx, query.VariableParams{Assistant: string(assistant), Namespace: string(namespace), EndUser: user, Name: name, Now: micros(s.db.Now())})
	if err := found(err, "variable"); err != nil {
		return behalf.Variable{}, err
	}
	return s.shownVariable(row)
}

// Variables returns what is kept, oldest first, with the values that Variable
// shows. An empty namespace or user takes all.
func (s Scope) Variables(ctx context.Context, assistant behalf.AssistantID, namespace behalf.Namespace, user string, page Page) ([]behalf.Variable, error) {
	if err := s.allow(behalf.ReadVariables, assistant, "variable"); err != nil {
		return nil, err
	}
	if !text(string(assistant), string(namespace), user, page.After) {
		return nil, nil
	}
	rows, err := s.db.read.Variables(ctx, query.VariablesParams{Assistant: string(assistant), After: page.After, Now: micros(s.db.Now()), Namespace: string(namespace), EndUser: user, Max: page.limit()})
	if err != nil {
		return nil, unavailable(err)
	}
	return all(rows, s.shownVariable)
}

// DeleteVariable forgets a variable.
func (s Scope) DeleteVariable(ctx context.Context, v behalf.Variable) error {
	if err := s.maySetVariable(v); err != nil {
		return err
	}
	if !text(string(v.Namespace), v.User, v.Name) {
		return behalf.NotFound("variable")
	}
	return s.change(ctx, func(c *change) error {
		rows, err := c.DeleteVariable(ctx, query.DeleteVariableParams{Assistant: string(v.Assistant), Namespace: string(v.Namespace), EndUser: v.User, Name: v.Name})
		if err == nil && rows == 0 {
			return behalf.NotFound("variable")
		}
		c.audit(v.Assistant, "variable.delete", v.Placeholder(), "")
		return err
	})
}

// Stored returns what is kept for a user of an assistant, secret values too: for
// placeholders. It needs the permission to use connections, or to run the
// session of that assistant's user.
func (s Scope) Stored(ctx context.Context, assistant behalf.AssistantID, user string) (behalf.Stored, error) {
	if err := s.mayFill(ctx, assistant, user); err != nil {
		return nil, err
	}
	if !text(string(assistant), user) {
		return nil, nil
	}
	rows, err := s.db.read.VariablesFor(ctx, query.VariablesForParams{Assistant: string(assistant), EndUser: user, Now: micros(s.db.Now())})
	if err != nil {
		return nil, unavailable(err)
	}
	stored := make(behalf.Stored, len(rows))
	for _, row := range rows {
		v, err := s.db.variable(row)
		if err != nil {
			return nil, err
		}
		stored.Store(v)
	}
	return stored, nil
}

// mayFill decides whose variables an actor may use: a browser those of the user
// whose session it holds.
func (s Scope) mayFill(ctx context.Context, assistant behalf.AssistantID, user string) error {
	if s.actor.Kind != behalf.ActorEndUser {
		return s.allow(behalf.UseConnections, assistant, "variable")
	}
	row, err := s.db.read.Session(ctx, s.actor.ID)
	switch {
	case found(err, "variable") != nil:
		return found(err, "variable")
	case row.Assistant != string(assistant) || s.actor.Assistant != assistant || row.EndUser != user:
		return behalf.NotFound("variable")
	}
	return nil
}

// ForgetVariables deletes those whose time is over.
func (s Scope) ForgetVariables(ctx context.Context) error {
	if err := s.allow(behalf.Maintain, "", "variable"); err != nil {
		return err
	}
	return s.change(ctx, func(c *change) error {
		return c.ForgetVariables(ctx, micros(c.now))
	})
}

func (s Scope) shownVariable(row query.Variable) (behalf.Variable, error) {
	v, err := s.db.variable(row)
	if v.Secret || !s.actor.May(behalf.WriteVariables, v.Assistant) {
		v.Value = secret.Text{}
	}
	return v, err
}

func (db *DB) variable(row query.Variable) (behalf.Variable, error) {
	v := behalf.Variable{ID: behalf.VariableID(row.ID), Assistant: behalf.AssistantID(row.Assistant), Namespace: behalf.Namespace(row.Namespace), User: row.EndUser,
		Name: row.Name, Secret: row.Secret != 0, ExpiresAt: at(row.ExpiresAt), UpdatedAt: at(row.UpdatedAt)}
	var value string
	err := db.unseal(row.Sealed, variablePlace(v), &value)
	v.Value = secret.New(value)
	return v, err
}
