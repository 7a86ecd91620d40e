package console

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/profilefile"
)

// editor is a profile that somebody works on.
type editor struct {
	Profile  behalf.Profile
	Form     profileForm
	Version  string
	File     string // the definition as a file, in that view
	AsFile   bool
	FileTold faults
	Secret   bool // a secret was typed, and must be typed again
	Notes    []behalf.Note
	Found    string // what discovery has found
	Discover string // where it looked
	Changed  []string
	Pick     bool // nothing is typed yet: it may be picked from the catalogue
	beside
}

// beside is what stands beside the form.
type beside struct {
	Warnings []behalf.Warning
	Filled   []filled
}

func (v *visit) profile() (behalf.Profile, error) {
	if err := v.inAssistant(); err != nil {
		return behalf.Profile{}, err
	}
	return v.db.Profile(v.ctx(), v.assistant.ID, v.r.PathValue("profile"))
}

// reserveProfile makes the id of a new profile, so that its Callback Link is
// known while the form is filled in.
func (v *visit) reserveProfile() error {
	if err := v.inAssistant(); err != nil {
		return err
	}
	id, err := v.db.ReserveProfile(v.ctx(), v.assistant.ID)
	if err != nil {
		return err
	}
	return v.to("assistants", v.assistant.Slug, "profiles", string(id))
}

func (v *visit) editProfile() error {
	p, err := v.profile()
	if err != nil {
		return err
	}
	e := v.editorOf(p)
	e.Pick = p.Status == behalf.ProfileReserved && v.may(behalf.WriteProfiles)
	return v.showEditor(http.StatusOK, e)
}

func (v *visit) editorOf(p behalf.Profile) editor {
	if p.Status == behalf.ProfileReserved {
		p.Definition = behalf.Definition{Type: behalf.OAuth2, Scope: []behalf.ScopeParam{{Key: "scope"}}}
	}
	e := editor{Profile: p, Form: v.formOf(p.Definition), Version: number(p.Version), AsFile: v.r.URL.Query().Get("view") == "file"}
	if e.AsFile {
		e.File = fileOf(p.Definition)
	}
	return e
}

func fileOf(d behalf.Definition) string {
	public, _ := d.SplitSecrets()
	text, err := profilefile.Format(public)
	if err != nil {
		return ""
	}
	return string(text)
}

func (v *visit) showEditor(status int, e editor) error {
	title := e.Profile.Name
	if e.Profile.Status == behalf.ProfileReserved {
		title = "New authorization"
	}
	var err error
	if e.Form.ways, err = v.throughOptions(); err != nil {
		return err
	}
	e.Form.fixed = !v.may(behalf.WriteProfiles)
	e.beside = v.besideOf(e.Form.rough(), e.Profile)
	return v.show(status, title, v.editorPage(title, e))
}

// checkProfile answers what stands beside the form, for what is typed so far.
func (v *visit) checkProfile() error {
	p, err := v.profile()
	if err != nil {
		return err
	}
	form := v.typed(v.r.PostForm)
	return v.write(http.StatusOK, besidePart(v.besideOf(form.rough(), p)))
}

// saveProfile takes the form, or the file, as a definition. The other buttons of
// the form only change what is asked.
func (v *visit) saveProfile() error {
	p, err := v.profile()
	if err != nil {
		return err
	}
	e := v.editorOf(p)
	e.Version, e.Discover = v.form("version"), v.line("discover")
	e.Secret = v.form("client_secret") != ""
	if e.AsFile {
		return v.saveFile(e)
	}
	e.Form = v.typed(v.r.PostForm)
	switch {
	case v.r.PostForm.Has("add"), v.r.PostForm.Has("drop"):
		return v.showEditor(http.StatusOK, e)
	case v.form("do") == "discover":
		return v.discover(e)
	}
	d, err := e.Form.definition()
	if err == nil {
		_, err = v.keep(e, d)
	}
	if f, ok := faultsOf(err, "The profile is not saved yet"); ok {
		e.Form.tell(f)
		v.explainConflict(&e, d)
		return v.showEditor(statusOf(err), e)
	}
	return err
}

// saveFile takes the definition as a file.
func (v *visit) saveFile(e editor) error {
	e.File = strings.ReplaceAll(v.form("file"), "\r\n", "\n")
	d, err := oneOf(e.File)
	if err == nil {
		_, err = v.keep(e, d)
	}
	if f, ok := faultsOf(err, "The profile is not saved yet"); ok {
		e.FileTold = f
		e.Form = v.formOf(d)
		v.explainConflict(&e, d)
		return v.showEditor(statusOf(err), e)
	}
	return err
}

