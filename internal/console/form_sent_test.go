package console

import (
	"net/url"

	"github.com/behalf-dev/behalf/internal/look"
)

// sent is what a browser sends of a form that nobody touches.
func sent(f *profileForm) url.Values {
	out := url.Values{}
	one := func(in look.Input) {
		if in.Type != "checkbox" || in.Value != "" {
			out.Set(in.Name, in.Value)
		}
	}
	for _, g := range f.groups {
		for _, field := range g.Fields {
			if field.Kind == asRows {
				for _, r := range f.rowsOf(field) {
					for _, in := range r.Inputs {
						one(in)
					}
				}
				continue
			}
			if field.Kind == asTickOn {
				out.Set(field.Path+":shown", "yes")
			}
			if f.shows(field) {
				one(f.input(field, field.Path, lookUp(f.tree, field.Path), nil))
			}
		}
	}
	return out
}
