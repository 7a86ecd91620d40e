package oauth

import (
	"maps"
	"slices"
	"strings"
)

// tokenNames are what members are called that hold an access token.
var tokenNames = []string{"access_token", "accessToken", "AccessToken", "token", "authToken", "auth_token"}

// tokenElsewhere returns the pointer (RFC 6901) at which a reply holds what looks
// like an access token, the nearest first; "" where there is none. The names in it
// are the provider's own: one that is long or odd is not repeated.
func tokenElsewhere(doc any) string {
	for depth := range 4 {
		if p := tokenBelow(doc, "", depth); p != "" {
			return p
		}
	}
	return ""
}

func tokenBelow(v any, at string, depth int) string {
	object, ok := v.(document)
	if !ok {
		return ""
	}
	if depth == 0 {
		for _, name := range tokenNames {
			if s, ok := object[name].(string); ok && s != "" {
				return at + "/" + name
			}
		}
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if len(name) > 64 || name != clean(name, 64, nil) {
			continue
		}
		escaped := strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		if p := tokenBelow(object[name], at+"/"+escaped, depth-1); p != "" {
			return p
		}
	}
	return ""
}
