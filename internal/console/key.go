package console

import (
	"net/http"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
	"github.com/behalf-dev/behalf/internal/store"
)

// keyForm is what may be set of a key that is made.
type keyForm struct {
	Name, Expires string
	Role          behalf.Role // of an administrator's key
	faults
}

// inMaybe reads the assistant of the path where there is one: some pages are of
// an assistant, or of the whole server.
func (v *visit) inMaybe() error {
	if v.r.PathValue("assistant") == "" {
		return nil
	}
	return v.inAssistant()
}

// keyPath is where the keys that this page is about are listed.
func (v *visit) keyPath(more ...string) []string {
	if v.assistant.ID == "" {
		return append([]string{"keys"}, more...)
	}
	return append([]string{"assistants", v.assistant.Slug, "keys"}, more...)
}

func (v *visit) listKeys() error {
	if err := v.inMaybe(); err != nil {
		return err
	}
	keys, err := v.keys()
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, v.keyTitle(), v.keysPage(keys))
}

// keys returns the assistant's keys, or the administrators', newest first.
func (v *visit) keys() ([]behalf.Key, error) {
	var out []behalf.Key
	page := store.Page{}
	for {
		keys, err := v.db.Keys(v.ctx(), page)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			if k.Assistant == v.assistant.ID {
				out = append([]behalf.Key{k}, out...)
			}
		}
		if len(keys) < pageFull {
			return out, nil
		}
		page.After = string(keys[len(keys)-1].ID)
	}
}

func (v *visit) keyTitle() string {
	if v.assistant.ID == "" {
		return "Administrators’ keys"
	}
	return "Keys"
}

func (v *visit) keyInputs(f keyForm) []look.Input {
	in := []look.Input{{Name: "name", Label: "Name", Value: f.Name, Required: true, Focus: f.Title == "", Hint: "What it is for, such as the program and where it runs.", Autocomplete: "off"}}
	if v.assistant.ID == "" {
		in = append(in, look.Input{Name: "role", Label: "Role", Value: string(f.Role), Options: v.roleOptions(), Required: true})
	}
	return f.mark(append(in, look.Input{Name: "expires_at", Label: "Ends on", Type: "date", Value: f.Expires, Hint: "Left empty, it works until it is revoked."}))
}

func (v *visit) askKey() error {
	if err := v.inMaybe(); err != nil {
		return err
	}
	return v.show(http.StatusOK, "New key", v.newKeyPage(keyForm{Role: behalf.RoleDeveloper}))
}

func (v *visit) createKey() error {
	if err := v.inMaybe(); err != nil {
		return err
	}
	form := keyForm{Name: v.line("name"), Expires: v.line("expires_at"), Role: behalf.Role(v.form("role"))}
	k := behalf.Key{Name: form.Name, Assistant: v.assistant.ID}
	if k.Assistant == "" {
		k.Role = form.Role
	}
	var err error
	if form.Expires != "" {
		if k.ExpiresAt, err = time.Parse(time.DateOnly, form.Expires); err != nil {
			err = behalf.Invalid("expires_at", "Expected a day.")
		}
	}
	if err = behalf.Together(k.Validate(v.db.Now()), err); err == nil {
		made, key, wrong := v.db.CreateKey(v.ctx(), k)
		if wrong == nil {
			return v.show(http.StatusOK, "New key", v.keyShown(made, key))
		}
		err = wrong
	}
	f, ok := faultsOf(err, "No key is made yet")
	if !ok {
		return err
	}
	form.faults = f
	return v.show(statusOf(err), "New key", v.newKeyPage(form))
}

// key reads the key of the path, which must be of the assistant of the path.
func (v *visit) key() (behalf.Key, error) {
	if err := v.inMaybe(); err != nil {
		return behalf.Key{}, err
	}
	keys, err := v.keys()
	if err != nil {
		return behalf.Key{}, err
	}
	for _, k := range keys {
		if string(k.ID) == v.r.PathValue("key") {
			return k, nil
		}
	}
	return behalf.Key{}, behalf.NotFound("key")
}

func (v *visit) askRevokeKey() error {
	k, err := v.key()
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "Revoke "+k.Name, v.revokeKeyPage(k))
}

func (v *visit) revokeKey() error {
	k, err := v.key()
	if err != nil {
		return err
	}
	if err := v.db.RevokeKey(v.ctx(), k.ID); err != nil {
		return err
	}
	v.done("The key " + k.Name + " is revoked: nothing is opened by it any more.")
	return v.to(v.keyPath()...)
}

// mayRevoke reports whether the member who asks may end this key.
func (v *visit) mayRevoke(k behalf.Key) bool {
	return k.Good(v.db.Now()) && v.may(behalf.WriteKeys) && (k.Role != behalf.RoleOwner || v.may(behalf.WriteOwnerKeys))
}