// oneOf reads a file that must hold one definition.
func oneOf(text string) (behalf.Definition, error) {
	documents, err := profilefile.Parse("profile", []byte(text))
	if err != nil {
		return behalf.Definition{}, placed(err)
	}
	if len(documents) != 1 {
		return behalf.Definition{}, behalf.Invalid("", "Expected one definition, not %d.", len(documents))
	}
	if _, err := behalf.Compile(documents[0].Definition); err != nil {
		return documents[0].Definition, placed(documents[0].Problems(err))
	}
	return documents[0].Definition, nil
}

// placed turns the problems of a file into those of a form.
func placed(err error) error {
	problems, ok := err.(profilefile.Problems)
	if !ok {
		return behalf.Invalid("", "The file could not be read.")
	}
	out := &behalf.Error{Code: behalf.CodeInvalid}
	for _, p := range problems {
		out.Fields = append(out.Fields, behalf.FieldError{Field: p.Field, Message: "line " + number(int64(p.Line)) + ": " + p.Message})
	}
	if len(out.Fields) > 0 {
		out.Field, out.Message = out.Fields[0].Field, out.Fields[0].Message
	}
	return out
}

// keep saves a definition, and the client secret that was typed: it replaces
// what was kept.
func (v *visit) keep(e editor, d behalf.Definition) (behalf.Profile, error) {
	p := e.Profile
	var client []behalf.ClientSecret
	if typed := v.password("client_secret"); !typed.Empty() {
		client = []behalf.ClientSecret{{Value: typed, CreatedAt: v.db.Now()}}
	}
	fresh := p.Status == behalf.ProfileReserved
	if fresh {
		p.Definition = behalf.Definition{}
	}
	p, err := p.Edited(d, client)
	if err != nil {
		return p, err
	}
	p.Version = version(e.Version)
	if p, err = v.db.SaveProfile(v.ctx(), p); err != nil {
		return p, err
	}
	if fresh {
		v.done("The profile is saved. Register its Callback Link at the application, if you have not yet.")
	} else {
		v.done("The profile is saved.")
	}
	return p, v.to("assistants", v.assistant.Slug, "profiles", string(p.ID))
}

// explainConflict says what somebody else has changed meanwhile. What was typed
// stays, and the next save puts it over theirs, knowingly.
func (v *visit) explainConflict(e *editor, mine behalf.Definition) {
	if version(e.Version) == e.Profile.Version {
		return
	}
	theirs, ours := treeOf(e.Profile.Definition.Finished()), treeOf(mine.Finished())
	for path := range leavesOfForm(e.Form.groups) {
		if textOf(asYAML, lookUp(theirs, path)) != textOf(asYAML, lookUp(ours, path)) {
			e.Changed = append(e.Changed, path)
		}
	}
	slices.Sort(e.Changed)
	e.Version = number(e.Profile.Version)
}

func leavesOfForm(groups []formGroup) map[string]formField {
	out := map[string]formField{}
	for _, g := range groups {
		for _, f := range g.Fields {
			out[f.Path] = f
		}
	}
	return out
}

// askDeleteProfile says where a profile is used before it ends.
func (v *visit) askDeleteProfile() error {
	p, err := v.profile()
	if err != nil {
		return err
	}
	uses, err := v.db.ProfileUses(v.ctx(), p)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "Delete "+p.Name, v.deleteProfilePage(p, uses, faults{}))
}

func (v *visit) deleteProfile() error {
	p, err := v.profile()
	if err != nil {
		return err
	}
	uses, err := v.db.ProfileUses(v.ctx(), p)
	if err != nil {
		return err
	}
	p.Version = version(v.form("version"))
	said, drop := "It can be restored for 30 days, below the list.", v.db.DeleteProfile
	if v.form("at_once") != "" {
		said, drop = "Its connections are being revoked at the provider.", v.db.EndProfile
	}
	err = drop(v.ctx(), p)
	if f, ok := faultsOf(err, "The profile is not deleted"); ok {
		return v.show(statusOf(err), "Delete "+p.Name, v.deleteProfilePage(p, uses, f))
	}
	if err != nil {
		return err
	}
	v.done("The profile " + p.Name + " is deleted. " + said)
	return v.to("assistants", v.assistant.Slug, "profiles")
}

