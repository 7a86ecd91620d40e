package behalf

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/behalf-dev/behalf/internal/oauth"
)

// diagnoses is what can be wrong, the most certain first.
var diagnoses = []diagnosis{
	// The request did not get there, or no answer came back.
	{code: "blocked_address", who: ByOperator, holds: network("not allowed by this server"),
		cause: func(e Evidence) string {
			return fmt.Sprintf("The request to %s was not let out: %s.", e.host(), strings.TrimPrefix(e.Step.Error, "dial: "))
		},
		fix: lookAt("If the address is meant, the operator allows it with --allow-private, or a connector carries the calls of this profile. If not, correct %s.")},
	{code: "connector_down", who: ByOperator, holds: func(e Evidence) bool { return e.connector() != "" && (e.Phase == "dial" || e.Phase == "tls") },
		cause: func(e Evidence) string {
			return fmt.Sprintf("The connector %q, which carries this profile's calls, did not reach %s (%s).", e.connector(), e.host(), e.Step.Error)
		},
		fix: func(e Evidence) string {
			return fmt.Sprintf("Look whether the connector %q is running and connected, and whether its allow list and its network let it reach %s.", e.connector(), e.host())
		}},
	{code: "wrong_tenant", who: ByPerson, holds: func(e Evidence) bool { return e.Tenant != "" && network("no such host")(e) },
		cause: at("There is no host %s: the tenant that was given does not exist at the provider, or it is misspelt."),
		fix:   says("Give the tenant as it stands in the address of the application. If it is right, compare tenancy.base_url with that address.")},
	{code: "dns", who: ByAdministrator, holds: network("no such host", "could not be resolved"),
		cause: at("The name %s could not be resolved."),
		fix:   lookAt("Check the spelling of the host in %s. If it is a private name, the server's DNS must know it, or a connector must carry the calls.")},
	{code: "connection_refused", who: ByAdministrator, holds: network("connection refused"),
		cause: at("Nothing listens at %s: the connection was refused."),
		fix:   lookAt("Check host and port in %s, and whether the provider is up.")},
	{code: "unreachable", who: ByOperator, holds: network(": unreachable"),
		cause: at("There is no way to %s from this server's network."),
		fix:   says("The operator looks at routes and firewalls, or a connector carries the calls of this profile.")},
	{code: "tls_name", who: ByAdministrator, holds: network("certificate is for another name"),
		cause: at("The server at %s shows a certificate of another name."),
		fix:   lookAt("Use in %s the host name that the certificate is for. An IP address or an alias of it does not do.")},
	{code: "tls_expired", who: ByProvider, holds: network("certificate has expired"),
		cause: at("The certificate of %s has expired, or is not valid yet."),
		fix:   says("The provider must renew it. If it looks valid elsewhere, the operator checks this server's clock.")},
	{code: "tls_authority", who: ByOperator, holds: network("unknown authority"),
		cause: at("The certificate of %s is signed by an authority that this server does not know."),
		fix:   says("If it is a private authority, the operator adds its certificate to this machine's trusted roots (SSL_CERT_FILE), or a connector that knows it carries the calls. If not, the provider leaves an intermediate certificate out.")},
	{code: "tls_plain", who: ByAdministrator, holds: network("does not speak TLS"),
		cause: at("The port at %s does not speak TLS, but the URL says https."),
		fix:   lookAt("Correct the port or the scheme in %s.")},
	{code: "tls", who: ByProvider, holds: func(e Evidence) bool {
		return e.Phase == "tls" || network("certificate is not valid", "refused the TLS handshake")(e)
	},
		cause: func(e Evidence) string {
			return fmt.Sprintf("No secure connection to %s could be made: %s.", e.host(), strings.TrimPrefix(e.Step.Error, "tls: "))
		},
		fix: says("The provider may want TLS settings or a client certificate that are not configured here; ask it, with this transcript.")},
	{code: "timeout", who: ByProvider, holds: network("timed out", "canceled"),
		cause: at("%s did not answer in time."),
		fix:   lookAt("Try again. If it stays so, check %s, and whether a firewall drops packets on the way.")},
	{code: "too_large", who: ByAdministrator, holds: func(e Evidence) bool { return network("larger than")(e) || e.reason("too long") },
		cause: at("The answer of %s is far larger than such an answer can be."),
		fix:   lookAt("Something else than the endpoint answers there: check %s.")},
	{code: "connection_closed", who: ByProvider, holds: func(e Evidence) bool { return e.Phase != "" || e.reason("the reply broke off") },
		cause: func(e Evidence) string {
			return fmt.Sprintf("%s ended the connection without a whole answer (%s).", e.host(), e.Step.Error)
		},
		fix: lookAt("Try again. If it stays so, something between may be in the way; check %s.")},

	// The browser came back, or did not.
	{code: "not_returned", who: ByAdministrator, holds: func(e Evidence) bool { return e.Ours != nil && e.Ours.Field == "callback" },
		cause: says("The browser was sent to the provider and did not come back in time. Mostly the provider shows an error page of its own, because it does not know the redirect URI or the client id."),
		fix: func(e Evidence) string {
			return e.redirectFix() + " And compare the client id. The quick check asks the provider without a person."
		}},
	{code: "cookie_missing", who: ByPerson, holds: func(e Evidence) bool { return e.step(StepCallback) && e.Ours != nil && e.Ours.Field == "cookie" },
		cause: says("The answer came back in a browser that is not the one that began: our cookie was not there."),
		fix:   says("Begin and end in the same browser, with cookies allowed. Behind a proxy, the public URL must be the one that the browser uses.")},
	{code: "state_lost", who: ByAdministrator, holds: func(e Evidence) bool { return e.step(StepCallback) && e.Ours != nil && e.Ours.Field == "state" },
		cause: says("The provider sent the browser back without the state that it was given, or with another one."),
		fix:   says("Look whether a fixed state stands in authorization_url, and whether something between the provider and this server changes the query. A provider that drops state cannot be used safely.")},
	{code: "declined", who: ByPerson, holds: func(e Evidence) bool { return e.kind() == oauth.Declined },
		cause: says("The person, or a rule about them at the provider, said no."),
		fix:   says("Nothing is wrong here. Try again and agree; if the provider does not even ask, its administrator must allow this client.")},
	{code: "iss_missing", who: ByAdministrator, holds: func(e Evidence) bool { return e.step(StepCallback) && e.reason("iss is missing") },
		cause: says("The profile says that the provider always names itself with iss in its answer (RFC 9207), and it did not."),
		fix:   says("Switch oauth.require_iss off, unless the provider's metadata has authorization_response_iss_parameter_supported.")},
	{code: "wrong_issuer", who: ByAdministrator, holds: func(e Evidence) bool {
		return e.step(StepCallback) && e.reason("iss is not the expected issuer") || e.idToken("iss is not")
	},
		cause: func(e Evidence) string {
			return "The provider names itself differently from the profile's issuer" + quotedIssuer(e) + "."
		},
		fix: says("Set oauth.issuer to the provider's own, character by character, the trailing slash included: it is issuer in /.well-known/openid-configuration. If it is already that, another server answered.")},

	// Which client, how and what for.
	{code: "wrong_client_auth", who: ByAdministrator, holds: func(e Evidence) bool { return e.Takes != "" && e.Takes != e.clientAuth() },
		cause: func(e Evidence) string {
			return fmt.Sprintf("The provider refuses client id and secret %s. Tried %s it takes them.", authWords[e.clientAuth()], authWords[e.Takes])
		},
		fix: func(e Evidence) string { return fmt.Sprintf("Set oauth.client_auth to %s.", e.Takes) }},
	{code: "unauthorized_client", who: ByAdministrator, holds: func(e Evidence) bool { return e.word("unauthorized_client") },
		cause: says("The provider knows this client, but does not let it do this."),
		fix:   says("At the provider, allow this client the authorization code grant and refresh tokens, and look whether it is approved, or limited to one organization.")},
	{code: "wrong_secret", who: ByAdministrator, holds: func(e Evidence) bool {
		return e.word("invalid_client", "invalid_client_id", "bad_client_secret", "incorrect_client_credentials") || e.tokenEndpoint() && e.status() == http.StatusUnauthorized
	},
		cause: func(e Evidence) string {
			return fmt.Sprintf("The provider does not take the client id and secret, sent %s: the secret is wrong or has expired, the id is another's, or it wants them elsewhere.", authWords[e.clientAuth()])
		},
		fix: func(e Evidence) string {
			return fmt.Sprintf("Copy client id and secret anew from the provider, without spaces. If they are right, set oauth.client_auth to %s: some providers read them only there.", otherAuth(e.clientAuth()))
		}},
	{code: "redirect_mismatch", who: ByAdministrator, holds: func(e Evidence) bool {
		return e.word("redirect_uri_mismatch", "invalid_redirect_uri") || e.step(StepRedirect, StepCallback, StepTokenRequest) && e.mentions("redirect_uri", "redirect uri", "redirect url", "callback url") || e.step(StepRedirect) && e.status() >= 400 && e.mentions("not registered")
	},
		cause: says("The redirect URI that was sent is not registered at the provider for this client."),
		fix:   func(e Evidence) string { return e.redirectFix() }},
	{code: "pkce_required", who: ByAdministrator, holds: func(e Evidence) bool {
		return !e.usesPKCE() && e.mentions("code_challenge", "code challenge", "code_verifier", "pkce")
	},
		cause: says("The provider demands PKCE, and the profile has it off."),
		fix:   says("Set oauth.pkce to required.")},
	{code: "pkce_unsupported", who: ByAdministrator, holds: func(e Evidence) bool {
		return e.usesPKCE() && e.step(StepRedirect, StepCallback, StepTokenRequest) && e.mentions("code_challenge", "code challenge", "code_verifier", "pkce")
	},
		cause: says("The provider does not take the PKCE parameters that were sent."),
		fix:   says("If the provider knows no PKCE, set oauth.pkce to off; it protects the code, so only then.")},
	{code: "scope_refused", who: ByAdministrator, holds: func(e Evidence) bool {
		return e.word("invalid_scope") || e.mentions("invalid_scope", "unknown scope", "invalid scope")
	},
		cause: func(e Evidence) string {
			return "The provider refuses a scope that was asked for: " + e.scopesNamed() + "."
		},
		fix: says("Compare each scope with the provider's documentation, and with what is allowed for this client there: spelling, and the separator between them.")},
	{code: "invalid_target", who: ByAdministrator, holds: func(e Evidence) bool { return e.word("invalid_target") },
		cause: says("The provider does not know the resource or audience that was asked for."),
		fix:   says("Correct the parameters audience or resource under oauth.authorization_params and oauth.token_params.")},
	{code: "unsupported_response_type", who: ByAdministrator, holds: func(e Evidence) bool { return e.word("unsupported_response_type") },
		cause: says("The provider does not answer with what was asked for (response_type)."),
		fix:   says("Set oauth.response_type to code; if it is, allow this client the authorization code grant at the provider.")},
	{code: "unsupported_grant", who: ByAdministrator, holds: func(e Evidence) bool {
		return e.word("unsupported_grant_type") || e.tokenEndpoint() && e.mentions("grant_type")
	},
		cause: says("The provider's token endpoint does not know the kind of request that was sent (grant_type)."),
		fix:   says("Check that token_url is the token endpoint, that this client may use the authorization code grant and refresh tokens, and oauth.token_body: a body in the wrong format reads as an empty one.")},

	// What the token endpoint answered.
	{code: "rate_limited", who: ByProvider, holds: func(e Evidence) bool { return e.status() == http.StatusTooManyRequests || e.kind() == oauth.Limited },
		cause: func(e Evidence) string {
			return "The provider asks to come later: too many requests, or it is overloaded." + retryAfter(e)
		},
		fix: says("Wait, and try again. If it happens often, ask the provider for a higher limit.")},
	{code: "provider_error", who: ByProvider, holds: func(e Evidence) bool {
		return e.status() >= 500 || e.step(StepCallback) && e.word("server_error", "temporarily_unavailable")
	},
		cause: func(e Evidence) string {
			if e.status() == 0 {
				return "The provider says that it failed."
			}
			return fmt.Sprintf("%s failed with status %d.", e.host(), e.status())
		},
		fix: says("Try again later. If it stays so, show the provider this transcript: some answer a wrong request so.")},
	{code: "redirected", who: ByAdministrator, holds: func(e Evidence) bool {
		return e.Err != nil && !e.step(StepRedirect) && e.status() >= 300 && e.status() < 400
	},
		cause: func(e Evidence) string {
			where := ""
			if to := e.Step.Response; to != nil && to.Headers.Get("Location") != "" {
				where = " to " + cut(to.Headers.Get("Location"), 300)
			}
			return "The address answers with a redirect" + where + ". Redirects are not followed here: they would hand the secret on."
		},
		fix: lookAt("Set %s to the final address: look at https against http, www, and a trailing slash.")},
	{code: "wrong_tenant", who: ByPerson, holds: func(e Evidence) bool { return e.Tenant != "" && e.status() == http.StatusNotFound },
		cause: at("%s knows no such address: the tenant that was given does not exist there, or it is misspelt."),
		fix:   says("Give the tenant as it stands in the address of the application. If it is right, the URLs of the profile are wrong.")},
	{code: "not_found", who: ByAdministrator, holds: func(e Evidence) bool { return e.status() == http.StatusNotFound || e.status() == http.StatusGone },
		cause: at("%s has nothing at this address (404)."),
		fix:   lookAt("Correct %s: compare it with the provider's documentation, or let discovery fill it.")},
	{code: "wrong_method", who: ByAdministrator, holds: func(e Evidence) bool { return e.status() == http.StatusMethodNotAllowed },
		cause: func(e Evidence) string {
			return "The address does not take this kind of request (405" + allowed(e) + "): it is probably another endpoint."
		},
		fix: lookAt("Correct %s: it may be the authorization URL or a page, not the endpoint.")},
	{code: "wrong_body", who: ByAdministrator, holds: func(e Evidence) bool {
		return e.status() == http.StatusUnsupportedMediaType || e.tokenEndpoint() && e.status() == http.StatusBadRequest && e.mentions("content-type", "content type", "media type", "application/json", "x-www-form-urlencoded")
	},
		cause: func(e Evidence) string {
			return fmt.Sprintf("The provider does not take the format of the body, which was %s.", e.bodyFormat())
		},
		fix: func(e Evidence) string {
			other := "json"
			if e.bodyFormat() == "json" {
				other = "form"
			}
			return "Set oauth.token_body to " + other + "."
		}},
	{code: "error_200", who: ByAdministrator, holds: func(e Evidence) bool {
		return e.Err != nil && e.Err.Code != "" && e.status() >= 200 && e.status() < 300
	},
		cause: func(e Evidence) string {
			return fmt.Sprintf("The provider refused with the word %q, and said so with status %d, which would mean success.", e.Err.Code, e.status())
		},
		fix: says("Look up this word in the provider's documentation; it is what has to be mended. That the status is a success is known here and does no harm.")},
	{code: "login_refused", who: ByPerson, holds: func(e Evidence) bool {
		return e.step(StepTokenRequest) && e.word("invalid_grant") && e.kindOf(OAuth2Password)
	},
		cause: says("The provider does not take the username or the password that was entered."),
		fix:   says("Enter them again. If they are right, the account may need a second factor or be barred from this grant at the provider: use the type oauth2 (authorization code) if the application offers it.")},
	{code: "code_refused", who: ByAdministrator, holds: func(e Evidence) bool {
		return e.step(StepTokenRequest) && e.word("invalid_grant", "bad_verification_code")
	},
		cause: func(e Evidence) string {
			cause := "The provider does not take the code: it has expired or was used, belongs to another client or redirect URI, or its PKCE verifier does not fit."
			if e.skewed() {
				cause += " Its clock and ours are " + apart(e) + " apart."
			}
			return cause
		},
		fix: func(e Evidence) string {
			return "Try again once. If it stays so, check that client_id is the same in both URLs' application, and the redirect URI. " + e.redirectFix()
		}},
	{code: "refresh_refused", who: ByPerson, holds: func(e Evidence) bool { return e.step(StepRefresh) && e.kind() == oauth.Refused },
		cause: says("The provider no longer takes the refresh token: the person withdrew access, a password or rule changed there, it was unused for too long, or it was used elsewhere."),
		fix:   says("The person must authorize again. If it happens soon after each authorization, look whether another program uses the same client, and at oauth.refresh.")},
	{code: "html_reply", who: ByAdministrator, holds: func(e Evidence) bool { return e.Err != nil && e.html() && !e.step(StepRedirect) },
		cause: func(e Evidence) string {
			return fmt.Sprintf("A web page came back (status %d) where JSON was expected: this is an address for people, or something in between answers.", e.status())
		},
		fix: lookAt("Correct %s: it may be a login page, the authorization URL, or a firewall's page.")},
	{code: "token_elsewhere", who: ByAdministrator, holds: func(e Evidence) bool {
		return e.tokenEndpoint() && e.reason("no access_token") && e.nested() != ""
	},
		cause: func(e Evidence) string {
			return fmt.Sprintf("The reply has a token, but not at its top: it stands at %s.", e.nested())
		},
		fix: func(e Evidence) string {
			return fmt.Sprintf("Set oauth.token.reply.access_token to %s, and refresh_token, expires_in and scope in the same way where they stand beside it.", e.nested())
		}},
	{code: "no_token", who: ByAdministrator, holds: func(e Evidence) bool { return e.tokenEndpoint() && e.reason("no access_token") },
		cause: says("The reply is a success without an access token."),
		fix:   says("Compare the reply with the provider's documentation of its token endpoint; token_url may be another endpoint.")},
	{code: "empty_reply", who: ByProvider, holds: func(e Evidence) bool {
		return e.reason("neither a JSON object nor a form") && e.Step.Response != nil && e.Step.Response.Body == ""
	},
		cause: at("%s answered with success and nothing in it."),
		fix:   lookAt("Check %s; if it is right, show the provider this transcript.")},
	{code: "broken_reply", who: ByProvider, holds: func(e Evidence) bool {
		return e.reason("neither a JSON object nor a form", "is not a JSON object", "more than once", "is not a string", "characters that are not allowed")
	},
		cause: func(e Evidence) string { return "The reply cannot be read: " + e.Err.Reason + "." },
		fix:   lookAt("Check %s; if it is right, show the provider this transcript.")},

	// What was validated.
	{code: "scopes_missing", who: ByPerson, holds: func(e Evidence) bool { return len(e.Missing) > 0 },
		cause: func(e Evidence) string {
			return "The provider granted less than the profile requires. Missing: " + strings.Join(e.Missing, ", ") + "."
		},
		fix: says("The person agrees to everything on the provider's page; or this client is allowed these scopes there; or they are no longer marked as required.")},
	{code: "clock_skew", who: ByOperator, holds: func(e Evidence) bool {
		return e.skewed() && e.idToken("exp has passed", "from the future") || e.idToken("iat is in the future")
	},
		cause: func(e Evidence) string {
			if !e.skewed() {
				return "The ID token is from the future: the provider's clock is ahead of ours."
			}
			return "The ID token does not fit the time: the provider's clock and this server's are " + apart(e) + " apart."
		},
		fix: says("The operator sets this server's clock (NTP). If it is right, the provider's is wrong.")},
	{code: "id_token_expired", who: ByProvider, holds: func(e Evidence) bool { return e.idToken("exp has passed") },
		cause: says("The ID token had expired when it came."),
		fix:   says("Try again. If it stays so, the provider hands out old ID tokens, or its clock is behind.")},
	{code: "id_token_audience", who: ByAdministrator, holds: func(e Evidence) bool { return e.idToken("aud ", "azp ") },
		cause: says("The ID token was issued for another client."),
		fix:   says("Compare client_id with the provider's: it must be the id that ID tokens name as aud.")},
	{code: "id_token_nonce", who: ByProvider, holds: func(e Evidence) bool { return e.idToken("nonce") },
		cause: says("The ID token does not carry this request's nonce: it was made for another login, or the provider leaves it out."),
		fix:   says("Begin again without an older tab. If it stays so, the provider does not follow OpenID Connect here; ask without the scope openid, and use userinfo_url or check_url instead.")},
	{code: "id_token_missing", who: ByAdministrator, holds: func(e Evidence) bool { return e.idToken("malformed") && !e.sentIDToken() },
		cause: says("The scope openid was asked for, and no readable ID token came."),
		fix:   says("Allow this client OpenID Connect at the provider, or take the scope openid away.")},
	{code: "id_token_signature", who: ByAdministrator, holds: func(e Evidence) bool {
		return e.idToken("signature", "algorithm", "key set", "keys cannot", "malformed", "JWKS")
	},
		cause: func(e Evidence) string { return "The ID token cannot be verified: " + e.Err.Reason + "." },
		fix:   says("Set oauth.jwks_url to jwks_uri of the provider's /.well-known/openid-configuration.")},
	{code: "id_token", who: ByProvider, holds: func(e Evidence) bool { return e.Err != nil && e.Err.Op == oauth.OpIDToken },
		cause: func(e Evidence) string { return "The ID token cannot be trusted: " + e.Err.Reason + "." },
		fix:   says("If it happens again, show the provider this transcript.")},
	{code: "other_subject", who: ByProvider, holds: func(e Evidence) bool { return e.reason("subject is not the ID token's", "sub is not the connection's") },
		cause: says("Two answers name two different people: the token may be somebody else's."),
		fix:   says("Try again. If it stays so, oauth.userinfo_url belongs to another server, or the provider mixes accounts up.")},
	{code: "no_subject", who: ByAdministrator, holds: func(e Evidence) bool { return e.reason("names no subject") },
		cause: says("The answer does not say whose account it is (sub is missing)."),
		fix:   says("Use check_url for an address like this one; oauth.userinfo_url must be an OpenID Connect one.")},
	{code: "entered_refused", who: ByPerson, holds: func(e Evidence) bool {
		return e.step(StepCheck, StepValidation) && e.status() == http.StatusUnauthorized && e.kindOf(APIKey, Basic)
	},
		cause: func(e Evidence) string {
			return fmt.Sprintf("%s refuses what was entered with status %d.", e.host(), e.status())
		},
		fix: func(e Evidence) string {
			return fmt.Sprintf("Enter it again, without spaces. If it is right, an administrator checks that %s is an address for it, and that the authorization fields put {{%s}} where this API reads it.",
				e.urlField(), strings.Join(e.Plan.Type.enters(), "}} and {{"))
		}},
	{code: "check_refused", who: ByAdministrator, holds: func(e Evidence) bool {
		return e.step(StepCheck, StepValidation) && (e.status() == http.StatusUnauthorized || e.status() == http.StatusForbidden)
	},
		cause: func(e Evidence) string {
			return fmt.Sprintf("The provider issued a token, and %s refuses it with status %d.", e.host(), e.status())
		},
		fix: func(e Evidence) string {
			return fmt.Sprintf("Check that %s is an address for this token: that the scopes allow it (they may lack one), and that the authorization fields put the token where this API reads it.", e.urlField())
		}},
	{code: "check_failed", who: ByAdministrator, holds: func(e Evidence) bool { return e.Err != nil && e.step(StepCheck) },
		cause: func(e Evidence) string {
			return fmt.Sprintf("The check did not answer with success (status %d).", e.status())
		},
		fix: says("Set check_url to an address that answers 2xx to everybody who is signed in, such as the person's own account.")},
	{code: "revocation_failed", who: ByAdministrator, holds: func(e Evidence) bool { return e.Err != nil && e.step(StepRevocation) },
		cause: says("The provider did not revoke the token."),
		fix:   says("Compare oauth.revocation_url and the provider's way of revoking with its documentation. Until then a disconnect ends the connection here only.")},

	// Calls of a connection.
	{code: "call_refused", who: ByPerson, holds: func(e Evidence) bool { return e.step(StepCall) && e.status() == http.StatusUnauthorized },
		cause: says("The application refuses the access token, also after a refresh where one was possible."),
		fix:   says("The person authorizes again. If new connections are refused too, an administrator looks at the authorization fields: the token may be expected elsewhere.")},
	{code: "call_forbidden", who: ByAdministrator, holds: func(e Evidence) bool { return e.step(StepCall) && e.status() == http.StatusForbidden },
		cause: says("The application knows the person and does not let them do this."),
		fix:   says("Compare the scopes that were granted with what this call needs, and the person's own rights in the application.")},

	// What is left.
	{code: "authorization_refused", who: ByAdministrator, holds: func(e Evidence) bool { return e.Err != nil && e.step(StepRedirect) },
		cause: func(e Evidence) string {
			return fmt.Sprintf("%s does not take the authorization request, and says so on a page of its own (status %d).", e.host(), e.status())
		},
		fix: func(e Evidence) string { return "Compare client_id with the provider's. " + e.redirectFix() }},
	{code: "profile", who: ByAdministrator, holds: func(e Evidence) bool { return e.Ours != nil },
		cause: func(e Evidence) string { return e.Ours.Message },
		fix:   says("Mend the authorization profile, or what was entered, and test again.")},
	{code: "refused", who: ByAdministrator, holds: func(e Evidence) bool { return e.Err != nil && e.Err.Code != "" },
		cause: func(e Evidence) string { return fmt.Sprintf("The provider refused with the word %q.", e.Err.Code) },
		fix:   says("Look up this word in the provider's documentation; what it says stands in the step.")},
	{code: "unexpected", who: ByAdministrator, holds: func(e Evidence) bool { return true },
		cause: func(e Evidence) string {
			if e.Err != nil {
				return "It did not succeed: " + e.Err.Reason + "."
			}
			return fmt.Sprintf("It did not succeed (status %d).", e.status())
		},
		fix: says("Compare what was sent and received with the provider's documentation.")},

	// What is remarkable about a step that passed.
	{code: "no_refresh_token", who: ByAdministrator, advice: true, holds: func(e Evidence) bool { return e.step(StepTokenRequest) && e.NoRefresh },
		cause: says("No refresh token came: when the access token ends, the person must authorize again."),
		fix: func(e Evidence) string {
			return "Ask for one as this provider wants it: the scope offline_access (OpenID Connect and many others), or the parameters access_type=offline and prompt=consent under oauth.authorization_params. Some give one only where the client is allowed it."
		}},
	{code: "form_reply", who: ByProvider, advice: true, holds: func(e Evidence) bool {
		return e.tokenEndpoint() && e.Step.Response != nil && strings.HasPrefix(e.Step.Response.Headers.Get("Content-Type"), "application/x-www-form-urlencoded")
	},
		cause: says("The reply is form-encoded instead of JSON."),
		fix:   says("Nothing has to be done: it was read all the same.")},
	{code: "clock_skew", who: ByOperator, advice: true, holds: func(e Evidence) bool { return e.skewed() },
		cause: func(e Evidence) string { return "The provider's clock and this server's are " + apart(e) + " apart." },
		fix:   says("The operator checks this server's clock (NTP): tokens may be taken for good or bad at the wrong time.")},
}

func quotedIssuer(e Evidence) string {
	if e.Plan == nil || e.Plan.OAuth.Issuer == "" {
		return ""
	}
	return " (" + e.Plan.OAuth.Issuer + ")"
}

func retryAfter(e Evidence) string {
	if e.Err == nil || e.Err.RetryAfter <= 0 {
		return ""
	}
	return fmt.Sprintf(" It names %s.", e.Err.RetryAfter.Round(time.Second))
}

func allowed(e Evidence) string {
	if e.Step.Response == nil || e.Step.Response.Headers.Get("Allow") == "" {
		return ""
	}
	return ", it takes " + cut(e.Step.Response.Headers.Get("Allow"), 100)
}

func apart(e Evidence) string {
	d := e.Drift
	if d < 0 {
		d = -d
	}
	return d.Round(time.Minute).String()
}

func (e Evidence) bodyFormat() string {
	if e.Plan != nil && e.Plan.OAuth.TokenBody != "" {
		return e.Plan.OAuth.TokenBody
	}
	return "form"
}

// sentIDToken reports whether the token reply before had an ID token.
func (e Evidence) sentIDToken() bool { return e.HasIDToken }
