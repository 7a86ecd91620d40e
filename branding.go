package behalf

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // a logo may be one
	"image/png"
	"math"
	"strconv"
)

// This file is how an assistant looks to the people who connect. The rules are:
//
//   - No colour makes a page hard to read: it is refused, with its contrast and
//     a shade that would do (WCAG 2.2, 1.4.3).
//   - Of an uploaded picture only its pixels are kept: what else a file may be
//     at the same time, or knows of who made it, is gone.
//   - The size that a picture claims is looked at before it is unpacked.

// Branding is how an assistant looks.
type Branding struct {
	// Accent is the colour of buttons and links on light pages, as #rrggbb;
	// empty: ours.
	Accent string `json:"accent,omitempty"`
	// AccentDark is the same on dark pages; empty: made of Accent.
	AccentDark string `json:"accent_dark,omitempty"`
	// Logo names the logo that is kept: a digest of whose it is and what it
	// shows. Empty: none.
	Logo string `json:"logo,omitempty"`
}

// Colour is red, green and blue from 0 to 255.
type Colour [3]float64

// The grounds of our pages on which text of an accent has the least contrast. A
// test holds them against the style sheet.
var (
	lightGround = Colour{0xf3, 0xf4, 0xf8}
	darkGround  = Colour{0x23, 0x27, 0x35}

	Black = Colour{}
	White = Colour{255, 255, 255}
)

// leastContrast is that of text (WCAG 2.2, 1.4.3).
const leastContrast = 4.5

// ParseColour reads #rrggbb.
func ParseColour(s string) (c Colour, ok bool) {
	if len(s) != 7 || s[0] != '#' {
		return c, false
	}
	n, err := strconv.ParseUint(s[1:], 16, 32)
	return Colour{float64(n >> 16), float64(n >> 8 & 255), float64(n & 255)}, err == nil
}

// String returns #rrggbb.
func (c Colour) String() string {
	return fmt.Sprintf("#%02x%02x%02x", uint8(math.Round(c[0])), uint8(math.Round(c[1])), uint8(math.Round(c[2])))
}

// Mixed returns the colour with a part, from 0 to 1, of another in it.
func (c Colour) Mixed(o Colour, part float64) Colour {
	for i := range c {
		c[i] = math.Round(c[i] + (o[i]-c[i])*part)
	}
	return c
}

// Contrast returns how well two colours can be told apart, from 1 to 21 (WCAG
// 2.2, contrast ratio).
func (c Colour) Contrast(o Colour) float64 {
	a, b := c.luminance(), o.luminance()
	return (max(a, b) + 0.05) / (min(a, b) + 0.05)
}

func (c Colour) luminance() float64 {
	var l float64
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		v := c[i] / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		l += weight * v
	}
	return l
}

// Readable returns the colour with as much of another in it as it needs to be
// read on a ground.
func (c Colour) Readable(ground, toward Colour) Colour {
	for part := 0.0; part < 1; part += 0.01 {
		if m := c.Mixed(toward, part); m.Contrast(ground) >= leastContrast {
			return m
		}
	}
	return toward
}

// Accents returns the accent on light and on dark pages, or false where the
// assistant has none of its own.
func (b Branding) Accents() (light, dark Colour, ok bool) {
	if light, ok = ParseColour(b.Accent); !ok {
		return light, dark, false
	}
	if dark, ok = ParseColour(b.AccentDark); !ok {
		dark = light.Readable(darkGround, White)
	}
	return light, dark, true
}

// Contrasts returns those of the accents with the ground of light and of dark
// pages.
func (b Branding) Contrasts() (light, dark float64) {
	l, d, _ := b.Accents()
	return l.Contrast(lightGround), d.Contrast(darkGround)
}

// CheckBranding says what is wrong with an assistant's colours.
func CheckBranding(b Branding) error {
	var p problems
	b.check(&p)
	return p.err()
}

func (b Branding) check(p *problems) {
	if b.Accent == "" && b.AccentDark != "" {
		p.add("branding.accent", "Required where there is a colour for dark pages.")
	}
	p.colour("branding.accent", b.Accent, "light", lightGround, Black)
	p.colour("branding.accent_dark", b.AccentDark, "dark", darkGround, White)
}

