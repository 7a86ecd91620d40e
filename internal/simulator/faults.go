package simulator

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// This file makes the token endpoint misbehave. A request passes three tables:
//
//   - instead: the first switch that is on answers, and nothing is issued;
//   - shapes: every switch that is on changes the members of the answer;
//   - encodings: the first switch that is on changes the bytes.
//
// The last two come after the commit: whoever cannot read such an answer has
// lost what it carried.

type fault struct {
	on func(*Switches) bool
	do func(*Simulator, http.ResponseWriter, *http.Request, *Switches)
}

var instead = []fault{
	{func(sw *Switches) bool { return sw.TokenHang }, hang},
	{func(sw *Switches) bool { return sw.TokenReset }, reset},
	{func(sw *Switches) bool { return sw.Answer != nil }, answerWith},
	{func(sw *Switches) bool { return sw.RedirectTokenEndpoint != "" }, redirect},
	{func(sw *Switches) bool { return sw.RateLimit != "" }, rateLimit},
	{func(sw *Switches) bool { return sw.Unavailable != "" }, unavailable},
	{func(sw *Switches) bool { return sw.InvalidClient }, expiredSecret},
	{func(sw *Switches) bool { return sw.Error200 != "" }, error200},
}

// answerInstead reports whether a fault has answered.
func answerInstead(s *Simulator, w http.ResponseWriter, r *http.Request, sw *Switches) bool {
	for _, f := range instead {
		if f.on(sw) {
			f.do(s, w, r, sw)
			return true
		}
	}
	if sw.RefreshError != "" && r.PostForm.Get("grant_type") == "refresh_token" {
		refreshError(w, sw)
		return true
	}
	return false
}

// hang holds the request until the client gives up, or for ten minutes.
func hang(_ *Simulator, _ http.ResponseWriter, r *http.Request, _ *Switches) {
	select {
	case <-r.Context().Done():
	case <-time.After(10 * time.Minute):
	}
	panic(http.ErrAbortHandler)
}

// reset breaks the connection off with a TCP reset where there is TCP.
func reset(_ *Simulator, w http.ResponseWriter, _ *http.Request, _ *Switches) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2 resets the stream
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func answerWith(_ *Simulator, w http.ResponseWriter, _ *http.Request, sw *Switches) {
	a := *sw.Answer
	if a.ContentType == "" {
		a.ContentType = "application/json"
	}
	if a.Status == 0 {
		a.Status = http.StatusOK
	}
	for name, value := range a.Headers {
		w.Header().Set(name, value)
	}
	write(w, a.Status, a.ContentType, []byte(a.Body))
}

func redirect(_ *Simulator, w http.ResponseWriter, _ *http.Request, sw *Switches) {
	w.Header().Set("Location", sw.RedirectTokenEndpoint)
	w.WriteHeader(http.StatusTemporaryRedirect) // 307 repeats the POST with its body
}

func rateLimit(s *Simulator, w http.ResponseWriter, _ *http.Request, sw *Switches) {
	retryAfter(w, sw.RateLimit, s.cfg.Now())
	writeJSON(w, http.StatusTooManyRequests, map[string]string{"error": "rate_limited", "message": "Too many requests"})
}

func unavailable(s *Simulator, w http.ResponseWriter, _ *http.Request, sw *Switches) {
	retryAfter(w, sw.Unavailable, s.cfg.Now())
	write(w, http.StatusServiceUnavailable, "text/html; charset=utf-8", []byte(errorHTML))
}

// retryAfter sets Retry-After (RFC 9110 §10.2.3): "date" is in 30 s, "absurd" in
// ten years, "none" is no header, anything else is sent as it is.
func retryAfter(w http.ResponseWriter, value string, now time.Time) {
	switch value {
	case "none":
		return
	case "date":
		value = now.Add(30 * time.Second).UTC().Format(http.TimeFormat)
	case "absurd":
		value = "315360000"
	}
	w.Header().Set("Retry-After", value)
}

func expiredSecret(_ *Simulator, w http.ResponseWriter, _ *http.Request, _ *Switches) {
	invalidClient("the client secret has expired").write(w)
}

