package console

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/connect"
	"github.com/behalf-dev/behalf/internal/look"
	"github.com/behalf-dev/behalf/internal/store"
)

func (v *visit) home() error { return v.to("assistants") }

// assistantTile is an assistant in the list.
type assistantTile struct {
	behalf.Assistant
	Profiles int
}

func (v *visit) listAssistants() error {
	all, err := v.db.Assistants(v.ctx(), store.Page{})
	if err != nil {
		return err
	}
	var tiles []assistantTile
	for _, a := range all {
		profiles, err := v.db.Profiles(v.ctx(), a.ID, store.Page{})
		if err != nil {
			return err
		}
		tiles = append(tiles, assistantTile{a, len(profiles)})
	}
	kit, err := v.kitTold()
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "Assistants", v.assistantsPage(tiles, kit))
}

// kitTold says what is the matter with the recovery kit, to those who look after
// the server; "" where there is a good one.
func (v *visit) kitTold() (string, error) {
	if v.cfg.Temporary || !v.may(behalf.ReadKeyring) {
		return "", nil
	}
	kit, err := v.db.RecoveryKit(v.ctx())
	switch {
	case err != nil:
		return "", err
	case kit == nil:
		return "No recovery kit was made yet.", nil
	case !kit.VoidAt.IsZero():
		return "The recovery kit of " + day(kit.MadeAt) + " is void, since the root key was replaced on " + day(kit.VoidAt) + ".", nil
	}
	return "", nil
}

// assistantForm is what may be set of an assistant.
type assistantForm struct {
	Name, Slug, ReturnURLs, Methods, Paths string
	Accent, AccentDark                     string
	Logo                                   string // where it is served
	Finish, TokenReads                     bool
	Version                                string
	New                                    bool
	faults
}

func formOf(a behalf.Assistant) assistantForm {
	return assistantForm{Name: a.Name, Slug: a.Slug, ReturnURLs: strings.Join(a.ReturnURLs, "\n"), Methods: strings.Join(a.Calls.Methods, " "), Paths: strings.Join(a.Calls.Paths, "\n"),
		Finish: a.Finish, TokenReads: a.TokenReads, Accent: a.Branding.Accent, AccentDark: a.Branding.AccentDark, Logo: connect.LogoURL(a.Branding), Version: number(a.Version)}
}

func (v *visit) assistantForm() assistantForm {
	return assistantForm{Name: v.line("name"), Slug: v.line("slug"), ReturnURLs: v.form("return_urls"), Methods: v.line("calls.methods"), Paths: v.form("calls.paths"),
		Finish: v.form("finish") != "", TokenReads: v.form("token_reads") != "", Accent: v.line("branding.accent"), AccentDark: v.line("branding.accent_dark"),
		Logo: connect.LogoURL(v.assistant.Branding), Version: v.form("version")}
}

// onto returns the assistant as the form would have it.
func (f assistantForm) onto(a behalf.Assistant) behalf.Assistant {
	a.Name, a.Finish, a.TokenReads = f.Name, f.Finish, f.TokenReads
	if a.Slug = f.Slug; a.Slug == "" {
		a.Slug = behalf.Slug(f.Name)
	}
	a.Branding.Accent, a.Branding.AccentDark = f.Accent, f.AccentDark
	a.ReturnURLs = strings.Fields(f.ReturnURLs)
	a.Calls = behalf.CallPolicy{Methods: words(strings.ToUpper(f.Methods)), Paths: strings.Fields(f.Paths)}
	return a
}

// words splits a list at spaces and commas.
func words(s string) []string { return strings.Fields(strings.ReplaceAll(s, ",", " ")) }

func (v *visit) askAssistant() error {
	return v.show(http.StatusOK, "New assistant", v.newAssistantPage(assistantForm{New: true, Finish: true}))
}

func (v *visit) createAssistant() error {
	form := v.assistantForm()
	form.New, form.Finish = true, true
	a := behalf.NewAssistant(form.Name, v.db.Now())
	if form.Slug != "" {
		a.Slug = form.Slug
	}
	a, err := v.db.CreateAssistant(v.ctx(), a)
	if f, ok := faultsOf(err, "The assistant is not made yet"); ok {
		form.faults = f
		return v.show(statusOf(err), "New assistant", v.newAssistantPage(form))
	}
	if err != nil {
		return err
	}
	v.done("The assistant is made. Next, describe an application that it shall use.")
	return v.to("assistants", a.Slug, "profiles")
}

// pageFull is how many the store returns at most at a time.
const pageFull = 200

func (v *visit) assistantSettings() error {
	if err := v.inAssistant(); err != nil {
		return err
	}
	return v.show(http.StatusOK, "Settings", v.settingsPage(formOf(v.assistant)))
}

func (v *visit) saveAssistant() error {
	if err := v.inAssistant(); err != nil {
		return err
	}
	form := v.assistantForm()
	a := form.onto(v.assistant)
	a.Version = version(form.Version)
	a, err := v.db.SaveAssistant(v.ctx(), a)
	if f, ok := faultsOf(err, "The settings are not saved yet"); ok {
		form.faults = f
		form.Version = number(v.assistant.Version) // what was typed is saved by the next try, over what was changed meanwhile
		return v.show(statusOf(err), "Settings", v.settingsPage(form))
	}
	if err != nil {
		return err
	}
	v.done("The settings are saved.")
	return v.to("assistants", a.Slug, "settings")
}

