package expand

import (
	"errors"
	"slices"
	"testing"
)

func TestFillPathParams(t *testing.T) {
	params := map[string]string{"key": "a/b c", "id": "7", "uuid": "u", "tenant": "evil", "empty": "", "dots": "{id}"}
	for _, tt := range []struct {
		name, path, want string
		missing          []string
	}{
		{"no parameter", "/a/b", "/a/b", nil},
		{"an empty path", "", "", nil},
		{"a parameter is one segment", "/x/{key}/y", "/x/a%2Fb%20c/y", nil},
		{"encoded braces of either case", "/%7Bkey%7D/%7bid%7d/{id%7D", "/a%2Fb%20c/7/7", nil},
		{"a part of a segment", "/v{id}.json", "/v7.json", nil},
		{"two in a segment", "/{id}-{id}", "/7-7", nil},
		{"a function's name is a key here", "/{uuid}", "/u", nil},
		{"a value is not filled again", "/{dots}", "/%7Bid%7D", nil},
		{"missing ones are listed once, in order, and stay", "/{b}/{a}/%7Bb%7D/{id}", "/{b}/{a}/%7Bb%7D/7", []string{"b", "a"}},
		{"an empty value is missing", "/{empty}", "/{empty}", []string{"empty"}},
		{"the tenant is reserved", "/{tenant}/{id}", "/{tenant}/7", []string{"tenant"}},
		{"braces that hold no key stay", "/{}/{a b}/{/}/{{id}}/%7B", "/{}/{a b}/{/}/{7}/%7B", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, missing, err := FillPathParams(tt.path, params)
			if err != nil || got != tt.want || !slices.Equal(missing, tt.missing) {
				t.Fatalf("got %q, %q, %v; want %q, %q", got, missing, err, tt.want, tt.missing)
			}
		})
	}
}

func TestAPathParameterThatClimbsIsRefused(t *testing.T) {
	for _, tt := range []struct{ path, value string }{
		{"/a/{key}/b", "."}, {"/a/{key}/b", ".."}, {"/a/%7Bkey%7D", "../x"}, {"/{key}", `x\..`}, {"/.{key}", "."}, {"/%2e{key}", "."},
		{"/{key};v=1", ".."}, {"/{key}{key}", "."}, {"/{key}", "a\x00"}, {"/{key}", "a\r\nb"}, {"/{key}", "\xff"},
	} {
		_, _, err := FillPathParams(tt.path, map[string]string{"key": tt.value})
		var refused *ValueError
		if !errors.As(err, &refused) || refused.Name != "key" || refused.Position != Path {
			t.Errorf("%q in %s: %v", tt.value, tt.path, err)
		}
	}
}