func error200(_ *Simulator, w http.ResponseWriter, _ *http.Request, sw *Switches) {
	writeJSON(w, http.StatusOK, map[string]any{"ok": false, "error": sw.Error200, "error_description": "said with status 200"})
}

// refreshError says "this refresh token is dead" in a provider's dialect.
func refreshError(w http.ResponseWriter, sw *Switches) {
	switch sw.RefreshError {
	case "empty_400":
		w.WriteHeader(http.StatusBadRequest)
	case "html_500":
		write(w, http.StatusInternalServerError, "text/html; charset=utf-8", []byte(errorHTML))
	default:
		(&oauthError{http.StatusBadRequest, sw.RefreshError, "refused by a switch"}).write(w)
	}
}

// A shape changes the members of a successful answer.
type shape struct {
	on func(*Switches) bool
	do func(map[string]any, *Switches) map[string]any
}

var shapes = []shape{
	{func(sw *Switches) bool { return sw.NoExpiresIn }, without("expires_in")},
	{func(sw *Switches) bool { return sw.ExpiresInString }, expiresAsText},
	{func(sw *Switches) bool { return sw.ExpiresInNegative }, with("expires_in", -1)},
	{func(sw *Switches) bool { return sw.ExpiresInHuge }, with("expires_in", int64(1e12))},
	{func(sw *Switches) bool { return sw.NoScope }, without("scope")},
	{func(sw *Switches) bool { return sw.ScopeComma }, scopeByComma},
	{func(sw *Switches) bool { return sw.TokenTypeCase }, with("token_type", "bEARER")},
	{func(sw *Switches) bool { return sw.NoTokenType }, without("token_type")},
	{func(sw *Switches) bool { return sw.EmptyRefreshToken }, with("refresh_token", "")},
	{func(sw *Switches) bool { return sw.NestedReply }, nest},
}

func without(member string) func(map[string]any, *Switches) map[string]any {
	return func(m map[string]any, _ *Switches) map[string]any {
		delete(m, member)
		return m
	}
}

func with(member string, value any) func(map[string]any, *Switches) map[string]any {
	return func(m map[string]any, _ *Switches) map[string]any {
		m[member] = value
		return m
	}
}

func expiresAsText(m map[string]any, _ *Switches) map[string]any {
	m["expires_in"] = strconv.FormatInt(m["expires_in"].(int64), 10)
	return m
}

func scopeByComma(m map[string]any, _ *Switches) map[string]any {
	if text, ok := m["scope"].(string); ok {
		m["scope"] = strings.ReplaceAll(text, " ", ",")
	}
	return m
}

func nest(m map[string]any, _ *Switches) map[string]any {
	return map[string]any{"ok": true, "authed_user": m}
}

// members are those of the answer, with numbers as int64.
func (rep reply) members() map[string]any {
	m := map[string]any{"access_token": rep.AccessToken, "token_type": rep.TokenType, "expires_in": rep.ExpiresIn}
	for name, text := range map[string]string{"refresh_token": rep.RefreshToken, "scope": rep.Scope, "id_token": rep.IDToken} {
		if text != "" {
			m[name] = text
		}
	}
	return m
}

func shaped(rep reply, sw *Switches) any {
	var m map[string]any
	for _, f := range shapes {
		if !f.on(sw) {
			continue
		}
		if m == nil {
			m = rep.members()
		}
		m = f.do(m, sw)
	}
	if m == nil {
		return rep
	}
	return m
}

// wire is an answer as bytes.
type wire struct {
	contentType string
	gzip        bool
	body        []byte
}

// An encoding changes the bytes of a successful answer.
type encoding struct {
	on func(*Switches) bool
	do func(wire) wire
}

var encodings = []encoding{
	{func(sw *Switches) bool { return sw.GarbageHTML }, garbageHTML},
	{func(sw *Switches) bool { return sw.EmptyBody }, emptyBody},
	{func(sw *Switches) bool { return sw.TruncatedJSON }, truncatedJSON},
	{func(sw *Switches) bool { return sw.BigBody }, bigBody},
	{func(sw *Switches) bool { return sw.GzipBomb }, gzipBomb},
	{func(sw *Switches) bool { return sw.WrongCharset }, wrongCharset},
	{func(sw *Switches) bool { return sw.DeepJSON }, deepJSON},
	{func(sw *Switches) bool { return sw.DuplicateKeys }, duplicateKeys},
	{func(sw *Switches) bool { return sw.FormReply }, formReply},
	{func(sw *Switches) bool { return sw.JSONAsTextPlain }, asTextPlain},
}

