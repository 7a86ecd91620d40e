package catalog

import (
	"encoding/json"
	"fmt"

	"github.com/behalf-dev/behalf"
)

// Entry is what is known of one provider.
type Entry struct {
	Slug        string            `json:"slug" doc:"The file's name: lower case letters, digits and hyphens."`
	Name        string            `json:"name"`
	Aliases     []string          `json:"aliases,omitempty" doc:"Other names it is looked for by."`
	Categories  []string          `json:"categories" doc:"What it is for, such as CRM."`
	Docs        string            `json:"docs" doc:"The provider's own page on OAuth."`
	RegisterURL string            `json:"register_url,omitempty" doc:"Where one registers a client."`
	Verified    bool              `json:"verified,omitempty" doc:"Documentation or a second implementation agrees with the endpoints."`
	Evidence    []Evidence        `json:"evidence,omitempty" doc:"Where each thing that is said here can be checked."`
	Notes       []string          `json:"notes,omitempty" doc:"What an administrator has to know or do at the provider."`
	Profile     behalf.Definition `json:"profile" doc:"A profile without name and client id."`
	Scopes      []Scope           `json:"scopes,omitempty" doc:"Some that assistants need; the provider has more."`
	Offline     []behalf.Param    `json:"offline,omitempty" doc:"Each makes the provider give a refresh token."`
	Variants    []Variant         `json:"variants,omitempty" doc:"Other places of the same product, such as its sandbox."`

	raw json.RawMessage // the profile as it stands in the file, for variants
}

// Evidence says where something can be checked.
type Evidence struct {
	Knobs []string `json:"knobs" doc:"What it is about: endpoints, or fields of the profile in dotted form; what is below a field is meant with it."`
	Kind  Kind     `json:"kind" doc:"documentation, code, thread or unchecked."`
	URL   string   `json:"url"`
	Note  string   `json:"note,omitempty" doc:"What is to be seen there, in our words."`
}

// Kind is how good evidence is.
type Kind string

const (
	Documentation Kind = "documentation" // the provider says so
	Code          Kind = "code"          // an implementation that is in use does so
	Thread        Kind = "thread"        // somebody found out, and wrote so in public
	Unchecked     Kind = "unchecked"     // known, and not seen in writing: the URL is where to look
)

// Scope is one scope that a provider offers.
type Scope struct {
	Value string `json:"value"`
	Title string `json:"title,omitempty"`
}

// Variant is another place of the same product.
type Variant struct {
	Name    string          `json:"name" doc:"sandbox, or another short name."`
	Title   string          `json:"title,omitempty"`
	Profile json.RawMessage `json:"profile" doc:"What differs, as a merge patch (RFC 7396)."`
}

// Known is what the linter may know of the provider. Where it is known how the
// provider refreshes and nothing asks for it, there is nothing to ask.
func (e Entry) Known() behalf.Known {
	r := e.Profile.OAuth.Refresh
	return behalf.Known{Offline: e.Offline, Unasked: len(e.Offline) == 0 && (r.Rotates != "" || r.Grant != "")}
}

// Sandbox is the name of the variant for trying things out.
const Sandbox = "sandbox"

// Draft returns a profile of the provider that lacks nothing but the client
// secret, and the tenant or the fields that are asked of each person. variant
// may be "".
func (e Entry) Draft(variant, clientID string) (behalf.Definition, error) {
	raw, err := e.variant(variant)
	if err != nil {
		return behalf.Definition{}, err
	}
	var d behalf.Definition
	if err := strict(raw, &d); err != nil {
		return d, fmt.Errorf("catalog: %s: %w", e.Slug, err)
	}
	d.Name, d.ClientID = e.Name, clientID
	if variant != "" {
		d.Name += " (" + variant + ")"
	}
	if d.Type == "" {
		d.Type = behalf.OAuth2
	}
	if d.Provider == "" {
		d.Provider = e.Name
	}
	return d, nil
}

// Over returns the draft with everything that is set in d put over it. A list
// that is set replaces the draft's.
func (e Entry) Over(variant string, d behalf.Definition) (behalf.Definition, error) {
	draft, err := e.Draft(variant, d.ClientID)
	if err != nil {
		return d, err
	}
	base, err := json.Marshal(draft)
	if err != nil {
		return d, fmt.Errorf("catalog: %s: %w", e.Slug, err)
	}
	patch, err := json.Marshal(d)
	if err != nil {
		return d, fmt.Errorf("catalog: %s: %w", e.Slug, err)
	}
	merged, err := merge(base, patch)
	if err != nil {
		return d, fmt.Errorf("catalog: %s: %w", e.Slug, err)
	}
	var out behalf.Definition
	err = strict(merged, &out)
	return out, err
}

// variant returns the profile of a variant as JSON.
func (e Entry) variant(name string) (json.RawMessage, error) {
	if name == "" {
		return e.raw, nil
	}
	for _, v := range e.Variants {
		if v.Name == name {
			return merge(e.raw, v.Profile)
		}
	}
	return nil, behalf.Invalid("variant", "%s has no such variant.", e.Name)
}

// merge is JSON merge patch (RFC 7396).
func merge(target, patch json.RawMessage) (json.RawMessage, error) {
	var t, p map[string]json.RawMessage
	if json.Unmarshal(patch, &p) != nil {
		return patch, nil // not an object: it replaces
	}
	if json.Unmarshal(target, &t) != nil || t == nil {
		t = map[string]json.RawMessage{}
	}
	for key, value := range p {
		if string(value) == "null" {
			delete(t, key)
			continue
		}
		merged, err := merge(t[key], value)
		if err != nil {
			return nil, err
		}
		t[key] = merged
	}
	return json.Marshal(t)
}
