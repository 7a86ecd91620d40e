package behalf

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/oauth"
)

// This file is what is kept of a run for a person to read. The rules are:
//
//   - It is made of what egress has masked already; no secret comes to it.
//   - It is bounded, whatever a provider sends.
//   - Beside what happened stands why, and who can do something about it
//     (diagnose.go), as it was judged when it happened.

// TranscriptKind is what a transcript is of.
type TranscriptKind string

const (
	TrialTranscript         TranscriptKind = "trial"         // "Test authorization"
	QuickTranscript         TranscriptKind = "quick"         // the same without a person
	AuthorizationTranscript TranscriptKind = "authorization" // a connect session
	RefreshTranscript       TranscriptKind = "refresh"
	CallTranscript          TranscriptKind = "call" // a call that failed
)

// TranscriptStatus is how a run stands.
type TranscriptStatus string

const (
	TranscriptWaiting TranscriptStatus = "waiting" // under way, or for the person
	TranscriptPassed  TranscriptStatus = "passed"
	TranscriptFailed  TranscriptStatus = "failed"
)

// Transcript is one run of an authorization, of a refresh or of a call.
type Transcript struct {
	ID         TranscriptID
	Kind       TranscriptKind
	Assistant  AssistantID
	Profile    ProfileID
	Connection ConnectionID // empty: none was made
	Session    SessionID    // that was run; empty: none was
	User       string       // whose run it was; empty for a trial
	Actor      string       // who tested; empty otherwise
	Status     TranscriptStatus
	Steps      []TranscriptStep
	Version    int64
	CreatedAt  time.Time
	EndedAt    time.Time
}

// Failed returns the step at which the run failed; nil where it did not.
func (t Transcript) Failed() *TranscriptStep {
	for i := len(t.Steps) - 1; i >= 0; i-- {
		if t.Steps[i].Status == StepFailed {
			return &t.Steps[i]
		}
	}
	return nil
}

// StepName is what was done in a step.
type StepName string

const (
	StepRedirect     StepName = "redirect"
	StepCallback     StepName = "callback"
	StepTokenRequest StepName = "token_request"
	StepValidation   StepName = "validation"
	StepCheck        StepName = "check"
	StepRefresh      StepName = "refresh"
	StepRevocation   StepName = "revocation"
	StepCall         StepName = "call"
	StepDelivery     StepName = "delivery" // of an event to a webhook
)

// StepStatus is how a step stands.
type StepStatus string

const (
	StepRunning StepStatus = "running"
	StepPassed  StepStatus = "passed"
	StepFailed  StepStatus = "failed"
	StepLeft    StepStatus = "left" // not done, and Detail says why
)

// Responsible is who can do something about a failure.
type Responsible string

const (
	ByPerson        Responsible = "person"        // who authorizes
	ByAdministrator Responsible = "administrator" // who looks after the profile
	ByOperator      Responsible = "operator"      // who runs this server, its network or its connectors
	ByProvider      Responsible = "provider"      // the application
)

// TranscriptStep is one part of a run: at most one request with its answer.
type TranscriptStep struct {
	Name      StepName     `json:"name" enum:"redirect,callback,token_request,validation,check,refresh,revocation,call,delivery"`
	Title     string       `json:"title" doc:"What was done, in words: \"Token request\"."`
	Status    StepStatus   `json:"status" enum:"running,passed,failed,left"`
	StartedAt time.Time    `json:"started_at"`
	TookMS    int64        `json:"took_ms"`
	Detail    string       `json:"detail,omitempty" doc:"What happened, or why the step was left out."`
	Request   *SentMessage `json:"request,omitempty" doc:"What was sent, its secrets masked when it was recorded."`
	Response  *GotMessage  `json:"response,omitempty" doc:"What came back, masked in the same way."`
	Error     string       `json:"error,omitempty" doc:"Why there is no whole answer, in the words of the network."`
	Code      string       `json:"code,omitempty" doc:"Stable name of what is wrong. A step that passed may have one too: then it is advice."`
	Cause     string       `json:"cause,omitempty" doc:"What is wrong, in plain words."`
	Fix       string       `json:"fix,omitempty" doc:"What to do about it."`
	Who       Responsible  `json:"who,omitempty" enum:"person,administrator,operator,provider" doc:"Who can do it."`
}

// SentMessage is a request, masked.
type SentMessage struct {
	Method  string      `json:"method"`
	URL     string      `json:"url"`
	Headers http.Header `json:"headers,omitempty"`
	Body    string      `json:"body,omitempty"`
}

// GotMessage is an answer, masked.
type GotMessage struct {
	Status  int         `json:"status"`
	Headers http.Header `json:"headers,omitempty"`
	Body    string      `json:"body,omitempty"`
}

// Circumstances are what a failure is judged by besides what was sent and received.
type Circumstances struct {
	Plan        *Plan  // of the profile
	CallbackURL string // the profile's
	Tenant      string
	Takes       ClientAuth // another client authentication that the provider was seen to take; empty: none
	NoRefresh   bool       // the token reply brought no refresh token
	HasIDToken  bool       // it brought an ID token
	Missing     []string   // scopes that are required and were not granted
}

