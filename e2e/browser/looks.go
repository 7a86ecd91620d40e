package browser

import "flag"

// Looks are the ways in which people see a page.
var Looks = []struct {
	Name string
	Options
	rest bool // the others have shown each width and each set of colours
}{
	{"1280-light", Options{}, false},
	{"390-dark", Options{Mobile: true, Dark: true}, false},
	{"390-light", Options{Mobile: true}, true},
	{"1280-dark", Options{Dark: true}, true},
}

// maxWeight is how many bytes a page may take with everything that it loads.
const maxWeight = 100_000

// Kept reports whether somebody wants the pictures that a test takes: with
// `go test -artifacts`. They take longer than all that is held without them.
func Kept() bool {
	f := flag.Lookup("test.artifacts")
	return f != nil && f.Value.String() == "true"
}

// Picture is a Screenshot that is taken only where it is kept.
func (b *Browser) Picture(name string) {
	b.t.Helper()
	if Kept() {
		b.Screenshot(name)
	}
}

// Every shows the page in each look, keeps a picture of it, and holds what check
// does of it. Where no pictures are kept, looks that show nothing new are left
// out.
func (b *Browser) Every(name string, check func(name string)) {
	b.t.Helper()
	for _, look := range Looks {
		if look.rest && !Kept() {
			continue
		}
		b.Appear(look.Options)
		b.Picture(name + "-" + look.Name)
		check(name + ", " + look.Name)
	}
	b.Appear(Options{})
}

// Fit holds what a program can see of a page's looks, in each of them: that
// nothing sticks out, that axe finds nothing wrong, that the page is light.
func (b *Browser) Fit(name string) {
	b.t.Helper()
	b.Every(name, func(name string) {
		b.t.Helper()
		if over := b.Overflow(); over > 0 {
			b.t.Errorf("%s: it is %d pixels too wide", name, over)
		}
		b.Accessible(name)
	})
	if weight := b.Weight(); weight > maxWeight {
		b.t.Errorf("%s weighs %d bytes", name, weight)
	}
}

// Status returns the HTTP status with which the page came.
func (b *Browser) Status() int {
	b.t.Helper()
	return b.number("read the status", `performance.getEntriesByType("navigation")[0].responseStatus`)
}