func (f assistantForm) basics() []look.Input {
	return f.mark([]look.Input{
		{Name: "name", Label: "Name", Value: f.Name, Required: true, Hint: "People see it when they are asked to connect.", Focus: f.New && f.Title == ""},
		{Name: "slug", Label: "Name in addresses", Value: f.Slug, Code: true, Hint: "Lower-case letters, digits and hyphens; made of the name where it is empty."},
	})
}

func (f assistantForm) connecting() []look.Input {
	return f.mark([]look.Input{
		{Name: "return_urls", Label: "Return URLs", Type: "textarea", Value: f.ReturnURLs, Code: true, Rows: 3,
			Hint: "Where a person's browser may be sent after connecting, one on each line. The query is free; a path that ends in /* takes everything below it."},
		{Name: "finish", Label: "Finish every connection", Type: "checkbox", Value: tick(f.Finish),
			Hint: "A connection works only once the assistant's backend has confirmed who came back. Without it, somebody could be talked into connecting their account for another person."},
	})
}

func (f assistantForm) calling() []look.Input {
	return f.mark([]look.Input{
		{Name: "token_reads", Label: "Let the assistant read access tokens", Type: "checkbox", Value: tick(f.TokenReads),
			Hint: "Without it all calls go through the proxy, and no token ever leaves this server. That is safer."},
		{Name: "calls.methods", Label: "Methods of calls", Value: f.Methods, Code: true, Hint: "Such as GET, POST. Empty: all."},
		{Name: "calls.paths", Label: "Paths of calls", Type: "textarea", Value: f.Paths, Code: true, Rows: 3,
			Hint: "Below the application's API base URL, one on each line: /v1/items takes everything below it, too. Empty: all."},
	})
}

func (f assistantForm) looks() []look.Input {
	return f.mark([]look.Input{
		{Name: "branding.accent", Label: "Colour", Value: f.Accent, Code: true, Hint: "Of buttons and links, as #rrggbb. It must be readable on light pages; you are told where it is not. Empty: Behalf's."},
		{Name: "branding.accent_dark", Label: "Colour on dark pages", Value: f.AccentDark, Code: true, Hint: "Where a person prefers them. Empty: a lighter shade of the colour."},
	})
}

func (f assistantForm) inputs() []look.Input {
	return append(append(append(f.basics(), f.looks()...), f.connecting()...), f.calling()...)
}

// settable lets only those change settings who may.
func (v *visit) settable(inputs []look.Input) []look.Input {
	for i := range inputs {
		inputs[i].ReadOnly = !v.may(behalf.WriteAssistants)
	}
	return inputs
}

// swatch shows an accent as people see it.
type swatch struct{ Mode, Ground, Accent, On, Contrast string }

// swatches are those of the assistant as it is saved.
func (v *visit) swatches() []swatch {
	light, dark, ok := v.assistant.Branding.Accents()
	if !ok {
		return nil
	}
	onLight, onDark := v.assistant.Branding.Contrasts()
	return []swatch{
		{"On light pages", behalf.White.String(), light.String(), behalf.White.String(), fmt.Sprintf("%.1f:1", onLight)},
		{"On dark pages", "#1b1e29", dark.String(), behalf.Black.String(), fmt.Sprintf("%.1f:1", onDark)},
	}
}

// saveLogo keeps the picture that was sent, or takes the logo away.
func (v *visit) saveLogo() error {
	if err := v.inAssistant(); err != nil {
		return err
	}
	var file []byte
	said := "The logo is taken away."
	if v.form("do") != "remove" {
		said = "The logo is saved. People see it when they are asked to connect."
		sent, _, err := v.r.FormFile("branding.logo")
		if err == nil {
			defer func() { _ = sent.Close() }()
			file, err = io.ReadAll(sent)
		}
		if err != nil || len(file) == 0 {
			return v.logoFaults(behalf.Invalid("branding.logo", "Choose a file first."))
		}
	}
	if _, err := v.db.SaveLogo(v.ctx(), v.assistant, file); err != nil {
		return v.logoFaults(err)
	}
	v.done(said)
	return v.to("assistants", v.assistant.Slug, "settings")
}

func (v *visit) logoFaults(err error) error {
	f, ok := faultsOf(err, "The logo is not saved")
	if !ok {
		return err
	}
	form := formOf(v.assistant)
	form.faults = f
	return v.show(statusOf(err), "Settings", v.settingsPage(form))
}

func (f assistantForm) logoInput() []look.Input {
	return f.mark([]look.Input{{Name: "branding.logo", Label: "Logo", Type: "file", Required: true,
		Hint: "A PNG or JPEG picture, about square, of 32 to 2048 pixels and at most 256 kB. It is made small; nothing of the file but its picture is kept."}})
}
