package behalf_test

import (
	"slices"
	"testing"

	"github.com/behalf-dev/behalf"
)

func TestTheLinterKnowsTheShapes(t *testing.T) {
	has := func(d behalf.Definition, code behalf.WarningCode) bool {
		return slices.ContainsFunc(behalf.Lint(d, behalf.Known{}), func(w behalf.Warning) bool { return w.Code == code })
	}
	for name, test := range map[string]struct {
		change func(*behalf.Definition)
		code   behalf.WarningCode
		cure   func(*behalf.Definition)
	}{
		"a state that is not read back": {func(d *behalf.Definition) { d.OAuth.Authorize.Rename = map[string]string{"state": "x"} }, behalf.WarnStateNotRead,
			func(d *behalf.Definition) { d.OAuth.Callback.StateParam = "x" }},
		"a plain challenge": {func(d *behalf.Definition) { d.OAuth.PKCEMethod = "plain" }, behalf.WarnPKCEPlain, func(d *behalf.Definition) { d.OAuth.PKCEMethod = "S256-hex" }},
		"a token that renews itself too late": {func(d *behalf.Definition) { d.OAuth.Refresh.Grant = "access_token" }, behalf.WarnLateRenewal,
			func(d *behalf.Definition) { d.OAuth.Refresh.Buffer = 604800 }},
		"a buffer longer than the life": {func(d *behalf.Definition) { d.OAuth.TokenLifetime, d.OAuth.Refresh.Buffer = 60, 60 }, behalf.WarnBuffer,
			func(d *behalf.Definition) { d.OAuth.Refresh.Buffer = 10 }},
		"a captured value that nothing uses": {func(d *behalf.Definition) {
			d.OAuth.Callback.Capture = []behalf.Capture{{Name: "realm", Param: "realmId"}}
		}, behalf.WarnCaptureUnused,
			func(d *behalf.Definition) { d.OAuth.TokenParams = []behalf.Param{{Key: "realm", Value: "{{realm}}"}} }},
		"a token that is captured in the open": {func(d *behalf.Definition) {
			d.OAuth.Token.Capture = []behalf.Capture{{Name: "again", JSON: "/access_token"}}
		}, "captured_secret",
			func(d *behalf.Definition) { d.OAuth.Token.Capture[0].Secret = true }},
		"a field that only a step uses": {func(d *behalf.Definition) { d.AdditionalFields = []behalf.AdditionalField{{Key: "pin"}} }, behalf.WarnFieldUnused,
			func(d *behalf.Definition) {
				d.OAuth.AfterToken = []behalf.Step{{Name: "s", URL: d.TokenURL, Params: []behalf.Param{{Key: "pin", Value: "{{pin}}"}}}}
			}},
		"a lifetime that is introspected": {func(*behalf.Definition) {}, behalf.WarnNoLifetime, func(d *behalf.Definition) { d.OAuth.IntrospectionURL = "https://auth.acorn.example/introspect" }},
		"no way to take it back":          {func(*behalf.Definition) {}, behalf.WarnNoRevocation, func(d *behalf.Definition) { d.OAuth.Revoke.ManageURL = "https://acorn.example/apps" }},
	} {
		t.Run(name, func(t *testing.T) {
			d := acorn()
			test.change(&d)
			if !has(d, test.code) {
				t.Fatalf("no %s: %v", test.code, behalf.Lint(d, behalf.Known{}))
			}
			test.cure(&d)
			compile(t, d)
			if has(d, test.code) {
				t.Fatalf("%s stays", test.code)
			}
		})
	}
}
