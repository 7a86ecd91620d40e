// Package simulator is a provider in one http.Handler: "Acorn Notes", an OAuth
// 2.0 and OpenID Connect authorization server with sign-in and consent pages and
// a small protected API, and switches for what real providers do wrong. It
// serves the demo, tests and benchmarks.
//
// Well behaved, it demands PKCE with S256, compares redirect URIs exactly, sends
// iss in the authorization response (RFC 9207), rotates refresh tokens and takes
// the reuse of one for theft. Endpoints: /authorize, /token, /userinfo,
// /introspect (RFC 7662), /revoke (RFC 7009), /jwks and both /.well-known/
// documents. The API below /api/: me, notes, notes/{id}, echo, stream?n=&ms=,
// bytes?n=, upload, slow?ms=, redirect?to=. Some of it is below /keyed/ for an API
// key and below /login/ for HTTP Basic.
//
// Other processes steer it by JSON: GET and PUT /_simulator/switches, POST
// /_simulator/reset, POST /_simulator/redirect-uris {client_id, redirect_uri}, GET
// /_simulator/stats (?grants=false), GET /_simulator/log, and POST
// /_simulator/expire, which ends every access token there is.
//
// What real providers demand and say differently from the RFCs is no switch each
// but one table, the Dialect: which routes there are, what each demands (and
// refuses to do without) and how it answers. {"dialect": {"routes": [{"at": "POST
// /oauth/token", "does": "code", "wants": {"body": "json"}}]}} makes a provider
// that takes codes as JSON, there and nowhere else.
//
// The switches, by JSON name. "n" is a number, "t" a text, otherwise true or
// false. A switch under "settings" is a manner of the provider and lasts; the
// others are faults, and times limits them to the next n requests they touch.
//
//	times                         n: the faults end after so many requests that they touch
//
//	Token endpoint, nothing is issued (the first that is on answers)
//	token_hang                    no answer until the client gives up
//	token_reset                   the connection is reset
//	answer                        {"status", "content_type", "headers", "body"} is the answer
//	redirect_token_endpoint       t: 307 to this address; /token/moved works and counts who follows
//	rate_limit                    t: 429 with this Retry-After; date (in 30 s), absurd (ten years), none
//	unavailable                   t: 503 with HTML and Retry-After as above
//	invalid_client                401 invalid_client: the secret has expired
//	error_200                     t: this error with status 200
//	refresh_error                 t: refreshes get 400 with this error; empty_400, html_500
//	spurious_invalid_grant_once   the first refresh of each grant is refused, its token stays good
//
//	Token endpoint, time and connection
//	token_delay_ms                n: wait before anything happens, even if the client leaves
//	token_delay_after_ms          n: wait between commit and answer
//	token_drip_ms                 n: one byte of the answer every n ms
//	commit_then_close             issue (rotate), then close the connection without an answer
//	commit_then_500               issue (rotate), then answer 500 with HTML
//
//	Token endpoint, bytes of a successful answer (the first that is on; after the commit)
//	garbage_html                  an HTML page with status 200
//	empty_body                    nothing with status 200
//	truncated_json                the first half
//	big_body                      10 MiB of padding before the tokens
//	gzip_bomb                     the answer, then 1 GiB of spaces, as 1 MiB of gzip
//	wrong_charset                 ISO 8859-1 in it, so no UTF-8
//	deep_json                     100,000 nested lists before the tokens
//	duplicate_keys                a false access_token before the true one
//	form_reply                    form-encoded instead of JSON
//	json_as_text_plain            Content-Type text/plain
//
//	Token endpoint, members of a successful answer (all that are on)
//	success_status                n: this status instead of 200
//	no_expires_in                 without expires_in
//	expires_in_string             expires_in is a text
//	expires_in_negative           expires_in is -1
//	expires_in_huge               expires_in is 1e12
//	no_refresh_token_on_exchange  no refresh token for a code
//	no_refresh_token_on_refresh   no new refresh token; the old one stays good
//	empty_refresh_token           refresh_token is "" on refresh; the old one stays good
//	no_scope                      without scope
//	narrow_scope                  t: the token has only these of the scopes
//	scope_comma                   scopes separated by commas
//	token_type_case               token_type is bEARER
//	no_token_type                 without token_type
//	nested_reply                  everything below authed_user
//
//	ID token
//	no_id_token                   without id_token
//	id_token_alg_none             unsigned
//	id_token_hs256_secret         HS256 with the client secret
//	id_token_hs256_public_key     HS256 with the PEM of the public RSA key
//	id_token_unknown_kid          kid is not in the JWKS
//	id_token_bad_signature        one character of the signature changed
//	id_token_wrong_iss            another iss
//	id_token_wrong_aud            another aud
//	id_token_wrong_azp            another azp
//	id_token_wrong_nonce          another nonce
//	id_token_no_nonce             without nonce
//	id_token_expired              a day old
//	id_token_no_sub               without sub
//	id_token_bad_at_hash          at_hash of another token
//	id_token_other_sub            another sub, on refresh
//
//	Authorization response
//	wrong_iss                     another iss
//	missing_iss                   without iss
//	wrong_state                   another state
//	no_state                      without state
//	deny                          access_denied although the person allowed it
//	error_callback                t: this error instead of a code
//	callback_slash                a slash after the path of the redirect URI
//
//	API
//	userinfo_other_sub            another sub at /userinfo
//	api_always_401                every token is refused
//	api_403_expired               a bad token gets 403 without WWW-Authenticate
//	api_delay_ms                  n: wait before each answer
//
//	Settings
//	no_rotation                   a refresh token stays the same and good
//	grace_seconds                 n: the last refresh token may be used again for so long and gives the same pair
//	grace_new_pair                such a use gives a new pair instead
//	refresh_revokes_access        a refresh ends the older access tokens
//	no_login                      t: this user is signed in and agrees to everything, without pages
//	basic_raw                     HTTP Basic is not form-encoded
//	pkce_optional                 an authorization request needs no code_challenge
//	pkce_refused                  an authorization request must have no code_challenge
//	client_auth                   t: basic or post: a client that authenticates in the other way is refused
//	clock_offset_seconds          n: its clock is so far ahead, in ID tokens and in the header Date
//	implicit                      response_type=token (RFC 6749 §4.2) is answered
//	id_token_es256                ID tokens are signed with ES256 instead of RS256
//	dialect                       how the provider wants to be spoken to and answers: see Dialect
//	log                           requests are kept for /_simulator/log, the newest 1000, secrets hashed
package simulator
