package oauth

import (
	"context"
	"net/http"
)

// OpAuthorization is an authorization request made without a browser.
const OpAuthorization Op = "authorization request"

// Visit makes an authorization request as a browser would that is not signed
// in, and returns where it is sent on to; "" where a page came. A
// page that refuses is an error.
func (c Client) Visit(ctx context.Context, authorizationRequest string) (location string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, authorizationRequest, nil)
	if err != nil || req.URL.Host == "" {
		return "", unsent(OpAuthorization, "the endpoint is not an absolute URL")
	}
	r, err := c.send(OpAuthorization, req)
	switch {
	case err != nil:
		return "", err
	case r.status >= 300 && r.status < 400:
		to, err := req.URL.Parse(r.header.Get("Location"))
		if err != nil {
			return "", r.fail(Invalid, "the redirect is not a URL")
		}
		return to.String(), nil
	case r.success():
		return "", nil
	}
	doc, _ := parseObject(r.body)
	return "", ReplyPaths{}.refused(r, doc)
}
