package expand

import "fmt"

// SyntaxError says where a text, a URL or a host cannot be parsed.
type SyntaxError struct {
	Offset   int    // in bytes from the beginning
	Expected string // what should have been there
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("at byte %d: expected %s", e.Offset, e.Expected)
}

// MissingError says that a placeholder has no value.
type MissingError struct{ Name string }

func (e *MissingError) Error() string { return placeholder(e.Name) + " has no value" }

// ValueError says that a value cannot stand in its position. It never holds the value.
type ValueError struct {
	Name     string // whose value it is; "" when it is literal text of the profile
	Position Position
	Expected string
}

func (e *ValueError) Error() string {
	name := "literal text"
	if e.Name != "" {
		name = placeholder(e.Name)
	}
	return fmt.Sprintf("%s in %s: expected %s", name, e.Position, e.Expected)
}

func placeholder(name string) string {
	if name == tenant {
		return "{tenant}"
	}
	return "{{" + name + "}}"
}
