package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/behalf-dev/behalf/internal/secret"
)

type holder struct {
	Public secret.Text
	hidden secret.Text
	many   map[string]secret.Text
	point  *secret.Text
}

func TestNothingPrintsAText(t *testing.T) {
	const canary = "canary-5f1d"
	s := secret.New(canary)
	h := holder{Public: s, hidden: s, many: map[string]secret.Text{"a": s}, point: &s}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", h)
		fmt.Fprintf(&out, verb+"\n", &h)
	}
	fmt.Fprintln(&out, fmt.Errorf("wrapped: %v %w", s, fmt.Errorf("inner %s", s)))
	b, err := json.Marshal(map[string]any{"s": s, "h": h})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", s, "h", h, slog.Group("g", "s", s))
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", s, "h", h, slog.Group("g", "s", s))
	out.Write(log.Bytes())
	if strings.Contains(out.String(), canary) || strings.Contains(out.String(), fmt.Sprintf("%x", canary)) {
		t.Fatalf("a secret was printed:\n%s", out.String())
	}
	if s.Reveal() != canary {
		t.Fatal("Reveal lost the secret")
	}
}

func TestTextComesFromJSONAndDoesNotGoBack(t *testing.T) {
	var v struct{ S secret.Text }
	if err := json.Unmarshal([]byte(`{"S":"abc"}`), &v); err != nil || v.S.Reveal() != "abc" {
		t.Fatal(v.S.Reveal(), err)
	}
	b, _ := json.Marshal(v)
	if string(b) != `{"S":"[secret]"}` {
		t.Fatal(string(b))
	}
}

func TestEquality(t *testing.T) {
	a := secret.NewKey("bhf_")
	if !secret.HashEqual(a, secret.Hash(a)) || secret.HashEqual(secret.Random(), secret.Hash(a)) {
		t.Fatal("hash equality")
	}
	if secret.HashEqual(secret.Text{}, secret.Hash(secret.Text{})) {
		t.Fatal("no secret must equal nothing")
	}
	if !a.Equal(secret.New(a.Reveal())) || a.Equal(secret.Random()) {
		t.Fatal("equality")
	}
	if len(secret.Random().Reveal()) != 43 {
		t.Fatal("random bits")
	}
}
