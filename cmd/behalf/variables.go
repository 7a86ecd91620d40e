package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

type variablesCommand struct {
	List   listVariablesCommand  `cmd:"" help:"List what is kept."`
	Set    setVariableCommand    `cmd:"" help:"Keep a variable, in the place of one of the same name."`
	Delete deleteVariableCommand `cmd:"" help:"Forget a variable."`
}

// variable is one as the server tells it.
type variable struct {
	Namespace   string     `json:"namespace"`
	User        string     `json:"user,omitempty"`
	Name        string     `json:"name"`
	Placeholder string     `json:"placeholder"`
	Value       string     `json:"value,omitempty"`
	Secret      bool       `json:"secret"`
	ExpiresAt   *time.Time `json:"expires_at,omitempty"`
	UpdatedAt   time.Time  `json:"updated_at"`
}

type listVariablesCommand struct {
	remote
	Namespace string `help:"Only those of this namespace."`
	User      string `help:"Only those of this user." short:"u"`
	JSON      bool   `help:"Print JSON, one variable a line." name:"json"`
}

// Run prints all variables, page by page.
func (c *listVariablesCommand) Run(ctx context.Context) error {
	base, err := c.assistant(ctx)
	if err != nil {
		return err
	}
	q := url.Values{}
	for key, value := range map[string]string{"namespace": c.Namespace, "user": c.User} {
		if value != "" {
			q.Set(key, value)
		}
	}
	none := true
	for {
		var list struct {
			Items      []variable `json:"items"`
			NextCursor string     `json:"next_cursor"`
		}
		if err := c.do(ctx, http.MethodGet, base+"/variables?"+q.Encode(), nil, &list); err != nil {
			return err
		}
		for _, v := range list.Items {
			none = false
			if err := c.print(v); err != nil {
				return err
			}
		}
		if list.NextCursor == "" {
			if none {
				fmt.Fprintln(os.Stderr, "There are no such variables.")
			}
			return nil
		}
		q.Set("cursor", list.NextCursor)
	}
}

func (c *listVariablesCommand) print(v variable) error {
	if c.JSON {
		return printJSON(v)
	}
	value, ends := v.Value, "never"
	switch {
	case v.Secret:
		value = "(secret)"
	case value == "":
		value = "(not shown)"
	}
	if v.ExpiresAt != nil {
		ends = v.ExpiresAt.Local().Format("2006-01-02 15:04")
	}
	_, err := fmt.Printf("%-48s  %-12s  %-16s  %s\n", v.Placeholder, v.User, ends, value)
	return err
}

// oneVariable names a variable by the name that profiles use.
type oneVariable struct {
	Variable string `arg:"" help:"As profiles call it: env.NAME, or context.session.NAMESPACE.NAME."`
	User     string `help:"Whose, with UserSession and BotUserSession." short:"u"`
}

// path is where the variable is kept, below the assistant.
func (o oneVariable) path() (string, error) {
	space, name, ok := strings.Cut(strings.TrimPrefix(o.Variable, "context.session."), ".")
	if !ok || space == "context" || name == "" {
		return "", errors.New("name the variable as profiles do: env.NAME, or context.session.NAMESPACE.NAME")
	}
	path := "/variables/" + url.PathEscape(space) + "/" + url.PathEscape(name)
	if o.User != "" {
		path += "?" + url.Values{"user": {o.User}}.Encode()
	}
	return path, nil
}

type setVariableCommand struct {
	remote
	oneVariable
	Value  *secretFlag   `arg:"" optional:"" help:"The value, or file:PATH to it. Left out, it is read from standard input."`
	Secret bool          `help:"Never show it again."`
	For    time.Duration `help:"How long it is kept (default: a day for UserSession and BotUserSession, or else for ever)."`
	JSON   bool          `help:"Print JSON." name:"json"`
}

// maxValue is what is read of a value; the server's own bound is lower.
const maxValue = 64 << 10

// Run keeps the variable. What it was set to is not printed.
func (c *setVariableCommand) Run(ctx context.Context) error {
	path, err := c.path()
	if err != nil {
		return err
	}
	value, err := c.value()
	if err != nil {
		return err
	}
	base, err := c.assistant(ctx)
	if err != nil {
		return err
	}
	in := map[string]any{"value": value, "secret": c.Secret}
	if c.For != 0 {
		in["expires_in"] = int64(c.For / time.Second)
	}
	var v variable
	if err := c.do(ctx, http.MethodPut, base+path, in, &v); err != nil {
		return err
	}
	if c.JSON {
		v.Value = ""
		return printJSON(v)
	}
	_, err = fmt.Println(v.Placeholder, "is kept.")
	return err
}

func (c *setVariableCommand) value() (string, error) {
	if c.Value != nil {
		return c.Value.Reveal(), nil
	}
	raw, err := io.ReadAll(io.LimitReader(os.Stdin, maxValue))
	if err != nil {
		return "", errors.New("the value cannot be read from standard input")
	}
	return strings.TrimSpace(string(raw)), nil
}

type deleteVariableCommand struct {
	remote
	oneVariable
	JSON bool `help:"Print JSON." name:"json"`
}

func (c *deleteVariableCommand) Run(ctx context.Context) error {
	path, err := c.path()
	if err != nil {
		return err
	}
	base, err := c.assistant(ctx)
	if err != nil {
		return err
	}
	if err := c.do(ctx, http.MethodDelete, base+path, nil, nil); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(map[string]string{"deleted": c.Variable})
	}
	_, err = fmt.Println(c.Variable, "is deleted.")
	return err
}

// contextObject makes the object that an assistant would send of variables by
// their names.
func contextObject(byName map[string]string) (map[string]any, error) {
	object := map[string]any{}
	for name, value := range byName {
		path, ok := strings.CutPrefix(name, "context.")
		if !ok {
			return nil, errors.New("a variable that is sent has a name that begins with context., as in --variable context.order=17")
		}
		at := object
		words := strings.Split(path, ".")
		for _, word := range words[:len(words)-1] {
			below, ok := at[word].(map[string]any)
			if !ok {
				below = map[string]any{}
				at[word] = below
			}
			at = below
		}
		at[words[len(words)-1]] = value
	}
	return object, nil
}
