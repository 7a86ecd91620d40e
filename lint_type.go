package behalf

import "slices"

const (
	WarnPasswordGrant WarningCode = "password_grant"
	WarnPasswordKept  WarningCode = "password_kept"
	WarnKeyAsBearer   WarningCode = "key_as_bearer"
)

// kinds looks at what is particular to the authorization type.
func (l *linter) kinds() {
	switch l.d.Type {
	case OAuth2Password:
		l.warn("type", WarnPasswordGrant, "People type their password of the application into a page of ours, not of the application's: they cannot see that it is safe to, and a second factor does not work (RFC 9700 §2.4).",
			"Use oauth2 (authorization code), if the application offers it.")
		if l.d.Reissues() {
			l.warn("oauth.refresh.grant", WarnPasswordKept, "Each person's password is kept, sealed, for as long as they are connected: it gets each new token.", "Leave refresh.grant out, if the application gives refresh tokens.")
		}
	case APIKey:
		if l.d.SendsToken() && !l.holds(FieldKey) {
			l.warn("authorization_fields", WarnKeyAsBearer, "The key goes on every call as the header Authorization: Bearer, because no authorization field says otherwise.", "Add a field with {{key}} where the application wants it, such as the header X-Api-Key.")
		}
	}
	if !l.issuesTokens() && !l.d.SendsToken() && !slices.ContainsFunc(l.d.Type.own(), func(f AdditionalField) bool { return l.holds(f.Key) }) {
		l.warn("authorization_fields", WarnTokenNotSent, "Calls go out without what the person entered: no authorization field holds it.", "Add a field with {{"+l.d.Type.own()[0].Key+"}}, or leave send_token on.")
	}
}

// holds reports whether an authorization field uses a placeholder.
func (l *linter) holds(name string) bool {
	return slices.ContainsFunc(l.d.AuthorizationFields, func(f AuthorizationField) bool { return slices.Contains(names(f.Value), name) })
}
