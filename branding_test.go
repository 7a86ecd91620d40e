package behalf

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestAColourThatCannotBeReadIsRefusedWithOneThatCan(t *testing.T) {
	for name, x := range map[string]struct{ light, dark, field, says string }{
		"yellow on white":                   {light: "#ffd500", field: "branding.accent", says: "contrast of 1.2:1 on light pages"},
		"nearly":                            {light: "#767b80", field: "branding.accent", says: "contrast of 3.8:1"},
		"navy on dark":                      {light: "#102040", dark: "#102040", field: "branding.accent_dark", says: "on dark pages"},
		"a name":                            {light: "red", field: "branding.accent", says: "#rrggbb"},
		"too short":                         {light: "#fff", field: "branding.accent", says: "#rrggbb"},
		"what ends the style sheet":         {light: "#0;}a{", field: "branding.accent", says: "#rrggbb"},
		"only one for dark pages":           {dark: "#ffd500", field: "branding.accent", says: "Required"},
		"a sign where a digit is":           {light: "#+12345", field: "branding.accent", says: "#rrggbb"},
		"letters that are digits elsewhere": {light: "#٤٢٤", field: "branding.accent", says: "#rrggbb"},
	} {
		t.Run(name, func(t *testing.T) {
			err := CheckBranding(Branding{Accent: x.light, AccentDark: x.dark})
			e, ok := err.(*Error)
			if !ok || e.Field != x.field || !strings.Contains(e.Message, x.says) {
				t.Fatalf("got %v", err)
			}
			_, shade, suggested := strings.Cut(e.Message, "shade of it that has it: ")
			if !suggested {
				return
			}
			better := Branding{Accent: "#102040", AccentDark: strings.TrimSuffix(shade, ".")}
			if x.field == "branding.accent" {
				better = Branding{Accent: strings.TrimSuffix(shade, ".")}
			}
			if err := CheckBranding(better); err != nil {
				t.Errorf("what it suggests is refused: %v", err)
			}
		})
	}
}

func TestEveryAccentThatIsTakenHasAShadeForDarkPages(t *testing.T) {
	for n := 0; n < 1<<24; n += 0x0d0b07 {
		b := Branding{Accent: Colour{float64(n >> 16), float64(n >> 8 & 255), float64(n & 255)}.String()}
		if CheckBranding(b) != nil {
			continue
		}
		light, dark := b.Contrasts()
		if light < leastContrast || dark < leastContrast {
			t.Errorf("%s: %.2f and %.2f", b.Accent, light, dark)
		}
	}
}

func picture(w, h int, at func(x, y int) color.Color) image.Image {
	p := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			p.Set(x, y, at(x, y))
		}
	}
	return p
}

func plain(int, int) color.Color { return color.NRGBA{0x42, 0x48, 0xb8, 0xff} }

func noise(int, int) color.Color {
	return color.NRGBA{uint8(rand.Uint32()), uint8(rand.Uint32()), uint8(rand.Uint32()), uint8(rand.Uint32())}
}

func pngOf(t testing.TB, p image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func jpegOf(t testing.TB, p image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, p, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// claiming is a PNG whose header names another size than it has pixels for.
func claiming(t testing.TB, w, h uint32) []byte {
	t.Helper()
	b := pngOf(t, picture(64, 64, plain))
	binary.BigEndian.PutUint32(b[16:], w)
	binary.BigEndian.PutUint32(b[20:], h)
	binary.BigEndian.PutUint32(b[29:], crc32.ChecksumIEEE(b[12:29]))
	return b
}

const script = `<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script></svg>`

func TestOfAPictureOnlyItsPixelsAreKept(t *testing.T) {
	for name, file := range map[string][]byte{
		"a PNG":                        pngOf(t, picture(64, 64, plain)),
		"a JPEG":                       jpegOf(t, picture(640, 480, plain)),
		"a PNG with a script after it": append(pngOf(t, picture(64, 64, plain)), script...),
		"a JPEG with a page after it":  append(jpegOf(t, picture(64, 64, plain)), "<html>"+script...),
		"a large one":                  pngOf(t, picture(2048, 1024, plain)),
		"one that is half transparent": pngOf(t, picture(300, 200, func(x, y int) color.Color { return color.NRGBA{200, 10, 10, uint8(x)} })),
		"noise":                        pngOf(t, picture(100, 100, noise)),
	} {
		t.Run(name, func(t *testing.T) {
			label, kept, err := Logo("ast_1", file)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(kept, []byte("script")) || bytes.Contains(kept, []byte("<")) && name != "noise" && bytes.Contains(kept, []byte("<html")) {
				t.Error("what was beside the picture is kept")
			}
			got, format, err := image.Decode(bytes.NewReader(kept))
			if err != nil || format != "png" || got.Bounds().Dx() > logoSide || got.Bounds().Dy() > logoSide || len(kept) > maxKeptLogo {
				t.Errorf("kept is a %s of %v, %d bytes, %v", format, got.Bounds(), len(kept), err)
			}
			again, _, _ := Logo("ast_1", file)
			other, _, _ := Logo("ast_2", file)
			if label != again || label == other || len(label) != 32 {
				t.Errorf("the names are %s, %s, and of another assistant's %s", label, again, other)
			}
		})
	}
}

func TestWhatIsNoLogoIsRefused(t *testing.T) {
	for name, x := range map[string]struct {
		file []byte
		says string
	}{
		"nothing":                   {nil, "PNG or a JPEG"},
		"an SVG":                    {[]byte(script), "PNG or a JPEG"},
		"an SVG called a PNG":       {append([]byte("\x89PNG\r\n\x1a\n"), script...), "PNG or a JPEG"},
		"a GIF":                     {[]byte("GIF89a\x40\x00\x40\x00\x00\x00\x00;"), "PNG or a JPEG"},
		"half a PNG":                {pngOf(t, picture(64, 64, noise))[:3000], "damaged"},
		"one of a giant's size":     {claiming(t, 60000, 60000), "pixels on each side"},
		"one of the largest claims": {claiming(t, 2048, 2048), "damaged"},
		"nothing but detail":        {pngOf(t, picture(128, 128, noise)), "fewer details"},
		"a line":                    {pngOf(t, picture(200, 40, plain)), "about square"},
		"a dot":                     {pngOf(t, picture(1, 1, plain)), "pixels on each side"},
		"a large file":              {make([]byte, maxLogo+1), "256 kB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Logo("ast_1", x.file)
			if e, ok := err.(*Error); !ok || e.Field != "branding.logo" || !strings.Contains(e.Message, x.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzLogo(f *testing.F) {
	f.Add(pngOf(f, picture(40, 40, plain)))
	f.Add(jpegOf(f, picture(40, 40, noise)))
	f.Add([]byte(script))
	f.Fuzz(func(t *testing.T, file []byte) {
		_, kept, err := Logo("ast_1", file)
		if err != nil {
			return
		}
		if p, format, err := image.Decode(bytes.NewReader(kept)); err != nil || format != "png" || p.Bounds().Dx() > logoSide {
			t.Errorf("what is kept is %s, %v", format, err)
		}
	})
}
