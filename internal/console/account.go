package console

import (
	"net/http"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
)

// accountPage is what members see of themselves.
type accountPage struct {
	Name     string
	SignIns  []behalf.SignIn
	Here     behalf.SignInID
	Naming   faults
	Password faults
}

func (v *visit) here() behalf.SignInID { return behalf.SignInID(v.signIns.GetString(v.ctx(), keyID)) }

func (v *visit) account() error {
	return v.showAccount(http.StatusOK, accountPage{Name: v.member.Name})
}

func (v *visit) showAccount(status int, p accountPage) error {
	var err error
	if p.SignIns, err = v.db.SignIns(v.ctx(), v.member.ID); err != nil {
		return err
	}
	p.Here = v.here()
	return v.show(status, "My account", v.accountPage(p))
}

func (p accountPage) naming() []look.Input {
	return p.Naming.mark([]look.Input{{Name: "name", Label: "Name", Value: p.Name, Autocomplete: "name"}})
}

func (v *visit) passwordInputs(f faults) []look.Input {
	var in []look.Input
	if v.member.Password {
		in = append(in, look.Input{Name: "old", Label: "Your password now", Type: "password", Required: true, Autocomplete: "current-password"})
	}
	return f.mark(append(in, look.Input{Name: "password", Label: "New password", Type: "password", Required: true, Autocomplete: "new-password",
		Hint: "At least 12 characters. You stay signed in here, and are signed out everywhere else."}))
}

func (v *visit) saveAccount() error {
	m := v.member
	m.Name = v.line("name")
	_, err := v.db.SaveMember(v.ctx(), m)
	if f, ok := faultsOf(err, "Your name is not changed"); ok {
		return v.showAccount(statusOf(err), accountPage{Name: m.Name, Naming: f})
	}
	if err != nil {
		return err
	}
	v.done("Your name is changed.")
	return v.to("account")
}

func (v *visit) changePassword() error {
	err := v.newPassword()
	if f, ok := faultsOf(err, "Your password is not changed"); ok {
		return v.showAccount(statusOf(err), accountPage{Name: v.member.Name, Password: f})
	}
	if err != nil {
		return err
	}
	if err := v.signIns.RenewToken(v.ctx()); err != nil {
		return err
	}
	v.done("Your password is changed. You are signed out everywhere else.")
	return v.to("account")
}

// newPassword is bounded like signing in: a browser that was left open must not
// serve to guess the password.
func (v *visit) newPassword() error {
	giveBack, err := v.limits.try(v.member.Email, v.address())
	if err != nil {
		return err
	}
	done, err := v.hash()
	if err != nil {
		giveBack()
		return err
	}
	defer done()
	err = v.db.ChangePassword(v.ctx(), v.password("old"), v.password("password"), v.here())
	if f, ok := faultsOf(err, ""); !ok || f.Fields["old"] == "" {
		giveBack()
	}
	return err
}

func (v *visit) signOutElsewhere() error {
	if err := v.db.EndSignIns(v.ctx(), v.member.ID, v.here()); err != nil {
		return err
	}
	v.done("You are signed out everywhere else.")
	return v.to("account")
}

// endSignIn signs one browser out: one that was left somewhere.
func (v *visit) endSignIn() error {
	id := behalf.SignInID(v.r.PathValue("sign_in"))
	if err := v.db.EndSignIn(v.ctx(), v.member.ID, id); err != nil {
		return err
	}
	v.done("That browser is signed out.")
	return v.to("account")
}
