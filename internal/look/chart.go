package look

import "strconv"

// This file draws. The rules are:
//
//   - A drawing is shapes only. Words and numbers stand beside it as text, so
//     that they keep their size, are read aloud and can be copied.
//   - What a shape means is never told by its colour alone.
//   - Shapes have classes and attributes and no style: the content security
//     policy lets none in.

// Share is one part of a whole, or one of several that are compared.
type Share struct {
	Text string
	URL  string // of what it counts; may be empty
	N    int64
	Tone Tone
}

// Day is one step of a time: what went well, and what did not.
type Day struct {
	Text      string
	Good, Bad int64
}

// width of a drawing, in its own units. It is stretched to its place.
const width = 1000

// shape is a rectangle.
type shape struct{ x, y, w, h, class, title string }

func units(n int64) string { return strconv.FormatInt(n, 10) }

// split lays shares side by side, in proportion, with room between them. Of
// what there is anything, something is seen.
func split(shares []Share) []shape {
	const gap, least = 6, 8
	var total, parts int64
	for _, s := range shares {
		if s.N > 0 {
			total, parts = total+s.N, parts+1
		}
	}
	if total == 0 {
		return nil
	}
	room := width - gap*(parts-1) - least*parts
	var out []shape
	var x int64
	for _, s := range shares {
		if s.N == 0 {
			continue
		}
		w := least + room*s.N/total
		out = append(out, shape{units(x), "0", units(w), "12", "shape " + string(s.Tone), s.Text + ": " + units(s.N)})
		x += w + gap
	}
	return out
}

// most is the highest of what is compared, and 1 where there is nothing.
func most(shares []Share) int64 {
	top := int64(1)
	for _, s := range shares {
		top = max(top, s.N)
	}
	return top
}

// height of columns, in their own units.
const height = 100

// Highest is the highest column.
func Highest(days []Day) int64 {
	var top int64
	for _, d := range days {
		top = max(top, d.Good+d.Bad)
	}
	return top
}

// columns stands days beside each other: what failed on what went well.
func columns(days []Day) []shape {
	top := max(Highest(days), 1)
	step := int64(width / max(len(days), 1))
	var out []shape
	for i, d := range days {
		x, w := int64(i)*step+step/6, step-step/3
		title := d.Text + ": " + units(d.Good) + " good, " + units(d.Bad) + " failed"
		good, bad := tall(d.Good, top), tall(d.Bad, top)
		if d.Good > 0 {
			out = append(out, shape{units(x), units(height - good), units(w), units(good), "shape good", title})
		}
		if d.Bad > 0 {
			out = append(out, shape{units(x), units(max(height-good-bad, 0)), units(w), units(bad), "shape bad", title})
		}
	}
	return out
}

func tall(n, top int64) int64 {
	if n == 0 {
		return 0
	}
	return max(2, height*n/top)
}
