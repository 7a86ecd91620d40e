package oauth

import (
	"context"
	"net/http"

	"github.com/behalf-dev/behalf/internal/secret"
)

// Claims say who authorized, as far as the provider tells.
type Claims struct {
	Subject string // the provider's stable id of the person
	Email   string // as claimed; nothing here proves it
	Name    string
	Raw     secret.Text // the whole JSON object
}

// Userinfo asks who the access token is for (OpenID Connect Core §5.3). Where
// an ID token came with it, its subject is given and must be the reply's too:
// else the access token may be another person's (§5.3.2). "" asks for nobody
// in particular.
func (c Client) Userinfo(ctx context.Context, accessToken secret.Text, subject string) (Claims, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.UserinfoURL, nil)
	if err != nil || req.URL.Host == "" {
		return Claims{}, unsent(OpUserinfo, "the endpoint is not an absolute URL")
	}
	req.Header.Set("Authorization", "Bearer "+accessToken.Reveal())
	r, err := c.ask(OpUserinfo, req, accessToken)
	if err != nil {
		return Claims{}, err
	}
	doc, err := parseObject(r.body)
	switch {
	case err != nil:
		return Claims{}, r.fail(Invalid, "the reply is not a JSON object")
	case ReplyPaths{}.failed(doc):
		return Claims{}, ReplyPaths{}.refused(r, doc)
	}
	claims := c.Identity.claims(doc, r.body)
	switch {
	case claims.Subject == "":
		return Claims{}, r.fail(Invalid, "the reply names no subject")
	case subject != "" && claims.Subject != subject:
		return Claims{}, r.fail(Protocol, "the reply's subject is not the ID token's")
	}
	return claims, nil
}

// Check sends a request that the caller has filled with the credential and
// reports whether the provider takes it: any 2xx status. Claims hold what the
// reply tells, which may be nothing. The secrets are those in the request; they
// are kept out of the error.
func (c Client) Check(req *http.Request, secrets ...secret.Text) (Claims, error) {
	r, err := c.ask(OpCheck, req.Clone(req.Context()), secrets...)
	if err != nil {
		return Claims{}, err
	}
	doc, err := parseObject(r.body)
	if err != nil {
		return Claims{}, nil
	}
	if (ReplyPaths{}).failed(doc) {
		return Claims{}, ReplyPaths{}.refused(r, doc)
	}
	return c.Identity.claims(doc, r.body), nil
}

// ask makes a request to a resource, where a refusal is of the token (RFC 6750 §3.1).
func (c Client) ask(op Op, req *http.Request, secrets ...secret.Text) (reply, error) {
	r, err := c.send(op, req, secrets...)
	if err != nil || r.success() {
		return r, err
	}
	doc, _ := parseObject(r.body)
	e := ReplyPaths{}.refused(r, doc)
	if r.status == http.StatusUnauthorized || r.status == http.StatusForbidden {
		e.Kind = Refused // some servers answer a bad token with 403
	}
	return reply{}, e
}

func (p IdentityPaths) claims(doc document, body []byte) Claims {
	return Claims{
		Subject: doc.claim(or(p.Subject, "/sub")),
		Email:   doc.claim(or(p.Email, "/email")),
		Name:    doc.claim(or(p.Name, "/name")),
		Raw:     secret.New(string(body)),
	}
}

// claim returns what stands there as it is, or nothing: a subject that was cut
// short could be somebody else's.
func (doc document) claim(pointer string) string {
	s := text(doc.at(pointer))
	if len(s) > maxClaim || s != clean(s, maxClaim, nil) {
		return ""
	}
	return s
}

const maxClaim = 500
