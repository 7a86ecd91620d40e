package oauth

import (
	"errors"
	"net/http"
)

// ClientRefused reports whether the server has refused the client's proof
// itself (RFC 6749 §5.2): another of its secrets may be taken. Nothing was spent.
func ClientRefused(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.Kind != ClientFault || !e.Written {
		return false
	}
	return e.Code == "invalid_client" || e.Status == http.StatusUnauthorized
}
