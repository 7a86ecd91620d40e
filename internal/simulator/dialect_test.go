package simulator_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/internal/simulator"
)

// raw sends a request as it is written: method and path, headers, body.
func (p *provider) raw(line, body string, headers ...string) answer {
	p.t.Helper()
	method, path, _ := strings.Cut(line, " ")
	r, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if strings.HasPrefix(body, "{") {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return p.send(p.browser, r)
}

func basicAuth(user, password string) string {
	r, _ := http.NewRequest("GET", "/", nil)
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

var asBot = basicAuth("bot", url.QueryEscape(botSecret))

// An utterance is one thing that a dialect wants: what it takes, and what it
// refuses with which word in the reason.
type utterance struct {
	dialect string // as JSON; of a route, or whole where it begins with "routes" or so
	takes   func(p *provider) answer
	says    string // is in the answer
	refuses func(p *provider) answer
	because string // is in the reason
}

func code(p *provider) string { return url.QueryEscape(p.spoken("").Get("code")) }

// spoken authorizes hazel by a request with this query; the RFC's where it is empty.
func (p *provider) spoken(query string) url.Values {
	p.t.Helper()
	if query == "" {
		return p.redirected(p.get(request()))
	}
	return p.redirected(p.get("/authorize?" + query))
}

func exchangeAt(line, body string, headers ...string) func(*provider) answer {
	return func(p *provider) answer {
		filled := strings.NewReplacer("CODE", code(p), "SECRET", url.QueryEscape(botSecret), "CALLBACK", url.QueryEscape(callbackURL), "VERIFIER", verifier)
		return p.raw(filled.Replace(line), filled.Replace(body), headers...)
	}
}

func authorized(query string) func(*provider) answer {
	return func(p *provider) answer {
		return p.get("/authorize?" + strings.NewReplacer("CALLBACK", url.QueryEscape(callbackURL), "CHALLENGE", challenge).Replace(query))
	}
}

const (
	standardForm = "grant_type=authorization_code&code=CODE&redirect_uri=CALLBACK&code_verifier=VERIFIER"
	standardAsk  = "response_type=code&client_id=bot&redirect_uri=CALLBACK&scope=profile+notes:read&state=s1&code_challenge=CHALLENGE&code_challenge_method=S256"
)

var utterances = map[string]utterance{
	"parameters of the authorization request have other names": {
		dialect: `{"at":"GET /authorize","does":"authorize","wants":{"params":{"client_key":"{client_id}","redirect_url":"{redirect_uri}","scope":"{scope}","custom":"{state}","code_challenge":"{code_challenge}","code_challenge_method":"S256"}}}`,
		takes:   authorized("client_key=bot&redirect_url=CALLBACK&scope=profile&custom=s1&code_challenge=CHALLENGE&code_challenge_method=S256"), says: "",
		refuses: authorized(standardAsk), because: "client_key is missing",
	},
	"what was not asked for is refused": {
		dialect: `{"at":"GET /authorize","does":"authorize"}`,
		takes:   authorized(standardAsk),
		refuses: authorized(standardAsk + "&access_type=offline"), because: "access_type is not wanted",
	},
	"scopes are separated by commas": {
		dialect: `{"at":"GET /authorize","does":"authorize","wants":{"scopes":","}}`,
		takes:   authorized(strings.Replace(standardAsk, "+", ",", 1)),
		refuses: authorized(standardAsk), because: `scopes must be separated by ","`,
	},
	"the query is read as it stands": {
		dialect: `{"at":"GET /authorize","does":"authorize","wants":{"raw":["scope=profile+notes:read"]}}`,
		takes:   authorized(standardAsk),
		refuses: authorized(strings.Replace(standardAsk, "+", "%20", 1)), because: "as it stands",
	},
	"a redirect URI has an alias": {
		dialect: `"redirect_alias":"Acorn-Alias","routes":[{"at":"GET /authorize","does":"authorize"}]`,
		takes:   authorized(strings.Replace(standardAsk, "CALLBACK", "Acorn-Alias", 1)),
		refuses: authorized(standardAsk), because: "alias",
	},
	"the code is taken as JSON": {
		dialect: `{"at":"POST /token","does":"code","wants":{"body":"json"}}`,
		takes:   exchangeAt("POST /token", `{"grant_type":"authorization_code","code":"CODE","redirect_uri":"`+callbackURL+`","code_verifier":"VERIFIER"}`, "Authorization", asBot), says: "access_token",
		refuses: exchangeAt("POST /token", standardForm, "Authorization", asBot), because: "application/json",
	},
	"the code is taken in the query": {
		dialect: `{"at":"POST /token","does":"code","wants":{"body":"query"}}`,
		takes:   exchangeAt("POST /token?"+standardForm, "", "Authorization", asBot), says: "access_token",
		refuses: exchangeAt("POST /token", standardForm, "Authorization", asBot), because: "in the query",
	},
	"the code is taken by GET": {
		dialect: `{"at":"GET /token","does":"code"}`,
		takes:   exchangeAt("GET /token?"+standardForm, "", "Authorization", asBot), says: "access_token",
		refuses: exchangeAt("POST /token", standardForm, "Authorization", asBot), because: "method must be GET",
	},
	"the secret stands in the body": {
		dialect: `{"at":"POST /token","does":"code","wants":{"auth":"post"}}`,
		takes:   exchangeAt("POST /token", standardForm+"&client_id=bot&client_secret=SECRET"), says: "access_token",
		refuses: exchangeAt("POST /token", standardForm, "Authorization", asBot), because: "client_id is missing",
	},
	"the secret is the user of Basic": {
		dialect: `{"at":"POST /token","does":"code","wants":{"auth":"basic_secret"}}`,
		takes:   exchangeAt("POST /token", standardForm, "Authorization", basicAuth(url.QueryEscape(botSecret), "")), says: "access_token",
		refuses: exchangeAt("POST /token", standardForm, "Authorization", asBot), because: "without a password",
	},
	"no secret is wanted": {
		dialect: `{"at":"POST /token","does":"code","wants":{"auth":"none"}}`,
		takes:   exchangeAt("POST /token", standardForm+"&client_id=bot"), says: "access_token",
		refuses: exchangeAt("POST /token", standardForm+"&client_id=bot", "Authorization", asBot), because: "not authenticate by a header",
	},
	"a header is wanted": {
		dialect: `{"at":"POST /token","does":"code","wants":{"headers":{"X-Partner":"p-1","X-Request":"*"}}}`,
		takes:   exchangeAt("POST /token", standardForm, "Authorization", asBot, "X-Partner", "p-1", "X-Request", "7"), says: "access_token",
		refuses: exchangeAt("POST /token", standardForm, "Authorization", asBot, "X-Partner", "p-2", "X-Request", "7"), because: `X-Partner: expected "p-1"`,
	},
	"codes are taken elsewhere and nowhere else": {
		dialect: `{"at":"POST /oauth/v2/access","does":"code"}`,
		takes:   exchangeAt("POST /oauth/v2/access", standardForm, "Authorization", asBot), says: "access_token",
		refuses: exchangeAt("POST /token", standardForm, "Authorization", asBot), because: "not done at /token",
	},
	"the state is repeated with the code": {
		dialect: `{"at":"POST /token","does":"code","wants":{"params":{"grant_type":"authorization_code","code":"{code}","state":"{state}","code_verifier":"{code_verifier}"}}}`,
		takes:   exchangeAt("POST /token", "grant_type=authorization_code&code=CODE&state=state-12345&code_verifier=VERIFIER", "Authorization", asBot), says: "access_token",
		refuses: exchangeAt("POST /token", "grant_type=authorization_code&code=CODE&state=another&code_verifier=VERIFIER", "Authorization", asBot), because: "state is not that",
	},
	"a request is signed": {
		dialect: `{"at":"POST /token","does":"code","wants":{"body":"json","params":{"code":"{code}","code_verifier":"{code_verifier}","appkey":"{client_id}"},"headers":{"X-Time":"{time}","X-Sign":"{sign}"},"sign":"{body}{time}"}}`,
		takes:   signedExchange(botSecret), says: "access_token",
		refuses: signedExchange("another"), because: "signature is wrong",
	},
	"the reply is nested, renamed, with status 201 and in minutes": {
		dialect: `{"at":"POST /token","does":"code","says":{"status":201,"body":{"data":{"accessToken":"{access_token}","minutes":"{expires_min}","left":"{nothing}"}}}}`,
		takes:   exchangeAt("POST /token", standardForm, "Authorization", asBot), says: `,"minutes":60}}`,
	},
	"the reply is a form": {
		dialect: `{"at":"POST /token","does":"code","says":{"format":"form","body":{"access_token":"{access_token}","expires":"{expires_ms}"}}}`,
		takes:   exchangeAt("POST /token", standardForm, "Authorization", asBot), says: "&expires=3600000",
	},
	"errors have their own words": {
		dialect: `{"at":"POST /token","does":"code","fails":{"status":200,"body":{"ok":false,"reason":"{error}"}}}`,
		takes:   exchangeAt("POST /token", strings.Replace(standardForm, "VERIFIER", strings.Repeat("x", 43), 1), "Authorization", asBot), says: `{"ok":false,"reason":"invalid_grant"}`,
	},
	"the token stands in another header": {
		dialect: `{"at":"GET /api/","does":"api","wants":{"headers":{"X-Access":"{token}"}}}`,
		takes:   called("GET /api/me", "X-Access", "TOKEN"), says: "hazel",
		refuses: called("GET /api/me", "Authorization", "Bearer TOKEN", "X-Access", "TOKEN"), because: "Authorization is not wanted",
	},
	"the token stands in the path, and an account in a header": {
		dialect: `{"at":"GET /bot{token}/","does":"api","wants":{"headers":{"X-Account":"a-1"}}}`,
		takes:   called("GET /botTOKEN/me", "X-Account", "a-1"), says: "hazel",
		refuses: called("GET /botTOKEN/me"), because: "X-Account is missing",
	},
	"the API is at another host": {
		dialect: `{"at":"GET /api/","does":"api","wants":{"host":"elsewhere.example"}}`,
		refuses: called("GET /api/me", "Authorization", "Bearer TOKEN"), because: "host",
	},
	"a bad token gets the dialect's answer": {
		dialect: `{"at":"GET /api/","does":"api","fails":{"status":200,"body":{"success":false,"errors":[{"code":"602"}]}}}`,
		takes: func(p *provider) answer {
			get := called("GET /api/me", "Authorization", "Bearer TOKEN")
			get(p)
			p.Expire()
			p.clock.advance(2 * time.Hour)
			return p.raw("GET /api/me", "", "Authorization", "Bearer nothing")
		}, says: `{"errors":[{"code":"602"}],"success":false}`,
	},
	"access tokens renew themselves": {
		dialect: `{"at":"GET /longer","does":"renew","wants":{"params":{"grant_type":"longer","access_token":"{access_token}"}}}`,
		takes: func(p *provider) answer {
			return p.raw("GET /longer?grant_type=longer&access_token="+p.tokens()["access_token"].(string), "")
		}, says: "acorn_at_",
		refuses: func(p *provider) answer {
			return p.raw("GET /longer?access_token="+p.tokens()["access_token"].(string), "")
		}, because: "grant_type is missing",
	},
	"a token for another audience": {
		dialect: `"routes":[{"at":"POST /derive","does":"derive","wants":{"params":{"resource":"graph","refresh_token":"{refresh_token}","client_id":"{client_id}"}},"says":{"audience":"graph"}},{"at":"GET /graph/","does":"api","wants":{"audience":"graph"}}]`,
		takes: func(p *provider) answer {
			tokens := p.tokens()
			got := p.raw("POST /derive", "resource=graph&client_id=bot&refresh_token="+tokens["refresh_token"].(string)).json(p.t)
			same(p.t, "the first token there", p.raw("GET /graph/me", "", "Authorization", "Bearer "+tokens["access_token"].(string)).status, 401)
			return p.raw("GET /graph/me", "", "Authorization", "Bearer "+got["access_token"].(string))
		}, says: "hazel",
	},
	"a refresh comes too early": {
		dialect: `{"at":"POST /token","does":"refresh","wants":{"min_age":60}}`,
		takes: func(p *provider) answer {
			token := p.tokens()["refresh_token"].(string)
			p.clock.advance(time.Minute)
			return p.raw("POST /token", "grant_type=refresh_token&refresh_token="+token, "Authorization", asBot)
		}, says: "access_token",
		refuses: func(p *provider) answer {
			return p.raw("POST /token", "grant_type=refresh_token&refresh_token="+p.tokens()["refresh_token"].(string), "Authorization", asBot)
		}, because: "too early",
	},
	"tokens are revoked in an order": {
		dialect: `{"at":"DELETE /grants","does":"revoke","wants":{"body":"json","params":{"token":"{token}"},"auth":"basic","order":["access_token","refresh_token"]}}`,
		takes: func(p *provider) answer {
			tokens := p.tokens()
			for _, name := range []string{"access_token", "refresh_token"} {
				same(p.t, name, p.raw("DELETE /grants", `{"token":"`+tokens[name].(string)+`"}`, "Authorization", asBot).status, 200)
			}
			same(p.t, "revoked", p.Stats().Grants[0].Revoked, true)
			return p.raw("DELETE /grants", `{"token":"unknown"}`, "Authorization", asBot)
		},
		refuses: func(p *provider) answer {
			return p.raw("DELETE /grants", `{"token":"`+p.tokens()["refresh_token"].(string)+`"}`, "Authorization", asBot)
		}, because: "another token must be revoked before",
	},
	"the whole grant ends with an access token": {
		dialect: `{"at":"DELETE /grants/{token}","does":"revoke","grant":true,"wants":{"params":{},"auth":"basic"}}`,
		takes: func(p *provider) answer {
			tokens := p.tokens()
			same(p.t, "status", p.raw("DELETE /grants/"+tokens["access_token"].(string), "", "Authorization", asBot).status, 200)
			return p.refresh(tokens["refresh_token"].(string))
		}, says: "the grant was revoked",
		refuses: func(p *provider) answer { return p.raw("DELETE /grants/token?all=true", "", "Authorization", asBot) }, because: "not in the query",
	},
	"a second pair comes with the first and stays for its audience": {
		dialect: `"routes":[{"at":"POST /token","does":"code","says":{"second":"user","body":{"bot":"{access_token}","user":"{second_access_token}","refresh_token":"{second_refresh_token}"}}},{"at":"POST /token","does":"refresh"},{"at":"GET /user/","does":"api","wants":{"audience":"user"}}]`,
		takes: func(p *provider) answer {
			tokens := exchangeAt("POST /token", standardForm, "Authorization", asBot)(p).json(p.t)
			same(p.t, "the bot's", p.raw("GET /user/me", "", "Authorization", "Bearer "+tokens["bot"].(string)).status, 401)
			same(p.t, "the user's", p.raw("GET /user/me", "", "Authorization", "Bearer "+tokens["user"].(string)).status, 200)
			next := p.raw("POST /token", "grant_type=refresh_token&refresh_token="+tokens["refresh_token"].(string), "Authorization", asBot).json(p.t)
			return p.raw("GET /user/me", "", "Authorization", "Bearer "+next["access_token"].(string))
		}, says: "hazel",
	},
	"a list is told to whoever has a token": {
		dialect: `{"at":"GET /sites","does":"tell","wants":{"headers":{"Authorization":"Bearer {token}"}},"says":{"body":[{"id":"s-1","of":"{sub}"}]}}`,
		takes:   called("GET /sites", "Authorization", "Bearer TOKEN"), says: `[{"id":"s-1","of":"u-1"}]`,
		refuses: called("GET /sites"), because: "Authorization is missing",
	},
}

func signedExchange(key string) func(*provider) answer {
	return func(p *provider) answer {
		body := `{"code":"` + code(p) + `","code_verifier":"` + verifier + `","appkey":"bot"}`
		h := hmac.New(sha256.New, []byte(key))
		h.Write([]byte(body + "17"))
		return p.raw("POST /token", body, "X-Time", "17", "X-Sign", hex.EncodeToString(h.Sum(nil)))
	}
}

// called calls with a good access token in place of TOKEN.
func called(line string, headers ...string) func(*provider) answer {
	return func(p *provider) answer {
		token := p.tokens()["access_token"].(string)
		sent := make([]string, len(headers))
		for i, h := range headers {
			sent[i] = strings.ReplaceAll(h, "TOKEN", token)
		}
		return p.raw(strings.ReplaceAll(line, "TOKEN", token), "", sent...)
	}
}

func TestDialects(t *testing.T) {
	for name, u := range utterances {
		t.Run(name, func(t *testing.T) {
			dialect := u.dialect
			if strings.HasPrefix(dialect, "{") {
				dialect = `"routes":[` + dialect + `]`
			}
			if u.takes != nil {
				p := newProvider(t)
				p.put(t, `{"no_login":"hazel","dialect":{`+dialect+`}}`)
				a := u.takes(p)
				if refused := p.Stats().Refused; len(refused) > 0 || !strings.Contains(a.body, u.says) {
					t.Errorf("refused %q: %d %s", refused, a.status, a.body)
				}
			}
			if u.refuses != nil {
				p := newProvider(t)
				p.put(t, `{"no_login":"hazel","dialect":{`+dialect+`}}`)
				a := u.refuses(p)
				if refused := strings.Join(p.Stats().Refused, "; "); a.status != 400 || !strings.Contains(refused, u.because) {
					t.Errorf("%d, refused %q, want %q", a.status, refused, u.because)
				}
			}
		})
	}
}

func TestCallbacksOfADialect(t *testing.T) {
	p := newProvider(t)
	p.put(t, `{"no_login":"hazel","dialect":{"callback":{"spapi_code":"{code_encoded}","payload":"{state}","realmId":"r-1"},"declined":{"payload":"{state}"}}}`)
	q := p.spoken("")
	if q.Get("payload") != "state-12345" || q.Get("realmId") != "r-1" || q.Has("iss") || q.Has("state") || !strings.HasPrefix(q.Get("spapi_code"), "acorn_code_") {
		t.Errorf("callback %v", q)
	}
	p.Update(func(sw *simulator.Switches) { sw.Deny = true })
	same(t, "declined", p.spoken(""), url.Values{"payload": {"state-12345"}})
}

func TestRefreshTokensThatMustBeAskedFor(t *testing.T) {
	p := newProvider(t)
	p.put(t, `{"no_login":"hazel","dialect":{"routes":[{"at":"GET /authorize","does":"authorize","wants":{"params":{"response_type":"code","client_id":"{client_id}","redirect_uri":"{redirect_uri}","scope":"{scope}","state":"{state}","nonce":"{nonce}","code_challenge":"{code_challenge}","code_challenge_method":"S256","access_type":"?*","prompt":"?*"}}}],"offline":{"access_type":"offline"},"reconsent":{"prompt":"consent"}}}`)
	for i, c := range []struct {
		ask  string
		want bool
	}{{"", false}, {"&access_type=offline", false}, {"&access_type=offline&prompt=consent", true}} {
		code := p.redirected(p.get(request() + c.ask)).Get("code")
		_, got := p.exchange(code).json(t)["refresh_token"]
		if got != c.want {
			t.Errorf("%d: a refresh token: %v", i, got)
		}
	}
}

func TestPKCEInOtherMethods(t *testing.T) {
	sum := sha256.Sum256([]byte(verifier))
	for name, c := range map[string]struct {
		dialect, challenge, method string
		status                     int
	}{
		"hexadecimal":                  {"S256-hex", hex.EncodeToString(sum[:]), "S256", 200},
		"plain":                        {"plain", verifier, "plain", 200},
		"base64url where hex is meant": {"S256-hex", challenge, "S256", 400},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.put(t, `{"no_login":"hazel","dialect":{"pkce":"`+c.dialect+`","routes":[{"at":"GET /authorize","does":"authorize"}]}}`)
			q := p.redirected(p.get(request("code_challenge", c.challenge, "code_challenge_method", c.method)))
			same(t, "status", p.exchange(q.Get("code")).status, c.status)
		})
	}
}