func (p *problems) colour(field, text, mode string, ground, toward Colour) {
	if text == "" {
		return
	}
	c, ok := ParseColour(text)
	if !ok {
		p.add(field, "Expected a colour as #rrggbb, such as #4248b8.")
		return
	}
	if has := c.Contrast(ground); has < leastContrast {
		shade := "A darker"
		if toward == White {
			shade = "A lighter"
		}
		p.add(field, "It has a contrast of %.1f:1 on %s pages, and text needs 4.5:1 to be read (WCAG 2.2). %s shade of it that has it: %s.", math.Floor(has*10)/10, mode, shade, c.Readable(ground, toward))
	}
}

const (
	maxLogo       = 256 << 10 // bytes of a file
	maxLogoSide   = 2048      // pixels of a file: 16 MiB unpacked
	minLogoSide   = 32
	logoSide      = 128      // pixels that are kept: shown at 48, sharp on any screen
	maxKeptLogo   = 64 << 10 // bytes that are kept
	maxLogoAspect = 2        // of the longer side to the shorter one
)

// Logo returns a picture as it is kept, a PNG of at most 128 by 128 pixels, and
// its name. The file is a PNG or a JPEG.
func Logo(of AssistantID, file []byte) (name string, kept []byte, err error) {
	const field = "branding.logo"
	if len(file) > maxLogo {
		return "", nil, Invalid(field, "Expected at most %d kB.", maxLogo>>10)
	}
	claims, format, err := image.DecodeConfig(bytes.NewReader(file))
	if err != nil || format != "png" && format != "jpeg" {
		return "", nil, Invalid(field, "Expected a PNG or a JPEG picture.")
	}
	longer, shorter := max(claims.Width, claims.Height), min(claims.Width, claims.Height)
	switch {
	case shorter < minLogoSide || longer > maxLogoSide:
		return "", nil, Invalid(field, "Expected a picture of %d to %d pixels on each side.", minLogoSide, maxLogoSide)
	case longer > maxLogoAspect*shorter:
		return "", nil, Invalid(field, "Expected a picture that is about square: it stands where a square does.")
	}
	picture, _, err := image.Decode(bytes.NewReader(file))
	if err != nil {
		return "", nil, Invalid(field, "The picture is damaged: it could not be read to its end.")
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, smaller(picture, logoSide)); err != nil {
		return "", nil, err
	}
	if out.Len() > maxKeptLogo {
		return "", nil, Invalid(field, "Expected a picture with fewer details: even made small it takes more than %d kB.", maxKeptLogo>>10)
	}
	sum := sha256.Sum256(append([]byte(of+"\n"), out.Bytes()...))
	return hex.EncodeToString(sum[:16]), out.Bytes(), nil
}

// smaller returns the pixels of a picture with neither side longer than side,
// each the mean of those it stands for.
func smaller(p image.Image, side int) *image.NRGBA {
	from := p.Bounds()
	w, h := from.Dx(), from.Dy()
	if longer := max(w, h); longer > side {
		w, h = max(1, w*side/longer), max(1, h*side/longer)
	}
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			out.Set(x, y, mean(p, image.Rect(from.Min.X+x*from.Dx()/w, from.Min.Y+y*from.Dy()/h, from.Min.X+(x+1)*from.Dx()/w, from.Min.Y+(y+1)*from.Dy()/h)))
		}
	}
	return out
}

func mean(p image.Image, of image.Rectangle) color.Color {
	var r, g, b, a, n uint64
	for y := of.Min.Y; y < of.Max.Y; y++ {
		for x := of.Min.X; x < of.Max.X; x++ {
			r1, g1, b1, a1 := p.At(x, y).RGBA()
			r, g, b, a, n = r+uint64(r1), g+uint64(g1), b+uint64(b1), a+uint64(a1), n+1
		}
	}
	return color.RGBA64{R: uint16(r / n), G: uint16(g / n), B: uint16(b / n), A: uint16(a / n)}
}
