package store

import (
	"reflect"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
)

func TestWhatIsPackedIsUnpackedAsItWas(t *testing.T) {
	now := time.UnixMicro(time.Now().UnixMicro()).UTC()
	for name, want := range map[string]struct {
		c  behalf.Credential
		in behalf.Inputs
	}{
		"nothing": {},
		"everything": {behalf.Credential{AccessToken: secret.New("a"), RefreshToken: secret.New("r"), IDToken: secret.New("i"), TokenType: "Bearer", Scopes: []string{"x", "y"}, ExpiresAt: now.Add(time.Hour), ObtainedAt: now,
			RefreshExpiresAt: now.Add(2 * time.Hour), Renewal: behalf.RenewByReissue, Unfinished: true, Captured: map[string]string{"instance": "https://x.example"},
			Slots: map[string]behalf.Slotted{"user": {AccessToken: secret.New("ua"), RefreshToken: secret.New("ur"), TokenType: "user", Scopes: []string{"z"}, ExpiresAt: now, ObtainedAt: now, Derived: true}, "none": {}}},
			behalf.Inputs{Fields: map[string]secret.Text{"pin": secret.New("1234"), "": {}}, Captured: map[string]string{"instance_url": "https://x.example"}, Origins: []string{"https://x.example", ""}}},
		"what few have": {c: behalf.Credential{AccessToken: secret.New("a"), ObtainedAt: now, RefreshExpiresAt: now.Add(time.Hour), Captured: map[string]string{"team": "t"}, Renewal: behalf.RenewByReissue, Unfinished: true,
			Slots: map[string]behalf.Slotted{"user": {AccessToken: secret.New("s"), ExpiresAt: now, ObtainedAt: now}}}},
		"a time before 1970": {c: behalf.Credential{ObtainedAt: time.UnixMicro(-5).UTC()}},
	} {
		c, in, err := unpackSecrets(packSecrets(want.c, want.in))
		if err != nil || !reflect.DeepEqual(c, want.c) || !reflect.DeepEqual(in, want.in) {
			t.Errorf("%s: %v", name, err)
		}
		if v := reflect.ValueOf(c); name == "everything" {
			for i := range v.NumField() {
				if v.Field(i).IsZero() {
					t.Errorf("the credential's %s is not packed, or not tested", v.Type().Field(i).Name)
				}
			}
		}
	}
}

// TestNothingOfACredentialIsForgotten fails when a credential gets a field that
// is not packed, or not sealed.
func TestNothingOfACredentialIsForgotten(t *testing.T) {
	v := reflect.ValueOf(behalf.Credential{})
	for i := range v.NumField() {
		var c behalf.Credential
		switch f := reflect.ValueOf(&c).Elem().Field(i).Addr().Interface().(type) {
		case *secret.Text:
			*f = secret.New("x")
		case *string:
			*f = "x"
		case *[]string:
			*f = []string{"x"}
		case *time.Time:
			*f = time.UnixMicro(7).UTC()
		case *map[string]behalf.Slotted:
			*f = map[string]behalf.Slotted{"x": {AccessToken: secret.New("y")}}
		case *map[string]string:
			*f = map[string]string{"x": "y"}
		case *behalf.Renewal:
			*f = behalf.RenewByReissue
		case *bool:
			*f = true
		default:
			t.Errorf("a field of a kind that this test does not know: %s", v.Type().Field(i).Name)
			continue
		}
		if got, _, err := unpackSecrets(packSecrets(c, behalf.Inputs{})); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%s is not packed as it was: %v", v.Type().Field(i).Name, err)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(packSecrets(behalf.Credential{AccessToken: secret.New("a"), Scopes: []string{"x"}}, behalf.Inputs{Origins: []string{"o"}}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, in, err := unpackSecrets(b)
		if err != nil {
			return
		}
		c2, in2, err := unpackSecrets(packSecrets(c, in))
		if err != nil || !reflect.DeepEqual(c, c2) || !reflect.DeepEqual(in, in2) {
			t.Errorf("not stable: %v", err)
		}
	})
}
