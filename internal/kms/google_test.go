package kms

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
)

// googleServer answers as cloud.google.com/kms/docs/reference/rest describes: it
// wraps by putting what it was told about in front.
func googleServer(t *testing.T, garble *bool) googleKey {
	const name = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ask struct {
			Plaintext, Ciphertext, AdditionalAuthenticatedData                   []byte
			PlaintextCrc32c, CiphertextCrc32c, AdditionalAuthenticatedDataCrc32c string
		}
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &ask); err != nil || ask.AdditionalAuthenticatedDataCrc32c != checksum(ask.AdditionalAuthenticatedData) {
			t.Error("it asked for what Google does not understand", err)
		}
		wrapped := append(append([]byte{}, ask.AdditionalAuthenticatedData...), ask.Plaintext...)
		plain, ok := bytes.CutPrefix(ask.Ciphertext, ask.AdditionalAuthenticatedData)
		answer := map[string]any{"name": name + "/cryptoKeyVersions/1", "ciphertext": wrapped, "ciphertextCrc32c": checksum(wrapped),
			"verifiedPlaintextCrc32c": ask.PlaintextCrc32c == checksum(ask.Plaintext), "verifiedAdditionalAuthenticatedDataCrc32c": true}
		switch {
		case r.URL.Path == "/v1/"+name+":decrypt" && !ok:
			w.WriteHeader(http.StatusBadRequest)
			answer = map[string]any{"error": map[string]any{"code": 400, "message": "Decryption failed: the ciphertext is invalid.", "status": "INVALID_ARGUMENT"}}
		case r.URL.Path == "/v1/"+name+":decrypt":
			answer = map[string]any{"plaintext": plain, "plaintextCrc32c": checksum(plain)}
			if *garble {
				answer["plaintext"] = []byte("else")
			}
		case r.URL.Path != "/v1/"+name+":encrypt":
			w.WriteHeader(http.StatusNotFound)
		case *garble:
			answer["ciphertext"] = []byte("else")
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(s.Close)
	return googleKey{s.URL, name, s.Client()}
}

func TestGooglesAnswersAreReadAndChecked(t *testing.T) {
	garble := false
	k := &Key{uri: "gcp-kms://k", asks: googleServer(t, &garble), cfg: Config{Log: slog.New(slog.DiscardHandler)}}
	wrapped, err := k.EncryptWithContext(t.Context(), []byte("secret"), []byte("about"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.DecryptWithContext(t.Context(), wrapped, []byte("about"))
	if err != nil || string(got) != "secret" {
		t.Fatal(string(got), err)
	}
	if _, err := k.DecryptWithContext(t.Context(), wrapped, []byte("other")); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	garble = true
	if _, err := k.EncryptWithContext(t.Context(), []byte("secret"), []byte("about")); !errors.Is(err, errGarbled) {
		t.Error(err)
	}
	if _, err := k.DecryptWithContext(t.Context(), wrapped, []byte("about")); !errors.Is(err, errGarbled) {
		t.Error(err)
	}
}