// Ran returns what a part of a run becomes in its transcript: one step for each
// exchange, the last of which bears the failure; or one without an exchange.
func Ran(name StepName, title string, began time.Time, took time.Duration, exchanges []egress.Exchange, err error, c Circumstances) []TranscriptStep {
	var out []TranscriptStep
	for _, x := range exchanges {
		out = append(out, stepOf(name, title, x))
	}
	if len(out) == 0 {
		out = []TranscriptStep{{Name: name, Title: title, Status: StepPassed, StartedAt: began, TookMS: took.Milliseconds()}}
	}
	last := &out[len(out)-1]
	if err != nil {
		last.Status, last.Detail = StepFailed, said(err)
	}
	last.judge(err, c)
	return out
}

func (s *TranscriptStep) judge(err error, c Circumstances) {
	if d, ok := Diagnose(evidence(*s, err, c)); ok {
		s.Code, s.Cause, s.Fix, s.Who = d.Code, d.Cause, d.Fix, d.Who
	}
}

func stepOf(name StepName, title string, x egress.Exchange) TranscriptStep {
	s := TranscriptStep{Name: name, Title: title, Status: StepPassed, StartedAt: x.StartedAt, TookMS: x.Took.Milliseconds(), Error: x.Error,
		Request: &SentMessage{Method: x.Request.Method, URL: cut(x.Request.URL, maxHeaders), Headers: boundedHeader(x.Request.Header),
			Body: boundedBody(x.Request.Header.Get("Content-Type"), x.Request.Body)}}
	if x.Response.Status != 0 {
		s.Response = &GotMessage{Status: x.Response.Status, Headers: boundedHeader(x.Response.Header),
			Body: boundedBody(x.Response.Header.Get("Content-Type"), x.Response.Body)}
	}
	return s
}

// said is what an error of ours says to people.
func said(err error) string {
	if e := (*oauth.Error)(nil); errors.As(err, &e) {
		return e.Sentence()
	}
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Message
	}
	return "It did not succeed."
}

const (
	maxBody    = 16 << 10 // bytes that are kept of each body
	maxHeaders = 8 << 10  // and of each header section
)

// boundedBody keeps the beginning of a body, and of a web page what it says.
func boundedBody(contentType, body string) string {
	if isHTML(contentType, body) {
		return summary(body)
	}
	return cut(body, maxBody)
}

func cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	return strings.ToValidUTF8(s[:max], "") + "… (cut, " + strconv.Itoa(len(s)) + " bytes)"
}

// boundedHeader keeps the first of the names in their order.
func boundedHeader(h http.Header) http.Header {
	out, size := http.Header{}, 0
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			if size += len(name) + len(v); size > maxHeaders {
				return out
			}
			out[name] = append(out[name], v)
		}
	}
	return out
}

func isHTML(contentType, body string) bool {
	media, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	media = strings.TrimSpace(media)
	if media == "text/html" || media == "application/xhtml+xml" {
		return !strings.HasPrefix(strings.TrimSpace(body), "{") // some servers call their JSON so
	}
	start := strings.ToLower(strings.TrimSpace(cut(body, 200)))
	return strings.HasPrefix(start, "<!doctype html") || strings.HasPrefix(start, "<html")
}

// summary says what a web page says: its title, and the beginning of its text.
func summary(page string) string {
	var out strings.Builder
	out.WriteString("[HTML, " + strconv.Itoa(len(page)) + " bytes]")
	if title := textOf(between(page, "<title", "</title>")); title != "" {
		out.WriteString(" " + cut(title, 200) + ":")
	}
	body := page
	if i := strings.Index(strings.ToLower(page), "<body"); i >= 0 {
		body = page[i:]
	}
	if text := textOf(body); text != "" {
		out.WriteString(" " + cut(text, 1000))
	}
	return out.String()
}

// between returns what stands behind the tag that open begins, up to end.
func between(page, open, end string) string {
	lower := strings.ToLower(page)
	if len(lower) != len(page) {
		return ""
	}
	i := strings.Index(lower, open)
	if i < 0 {
		return ""
	}
	j := strings.IndexByte(page[i:], '>')
	if j < 0 {
		return ""
	}
	k := strings.Index(lower[i+j:], end)
	if k < 0 {
		return ""
	}
	return page[i+j+1 : i+j+k]
}

// textOf leaves the tags of a page away, and what its scripts and styles hold.
func textOf(page string) string {
	var out strings.Builder
	for page != "" {
		i := strings.IndexByte(page, '<')
		if i < 0 {
			out.WriteString(page)
			break
		}
		out.WriteString(page[:i] + " ")
		page = page[i:]
		for _, silent := range []string{"script", "style"} {
			if len(page) > len(silent) && strings.EqualFold(page[1:1+len(silent)], silent) {
				_, rest, _ := strings.Cut(page, "</"+page[1:1+len(silent)])
				page = rest
			}
		}
		_, page, _ = strings.Cut(page, ">")
	}
	words := strings.Join(strings.Fields(out.String()), " ")
	if !utf8.ValidString(words) {
		return ""
	}
	return words
}

// hostNamed names the host of a recorded URL, for a sentence.
func hostNamed(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "the provider"
	}
	return u.Host
}
