package console

import (
	"net/http"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
	"github.com/behalf-dev/behalf/internal/store"
)

var roles = []struct {
	role  behalf.Role
	about string
}{
	{behalf.RoleOwner, "Everything, other owners included."},
	{behalf.RoleAdministrator, "Everything but owners and their keys."},
	{behalf.RoleDeveloper, "Authorization profiles, connect sessions and connections; no people and no keys."},
	{behalf.RoleViewer, "Looks at everything but people, keys and the audit log, and changes nothing."},
}

func (v *visit) listPeople() error {
	members, err := v.db.Members(v.ctx(), store.Page{})
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "People", v.peoplePage(members))
}

// personForm is what may be set of a member.
type personForm struct {
	Email, Name string
	Role        behalf.Role
	Disabled    bool
	Version     string
	faults
}

func (v *visit) personForm() personForm {
	return personForm{Email: v.line("email"), Name: v.line("name"), Role: behalf.Role(v.form("role")), Disabled: v.form("disabled") != "", Version: v.form("version")}
}

// roleOptions are the roles that the member who asks may give.
func (v *visit) roleOptions() []look.Option {
	var out []look.Option
	for _, r := range roles {
		if r.role != behalf.RoleOwner || v.may(behalf.WriteOwners) {
			out = append(out, look.Option{Value: string(r.role), Text: string(r.role)})
		}
	}
	return out
}

func (v *visit) inviteInputs(f personForm) []look.Input {
	return f.mark([]look.Input{
		{Name: "email", Label: "Email address", Type: "email", Value: f.Email, Required: true, Focus: f.Title == "", Autocomplete: "off"},
		{Name: "name", Label: "Name", Value: f.Name, Autocomplete: "off"},
		{Name: "role", Label: "Role", Value: string(f.Role), Options: v.roleOptions(), Required: true},
	})
}

func (v *visit) personInputs(f personForm) []look.Input {
	return f.mark([]look.Input{
		{Name: "name", Label: "Name", Value: f.Name, Autocomplete: "off"},
		{Name: "role", Label: "Role", Value: string(f.Role), Options: v.roleOptions(), Required: true},
		{Name: "disabled", Label: "Disabled", Type: "checkbox", Value: tick(f.Disabled), Hint: "Signed out everywhere at once, and not let in until this is taken off again."},
	})
}

func (v *visit) askPerson() error {
	return v.show(http.StatusOK, "Invite somebody", v.invitePage(personForm{Role: behalf.RoleDeveloper}))
}

func (v *visit) invitePerson() error {
	form := v.personForm()
	m, link, err := v.db.InviteMember(v.ctx(), behalf.Member{Email: form.Email, Name: form.Name, Role: form.Role})
	if f, ok := faultsOf(err, "Nobody is invited yet"); ok {
		form.faults = f
		return v.show(statusOf(err), "Invite somebody", v.invitePage(form))
	}
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "Invitation", v.linkShown(m, behalf.LinkInvite, Link(v.cfg.PublicURL, link)))
}

// one reads the member of the path.
func (v *visit) one() (behalf.Member, error) {
	return v.db.Member(v.ctx(), behalf.MemberID(v.r.PathValue("member")))
}

// mayChange reports whether the member who asks may change this one.
func (v *visit) mayChange(m behalf.Member) bool {
	return v.may(behalf.WriteMembers) && (m.Role != behalf.RoleOwner || v.may(behalf.WriteOwners))
}

func (v *visit) person() error {
	m, err := v.one()
	if err != nil {
		return err
	}
	return v.showPerson(http.StatusOK, m, personForm{Email: m.Email, Name: m.Name, Role: m.Role, Disabled: !m.Good(), Version: number(m.Version)})
}

func (v *visit) showPerson(status int, m behalf.Member, form personForm) error {
	var signIns []behalf.SignIn
	if v.mayChange(m) {
		var err error
		if signIns, err = v.db.SignIns(v.ctx(), m.ID); err != nil {
			return err
		}
	}
	return v.show(status, nameOf(m), v.personPage(m, form, signIns))
}

func (v *visit) savePerson() error {
	m, err := v.one()
	if err != nil {
		return err
	}
	form := v.personForm()
	form.Email = m.Email
	changed := m
	changed.Name, changed.Role, changed.Version = form.Name, form.Role, version(form.Version)
	switch {
	case form.Disabled && m.Good():
		changed.DisabledAt = v.db.Now()
	case !form.Disabled:
		changed.DisabledAt = behalf.Member{}.DisabledAt
	}
	_, err = v.db.SaveMember(v.ctx(), changed)
	if f, ok := faultsOf(err, "Nothing is changed"); ok {
		form.faults, form.Version = f, number(m.Version)
		return v.showPerson(statusOf(err), m, form)
	}
	if err != nil {
		return err
	}
	v.done("Saved.")
	return v.to("people")
}

func (v *visit) linkPerson() error {
	m, err := v.one()
	if err != nil {
		return err
	}
	purpose := behalf.LinkReset
	if m.Invited() {
		purpose = behalf.LinkInvite
	}
	link, err := v.db.LinkMember(v.ctx(), m.ID, purpose)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "Link", v.linkShown(m, purpose, Link(v.cfg.PublicURL, link)))
}

func (v *visit) signOutPerson() error {
	m, err := v.one()
	if err != nil {
		return err
	}
	if err := v.db.EndSignIns(v.ctx(), m.ID, ""); err != nil {
		return err
	}
	v.done(nameOf(m) + " is signed out everywhere.")
	return v.to("people", string(m.ID))
}

func (v *visit) askRemovePerson() error {
	m, err := v.one()
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "Remove "+nameOf(m), v.removePage(m, faults{}))
}

func (v *visit) removePerson() error {
	m, err := v.one()
	if err != nil {
		return err
	}
	name := nameOf(m)
	err = v.db.RemoveMember(v.ctx(), m)
	if f, ok := faultsOf(err, "Nobody is removed"); ok {
		return v.show(statusOf(err), "Remove "+name, v.removePage(m, f))
	}
	if err != nil {
		return err
	}
	v.done(name + " is removed.")
	return v.to("people")
}