func TestAccessTokensAreEndedByACall(t *testing.T) {
	p := newProvider(t)
	tokens := p.tokens()
	same(t, "status", p.post("/_simulator/expire", nil).status, 204)
	same(t, "the old token", p.api("GET", "/api/me", tokens["access_token"].(string), "", "").status, 401)
	next := p.refresh(tokens["refresh_token"].(string)).json(t)
	same(t, "the new one", p.api("GET", "/api/me", next["access_token"].(string), "", "").status, 200)
}

func TestDialectsAreStrict(t *testing.T) {
	p := newProvider(t)
	for _, dialect := range []string{`{"routes":[{"at":"/token","does":"code"}]}`, `{"routes":[{"at":"POST /token","does":"exchange"}]}`, `{"route":[]}`} {
		r, _ := http.NewRequest("PUT", p.url+"/_simulator/switches", strings.NewReader(`{"dialect":`+dialect+`}`))
		same(t, dialect, p.send(p.browser, r).status, 400)
	}
}

func TestAPersonSignsInWhereADialectIsSpoken(t *testing.T) {
	p := newProvider(t)
	p.put(t, `{"dialect":{"routes":[{"at":"GET /oauth/start","does":"authorize","wants":{"params":{"app":"{client_id}","back":"{redirect_uri}","mine":"{state}"}}}],"pkce":"off"}}`)
	q := p.redirected(p.submit(p.signIn("/oauth/start?app=bot&mine=m1&back="+url.QueryEscape(callbackURL)), "answer", "allow"))
	if q.Get("code") == "" || q.Get("state") != "m1" {
		t.Errorf("callback %v", q)
	}
	same(t, "the RFC's way", p.get(request()).status, 400)
}

func TestRoutesBehindTheHash(t *testing.T) {
	p := newProvider(t)
	p.put(t, `{"dialect":{"routes":[{"at":"GET /app","does":"hash","to":"/start"}]}}`)
	if a := p.get("/app"); !strings.Contains(a.body, `data-to="/start"`) || !strings.Contains(a.header.Get("Content-Security-Policy"), "script-src 'self'") {
		t.Errorf("%+v", a)
	}
	same(t, "script", p.get("/route.js").status, 200)
}
