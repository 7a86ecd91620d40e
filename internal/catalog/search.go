package catalog

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
)

// How well a word of a query fits an entry.
const (
	isName = 5 // it is the slug, the name or an alias
	begins = 4 // one of these begins with it
	aWord  = 3 // a word in one of these begins with it
	within = 2 // it stands within one of these
	about  = 1 // a category begins with it
)

// Search returns the providers that every word of text fits, the best first.
// Case, spaces and punctuation do not count. No text means all, by name.
func (c *Catalog) Search(text string) []Entry {
	type hit struct {
		Entry
		rank int
	}
	var hits []hit
	for _, e := range c.entries {
		if rank, ok := e.fits(text); ok {
			hits = append(hits, hit{e, rank})
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(b.rank, a.rank) })
	found := make([]Entry, len(hits))
	for i, h := range hits {
		found[i] = h.Entry
	}
	return found
}

// fits ranks an entry: by the whole text, or else by the worst of its words.
func (e Entry) fits(text string) (rank int, ok bool) {
	if whole := e.rank(squeeze(text)); whole >= within {
		return whole, true
	}
	rank = isName
	for word := range strings.FieldsFuncSeq(text, notInWord) {
		fit := e.rank(squeeze(word))
		if fit == 0 {
			return 0, false
		}
		rank = min(rank, fit)
	}
	return rank, true
}

func (e Entry) rank(want string) int {
	if want == "" {
		return 0
	}
	best := 0
	for _, name := range append([]string{e.Slug, e.Name}, e.Aliases...) {
		best = max(best, rankName(want, name))
	}
	if best == 0 && slices.ContainsFunc(e.Categories, func(c string) bool { return strings.HasPrefix(squeeze(c), want) }) {
		return about
	}
	return best
}

func rankName(want, name string) int {
	squeezed := squeeze(name)
	switch {
	case squeezed == want:
		return isName
	case strings.HasPrefix(squeezed, want):
		return begins
	case slices.ContainsFunc(strings.FieldsFunc(name, notInWord), func(w string) bool { return strings.HasPrefix(squeeze(w), want) }):
		return aWord
	case strings.Contains(squeezed, want):
		return within
	}
	return 0
}

// names returns what the entry answers to, squeezed.
func (e Entry) names() []string {
	names := []string{squeeze(e.Slug), squeeze(e.Name)}
	for _, a := range e.Aliases {
		names = append(names, squeeze(a))
	}
	return names
}

// squeeze leaves letters and digits, in lower case: monday.com is mondaycom.
func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if notInWord(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}

func notInWord(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
