package api

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// ImportBody is a batch of connections that another broker held until now.
type ImportBody struct {
	Profile     string             `json:"profile" maxLength:"80" doc:"Id or slug."`
	Connections []ImportConnection `json:"connections" minItems:"1" maxItems:"500"`
	Replace     bool               `json:"replace,omitempty" doc:"An account that is connected already gets the imported credential. Otherwise it is left as it is."`
	DryRun      bool               `json:"dry_run,omitempty" doc:"Check everything and change nothing."`
}

// ImportConnection is one of the batch.
type ImportConnection struct {
	User         string            `json:"user" doc:"The assistant's id of the end user."`
	Tenant       string            `json:"tenant,omitempty"`
	Subject      string            `json:"subject,omitempty" doc:"The provider's id of the account."`
	Label        string            `json:"label,omitempty" doc:"What a person recognises the account by."`
	AccessToken  string            `json:"access_token,omitempty" writeOnly:"true"`
	RefreshToken string            `json:"refresh_token,omitempty" writeOnly:"true"`
	IDToken      string            `json:"id_token,omitempty" writeOnly:"true"`
	TokenType    string            `json:"token_type,omitempty" maxLength:"100"`
	ExpiresAt    *time.Time        `json:"expires_at,omitempty" doc:"Of the access token; left out, its end is not known."`
	Scope        string            `json:"scope,omitempty" maxLength:"8000" doc:"What was granted, separated by spaces."`
	Fields       map[string]string `json:"fields,omitempty" doc:"Additional fields by key."`
}

// ImportResult says what became of a batch.
type ImportResult struct {
	Results []ImportedConnection `json:"results" doc:"In the order of the batch."`
}

// ImportedConnection is what became of one of it.
type ImportedConnection struct {
	Action     string `json:"action" enum:"create,replace,skip"`
	User       string `json:"user"`
	Connection string `json:"connection,omitempty"`
}

func (n ImportConnection) row(now time.Time) behalf.Import {
	c := behalf.Credential{AccessToken: secret.New(n.AccessToken), RefreshToken: secret.New(n.RefreshToken), IDToken: secret.New(n.IDToken),
		TokenType: n.TokenType, Scopes: strings.Fields(n.Scope), ObtainedAt: now}
	switch {
	case n.AccessToken == "":
		c.ExpiresAt = now // due at once
	case n.ExpiresAt != nil:
		c.ExpiresAt = n.ExpiresAt.UTC()
	}
	if n.Scope == "" {
		c.Scopes = nil
	}
	row := behalf.Import{User: n.User, Tenant: n.Tenant, Account: behalf.Account{Subject: n.Subject, Label: n.Label}, Credential: c}
	if len(n.Fields) > 0 {
		row.Fields = map[string]secret.Text{}
		for key, value := range n.Fields {
			row.Fields[key] = secret.New(value)
		}
	}
	return row
}

func (a *API) importConnections(ctx context.Context, db store.Scope, in *struct {
	AssistantPath
	Body ImportBody
}) (*Output[ImportResult], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	p, err := db.Profile(ctx, x.ID, in.Body.Profile)
	switch {
	case behalf.CodeOf(err) == behalf.CodeNotFound, err == nil && p.Plan == nil:
		return nil, behalf.Invalid("profile", "This assistant has no profile of this name.")
	case err != nil:
		return nil, err
	}
	wrong := &behalf.Error{Code: behalf.CodeInvalid, Message: "Nothing was imported."}
	var rows []behalf.Import
	var inputs []behalf.Inputs
	for i, n := range in.Body.Connections {
		row := n.row(db.Now())
		kept, err := row.Inputs(p.Plan, db.Now)
		if err := nest(wrong, fmt.Sprintf("connections[%d]", i), err); err != nil {
			return nil, err
		}
		rows, inputs = append(rows, row), append(inputs, kept)
	}
	if len(wrong.Fields) > 0 {
		wrong.Field = wrong.Fields[0].Field
		return nil, wrong
	}
	done, err := db.Import(ctx, p, rows, inputs, in.Body.Replace, in.Body.DryRun)
	if err != nil {
		return nil, err
	}
	out := ImportResult{Results: make([]ImportedConnection, len(done))}
	for i, d := range done {
		out.Results[i] = ImportedConnection{Action: string(d.Action), User: rows[i].User, Connection: string(d.Connection)}
	}
	return output(out), nil
}