const errorHTML = "<!doctype html><html><head><title>Oops</title></head><body><h1>Something went wrong</h1></body></html>"

func garbageHTML(wire) wire {
	return wire{contentType: "text/html; charset=utf-8", body: []byte(errorHTML)}
}

func emptyBody(in wire) wire { return wire{contentType: in.contentType} }

func truncatedJSON(in wire) wire {
	in.body = in.body[:len(in.body)/2]
	return in
}

// member puts a JSON member, given as text, before the others.
func (in wire) member(text string) wire {
	in.body = []byte("{" + text + "," + string(in.body[1:]))
	return in
}

func bigBody(in wire) wire {
	return in.member(`"padding":"` + strings.Repeat("acorn ", 10<<20/6) + `"`)
}

// gzipBomb follows the answer with 1 GiB of spaces, which JSON allows.
func gzipBomb(in wire) wire {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(in.body)
	_ = z.Close()
	in.gzip, in.body = true, append(b.Bytes(), bomb()...)
	return in
}

// bomb is 1024 gzip members (RFC 1952 §2.2) of 1 MiB of spaces each.
var bomb = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	_, _ = z.Write(bytes.Repeat([]byte(" "), 1<<20))
	_ = z.Close()
	return bytes.Repeat(b.Bytes(), 1024)
})

// wrongCharset adds a name in ISO 8859-1, whose bytes are no UTF-8.
func wrongCharset(in wire) wire {
	in = in.member("\"account\":\"Bj\xf6rn\"")
	in.contentType = "application/json; charset=ISO-8859-1"
	return in
}

func deepJSON(in wire) wire {
	const depth = 100_000
	return in.member(`"deep":` + strings.Repeat("[", depth) + strings.Repeat("]", depth))
}

// duplicateKeys says access_token twice: readers differ on which counts.
func duplicateKeys(in wire) wire { return in.member(`"access_token":"acorn_decoy"`) }

func formReply(in wire) wire {
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(in.body))
	d.UseNumber()
	_ = d.Decode(&m)
	form := url.Values{}
	for name, value := range m {
		switch v := value.(type) {
		case string:
			form.Set(name, v)
		case json.Number:
			form.Set(name, v.String())
		}
	}
	return wire{contentType: "application/x-www-form-urlencoded", body: []byte(form.Encode())}
}

func asTextPlain(in wire) wire {
	in.contentType = "text/plain; charset=utf-8"
	return in
}

// send answers with what was issued. From here on the provider has committed.
func (s *Simulator) send(w http.ResponseWriter, q tokenRequest, out issued) {
	time.Sleep(milliseconds(q.sw.TokenDelayAfterMS))
	switch {
	case q.sw.CommitThenClose:
		panic(http.ErrAbortHandler)
	case q.sw.CommitThen500:
		write(w, http.StatusInternalServerError, "text/html; charset=utf-8", []byte(errorHTML))
		return
	}
	body, err := json.Marshal(shaped(s.reply(q, out), q.sw))
	if err != nil {
		panic(err) // members are texts and numbers
	}
	in := wire{contentType: "application/json", body: body}
	for _, e := range encodings {
		if e.on(q.sw) {
			in = e.do(in)
			break
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	if in.gzip {
		w.Header().Set("Content-Encoding", "gzip")
	}
	status := max(q.sw.SuccessStatus, http.StatusOK)
	if q.sw.TokenDripMS > 0 {
		drip(w, q.http, status, in, milliseconds(q.sw.TokenDripMS))
		return
	}
	write(w, status, in.contentType, in.body)
}

func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// drip sends one byte at a time.
func drip(w http.ResponseWriter, r *http.Request, status int, in wire, every time.Duration) {
	write(w, status, in.contentType, nil)
	flusher := http.NewResponseController(w)
	for i := range in.body {
		if _, err := w.Write(in.body[i : i+1]); err != nil {
			return
		}
		_ = flusher.Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(every):
		}
	}
}