// restoreProfile undoes a deletion.
func (v *visit) restoreProfile() error {
	if err := v.inAssistant(); err != nil {
		return err
	}
	p, err := v.db.DeletedProfile(v.ctx(), v.assistant.ID, v.r.PathValue("profile"))
	if behalf.CodeOf(err) == behalf.CodeNotFound {
		p, err = v.profile() // a second click
		if err == nil {
			return v.to("assistants", v.assistant.Slug, "profiles")
		}
	}
	if err != nil {
		return err
	}
	back, err := v.db.RestoreProfile(v.ctx(), p)
	if f, ok := faultsOf(err, p.Name+" is not restored"); ok {
		return v.profilesWith(statusOf(err), f)
	}
	if err != nil {
		return err
	}
	v.done("The profile " + back.Name + " is restored, with its connections.")
	return v.to("assistants", v.assistant.Slug, "profiles")
}

// secretForm is a client secret that is to be added.
type secretForm struct {
	Expires string // a date
	faults
}

// A secret is told from the others by when it was given.
func secretID(s behalf.ClientSecret) string { return number(s.CreatedAt.UnixMicro()) }

func (v *visit) profileSecrets() error {
	p, err := v.profile()
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "Client secrets", v.secretsPage(p, secretForm{}))
}

// maxSecrets are kept at a time: one that is in use, and those it replaces.
const maxSecrets = 5

func (v *visit) addSecret() error {
	p, err := v.profile()
	if err != nil {
		return err
	}
	form := secretForm{Expires: v.line("expires_at")}
	added := behalf.ClientSecret{Value: v.password("client_secret"), CreatedAt: v.db.Now()}
	if form.Expires != "" {
		day, wrong := time.Parse(time.DateOnly, form.Expires)
		if wrong != nil || !day.After(v.db.Now()) {
			err = behalf.Invalid("expires_at", "Expected a day in the future.")
		}
		added.ExpiresAt = day
	}
	switch {
	case added.Value.Empty():
		err = behalf.Together(behalf.Invalid("client_secret", "Required."), err)
	case err == nil && len(p.Secrets.Client) >= maxSecrets:
		err = behalf.Invalid("client_secret", "%d secrets are kept already. Remove one that is not used any more.", maxSecrets)
	}
	if err == nil {
		p.Secrets.Client = append([]behalf.ClientSecret{added}, p.Secrets.Client...)
		_, err = v.db.SaveProfile(v.ctx(), p)
	}
	if f, ok := faultsOf(err, "The secret is not added yet"); ok {
		form.faults = f
		return v.show(statusOf(err), "Client secrets", v.secretsPage(p, form))
	}
	if err != nil {
		return err
	}
	v.done("The secret is added. It is tried first from now on.")
	return v.to("assistants", v.assistant.Slug, "profiles", string(p.ID), "secrets")
}

// askRemoveSecret says what will be without a secret.
func (v *visit) askRemoveSecret() error {
	p, err := v.profile()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(p.Secrets.Client, func(s behalf.ClientSecret) bool { return secretID(s) == v.query("secret") })
	if i < 0 { // it is removed already
		return v.to("assistants", v.assistant.Slug, "profiles", string(p.ID), "secrets")
	}
	return v.show(http.StatusOK, "Remove a client secret", v.removeSecretPage(p, i))
}

// withoutSecret says what the removal of a secret does.
func (v *visit) withoutSecret(p behalf.Profile, i int) string {
	s, now := p.Secrets.Client[i], v.db.Now()
	rest := p
	rest.Secrets.Client = slices.Delete(slices.Clone(p.Secrets.Client), i, i+1)
	switch {
	case !s.ExpiresAt.IsZero() && !now.Before(s.ExpiresAt):
		return "It has ended, and is not tried any more: nothing changes."
	case len(rest.ClientSecrets(now)) == 0:
		return "It is the only one that is tried. Without it " + p.Provider + " does not know who asks: nobody can connect, and no connection is refreshed, until another is added."
	case i == 0:
		return "It is tried first. From then on the next one is: be sure that " + p.Provider + " takes that."
	}
	return "It is tried only where " + p.Provider + " refuses those before it."
}

func (v *visit) removeSecret() error {
	p, err := v.profile()
	if err != nil {
		return err
	}
	before := len(p.Secrets.Client)
	p.Secrets.Client = slices.DeleteFunc(slices.Clone(p.Secrets.Client), func(s behalf.ClientSecret) bool { return secretID(s) == v.form("secret") })
	if len(p.Secrets.Client) < before {
		if _, err := v.db.SaveProfile(v.ctx(), p); err != nil {
			return err
		}
	}
	v.done("The secret is removed.")
	return v.to("assistants", v.assistant.Slug, "profiles", string(p.ID), "secrets")
}
