package look

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/a-h/templ"
	"golang.org/x/text/language"
)

// fallback is the language that has every text.
const fallback = "en"

// Words are the texts of some pages, in every language that they speak.
type Words map[string]Language // by tag

// Language is the texts of one language. The zero Language knows none.
type Language struct {
	Tag   string            // BCP 47, for the attribute lang
	texts map[string]string // by id; "{name}" stands for a value
}

// Values fill the placeholders of a text, by name.
type Values map[string]string

// MustWords reads one file for each language, named as its tag: en.json, de.json,
// pt-BR.json, each an object of texts by id. A text that a language lacks is the
// English one. It panics if a file cannot be read: they are embedded.
func MustWords(files fs.FS, pattern string) Words {
	words := Words{}
	names, err := fs.Glob(files, pattern)
	if err != nil {
		panic("look: words: " + err.Error())
	}
	for _, name := range names {
		content, err := fs.ReadFile(files, name)
		if err != nil {
			panic("look: words: " + err.Error())
		}
		one := Language{Tag: strings.TrimSuffix(path.Base(name), ".json")}
		if err := json.Unmarshal(content, &one.texts); err != nil {
			panic(fmt.Sprintf("look: words: %s: %v", name, err))
		}
		words[strings.ToLower(one.Tag)] = one
	}
	english, ok := words[fallback]
	if !ok {
		panic("look: words: no " + fallback)
	}
	for tag, one := range words {
		texts := maps.Clone(english.texts)
		maps.Copy(texts, one.texts)
		words[tag] = Language{Tag: one.Tag, texts: texts}
	}
	return words
}

// In returns the language for a locale (BCP 47, as "de-AT"; an underscore is
// taken too): itself, else the one that it is a kind of, else English.
func (w Words) In(locale string) Language {
	tag := strings.ToLower(strings.ReplaceAll(locale, "_", "-"))
	for tag != "" {
		if found, ok := w[tag]; ok {
			return found
		}
		tag = tag[:max(0, strings.LastIndexByte(tag, '-'))]
	}
	return w[fallback]
}

// For returns the language for a locale, or where none is given the first that
// a reader's browser asks for (Accept-Language, RFC 9110 §12.5.4) and we speak.
func (w Words) For(locale, accept string) Language {
	if locale != "" {
		return w.In(locale)
	}
	tags, _, err := language.ParseAcceptLanguage(accept)
	if err != nil || len(accept) > 500 {
		return w[fallback]
	}
	for _, tag := range tags {
		for ; !tag.IsRoot(); tag = tag.Parent() {
			if found, ok := w[strings.ToLower(tag.String())]; ok {
				return found
			}
		}
	}
	return w[fallback]
}

// IDs returns the ids of all texts, sorted.
func (l Language) IDs() []string { return slices.Sorted(maps.Keys(l.texts)) }

// Text returns a text with its values filled in, for a title or an attribute. A
// text that does not exist is its id.
func (l Language) Text(id string, values Values) string {
	var b strings.Builder
	for _, p := range l.parts(id, values) {
		b.WriteString(p.text)
	}
	return b.String()
}

// Rich is the same text as part of a page. Each value stands in a bdi element:
// it is set apart for the eye, and a name in another direction of writing, or
// one with a character that turns the direction, cannot rearrange our words.
func (l Language) Rich(id string, values Values) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		var b strings.Builder
		for _, p := range l.parts(id, values) {
			if p.value {
				b.WriteString("<bdi>" + templ.EscapeString(p.text) + "</bdi>")
			} else {
				b.WriteString(templ.EscapeString(p.text))
			}
		}
		_, err := io.WriteString(w, b.String())
		return err
	})
}

// part is a piece of a text: our words, or a value among them.
type part struct {
	text  string
	value bool
}

// parts cuts a text at its placeholders. A value is never read for placeholders
// again, and a placeholder without a value stays as it is written.
func (l Language) parts(id string, values Values) []part {
	text, ok := l.texts[id]
	if !ok {
		return []part{{text: id}}
	}
	var parts []part
	for {
		before, rest, open := strings.Cut(text, "{")
		name, after, closed := strings.Cut(rest, "}")
		value, known := values[name]
		if !open || !closed || !known {
			return append(parts, part{text: text})
		}
		parts = append(parts, part{text: before}, part{text: value, value: true})
		text = after
	}
}
