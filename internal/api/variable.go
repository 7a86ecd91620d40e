package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// Variable is a variable that is kept, on the wire.
type Variable struct {
	Namespace   string     `json:"namespace"`
	User        string     `json:"user,omitempty"`
	Name        string     `json:"name"`
	Placeholder string     `json:"placeholder" doc:"How a profile uses it."`
	Value       string     `json:"value,omitempty" doc:"Absent where the variable is secret, and for a key that may not set variables (viewer)."`
	Secret      bool       `json:"secret"`
	ExpiresAt   *time.Time `json:"expires_at,omitempty"`
	UpdatedAt   time.Time  `json:"updated_at"`
}

// VariableBody is what a variable is set to.
type VariableBody struct {
	Value     string `json:"value" doc:"At most 4000 characters."`
	Secret    bool   `json:"secret,omitempty" doc:"Never shown again, and masked in transcripts."`
	ExpiresIn int64  `json:"expires_in,omitempty" doc:"Seconds, at most 366 days. By default a day for UserSession and BotUserSession, and never for the others."`
}

// VariablePath names one of its variables.
type VariablePath struct {
	AssistantPath
	Namespace string `path:"namespace" doc:"env, EnterpriseContext, BotContext, UserSession or BotUserSession." maxLength:"40"`
	Name      string `path:"name" maxLength:"100"`
	User      string `query:"user" doc:"Required with UserSession and BotUserSession." maxLength:"1020"`
}

func (a *API) listVariables(ctx context.Context, db store.Scope, in *struct {
	AssistantPath
	Page
	Namespace string `query:"namespace" doc:"Only those of this namespace." maxLength:"40"`
	User      string `query:"user" doc:"Only those of this user." maxLength:"1020"`
}) (*ListOutput[Variable], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	items, err := db.Variables(ctx, x.ID, behalf.Namespace(in.Namespace), in.User, in.page())
	return listOf(items, in.Limit, func(v behalf.Variable) string { return string(v.ID) }, viewVariable), err
}

func (a *API) getVariable(ctx context.Context, db store.Scope, in *VariablePath) (*Output[Variable], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	v, err := db.Variable(ctx, x.ID, behalf.Namespace(in.Namespace), in.User, in.Name)
	return output(viewVariable(v)), err
}

func (a *API) putVariable(ctx context.Context, db store.Scope, in *struct {
	VariablePath
	Body VariableBody
}) (*Output[Variable], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	v := behalf.Variable{Assistant: x.ID, Namespace: behalf.Namespace(in.Namespace), User: in.User, Name: in.Name, Value: secret.New(in.Body.Value), Secret: in.Body.Secret}
	if s := in.Body.ExpiresIn; s != 0 {
		v.ExpiresAt = db.Now().Add(time.Duration(min(max(s, -1), 400*24*3600)) * time.Second)
	}
	v, err = db.PutVariable(ctx, v)
	if v.Secret {
		v.Value = secret.Text{}
	}
	return output(viewVariable(v)), err
}

func (a *API) deleteVariable(ctx context.Context, db store.Scope, in *VariablePath) (*struct{}, error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	return nil, db.DeleteVariable(ctx, behalf.Variable{Assistant: x.ID, Namespace: behalf.Namespace(in.Namespace), User: in.User, Name: in.Name})
}

func viewVariable(v behalf.Variable) Variable {
	return Variable{Namespace: string(v.Namespace), User: v.User, Name: v.Name, Placeholder: "{{" + v.Placeholder() + "}}", Value: v.Value.Reveal(), Secret: v.Secret,
		ExpiresAt: told(v.ExpiresAt), UpdatedAt: v.UpdatedAt}
}

// variables reads what was sent as the context object.
func variables(sent map[string]any) (behalf.Variables, error) {
	if sent == nil {
		return nil, nil
	}
	raw, err := json.Marshal(sent)
	if err != nil {
		return nil, behalf.Invalid("variables", "Expected a JSON object.")
	}
	return behalf.ParseVariables(raw)
}
