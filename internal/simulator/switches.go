package simulator

import (
	"reflect"
	"sync/atomic"
)

// Switches says how the provider misbehaves; the zero value behaves. Each field
// is documented, under its JSON name, in the table of the package comment. The
// tag "at" names the requests that a switch touches; a "setting" is a manner of
// the provider rather than a fault: Times neither counts nor ends it.
type Switches struct {
	// Times limits the faults to the next so many requests that they touch;
	// zero is no limit.
	Times int `json:"times,omitempty"`

	TokenDelayMS          int     `json:"token_delay_ms,omitempty" at:"token"`
	TokenDelayAfterMS     int     `json:"token_delay_after_ms,omitempty" at:"token"`
	TokenHang             bool    `json:"token_hang,omitempty" at:"token"`
	TokenDripMS           int     `json:"token_drip_ms,omitempty" at:"token"`
	TokenReset            bool    `json:"token_reset,omitempty" at:"token"`
	CommitThenClose       bool    `json:"commit_then_close,omitempty" at:"token"`
	CommitThen500         bool    `json:"commit_then_500,omitempty" at:"token"`
	Answer                *Answer `json:"answer,omitempty" at:"token"`
	SuccessStatus         int     `json:"success_status,omitempty" at:"token"`
	Error200              string  `json:"error_200,omitempty" at:"token"`
	InvalidClient         bool    `json:"invalid_client,omitempty" at:"token"`
	RateLimit             string  `json:"rate_limit,omitempty" at:"token"`
	Unavailable           string  `json:"unavailable,omitempty" at:"token"`
	RedirectTokenEndpoint string  `json:"redirect_token_endpoint,omitempty" at:"token"`

	RefreshError             string `json:"refresh_error,omitempty" at:"refresh"`
	SpuriousInvalidGrantOnce bool   `json:"spurious_invalid_grant_once,omitempty" at:"refresh"`

	GarbageHTML     bool `json:"garbage_html,omitempty" at:"token"`
	EmptyBody       bool `json:"empty_body,omitempty" at:"token"`
	TruncatedJSON   bool `json:"truncated_json,omitempty" at:"token"`
	BigBody         bool `json:"big_body,omitempty" at:"token"`
	GzipBomb        bool `json:"gzip_bomb,omitempty" at:"token"`
	WrongCharset    bool `json:"wrong_charset,omitempty" at:"token"`
	DeepJSON        bool `json:"deep_json,omitempty" at:"token"`
	DuplicateKeys   bool `json:"duplicate_keys,omitempty" at:"token"`
	FormReply       bool `json:"form_reply,omitempty" at:"token"`
	JSONAsTextPlain bool `json:"json_as_text_plain,omitempty" at:"token"`

	NoExpiresIn              bool   `json:"no_expires_in,omitempty" at:"token"`
	ExpiresInString          bool   `json:"expires_in_string,omitempty" at:"token"`
	ExpiresInNegative        bool   `json:"expires_in_negative,omitempty" at:"token"`
	ExpiresInHuge            bool   `json:"expires_in_huge,omitempty" at:"token"`
	NoRefreshTokenOnExchange bool   `json:"no_refresh_token_on_exchange,omitempty" at:"exchange"`
	NoRefreshTokenOnRefresh  bool   `json:"no_refresh_token_on_refresh,omitempty" at:"refresh"`
	EmptyRefreshToken        bool   `json:"empty_refresh_token,omitempty" at:"refresh"`
	NoScope                  bool   `json:"no_scope,omitempty" at:"token"`
	NarrowScope              string `json:"narrow_scope,omitempty" at:"token"`
	ScopeComma               bool   `json:"scope_comma,omitempty" at:"token"`
	TokenTypeCase            bool   `json:"token_type_case,omitempty" at:"token"`
	NoTokenType              bool   `json:"no_token_type,omitempty" at:"token"`
	NestedReply              bool   `json:"nested_reply,omitempty" at:"token"`

	NoIDToken             bool `json:"no_id_token,omitempty" at:"token"`
	IDTokenAlgNone        bool `json:"id_token_alg_none,omitempty" at:"token"`
	IDTokenHS256Secret    bool `json:"id_token_hs256_secret,omitempty" at:"token"`
	IDTokenHS256PublicKey bool `json:"id_token_hs256_public_key,omitempty" at:"token"`
	IDTokenUnknownKid     bool `json:"id_token_unknown_kid,omitempty" at:"token"`
	IDTokenBadSignature   bool `json:"id_token_bad_signature,omitempty" at:"token"`
	IDTokenWrongIss       bool `json:"id_token_wrong_iss,omitempty" at:"token"`
	IDTokenWrongAud       bool `json:"id_token_wrong_aud,omitempty" at:"token"`
	IDTokenWrongAzp       bool `json:"id_token_wrong_azp,omitempty" at:"token"`
	IDTokenWrongNonce     bool `json:"id_token_wrong_nonce,omitempty" at:"token"`
	IDTokenNoNonce        bool `json:"id_token_no_nonce,omitempty" at:"token"`
	IDTokenExpired        bool `json:"id_token_expired,omitempty" at:"token"`
	IDTokenNoSub          bool `json:"id_token_no_sub,omitempty" at:"token"`
	IDTokenBadAtHash      bool `json:"id_token_bad_at_hash,omitempty" at:"token"`
	IDTokenOtherSub       bool `json:"id_token_other_sub,omitempty" at:"refresh"`

	WrongIss      bool   `json:"wrong_iss,omitempty" at:"callback"`
	MissingIss    bool   `json:"missing_iss,omitempty" at:"callback"`
	WrongState    bool   `json:"wrong_state,omitempty" at:"callback"`
	NoState       bool   `json:"no_state,omitempty" at:"callback"`
	Deny          bool   `json:"deny,omitempty" at:"callback"`
	ErrorCallback string `json:"error_callback,omitempty" at:"callback"`
	CallbackSlash bool   `json:"callback_slash,omitempty" at:"callback"`

	UserinfoOtherSub bool `json:"userinfo_other_sub,omitempty" at:"userinfo"`
	APIAlways401     bool `json:"api_always_401,omitempty" at:"api"`
	API403Expired    bool `json:"api_403_expired,omitempty" at:"api"`
	APIDelayMS       int  `json:"api_delay_ms,omitempty" at:"api"`

	NoRotation           bool     `json:"no_rotation,omitempty" at:"setting"`
	GraceSeconds         int      `json:"grace_seconds,omitempty" at:"setting"`
	GraceNewPair         bool     `json:"grace_new_pair,omitempty" at:"setting"`
	RefreshRevokesAccess bool     `json:"refresh_revokes_access,omitempty" at:"setting"`
	NoLogin              string   `json:"no_login,omitempty" at:"setting"`
	BasicRaw             bool     `json:"basic_raw,omitempty" at:"setting"`
	PKCEOptional         bool     `json:"pkce_optional,omitempty" at:"setting"`
	PKCERefused          bool     `json:"pkce_refused,omitempty" at:"setting"`
	ClientAuth           string   `json:"client_auth,omitempty" at:"setting"`
	ClockOffsetSeconds   int      `json:"clock_offset_seconds,omitempty" at:"setting"`
	Implicit             bool     `json:"implicit,omitempty" at:"setting"`
	IDTokenES256         bool     `json:"id_token_es256,omitempty" at:"setting"`
	Log                  bool     `json:"log,omitempty" at:"setting"`
	Dialect              *Dialect `json:"dialect,omitempty" at:"setting"`
}

// Answer replaces what the token endpoint would have said; nothing is issued.
type Answer struct {
	Status      int               `json:"status,omitempty"`       // 200 where it is zero
	ContentType string            `json:"content_type,omitempty"` // application/json where it is empty
	Headers     map[string]string `json:"headers,omitempty"`
	Body        string            `json:"body,omitempty"`
}

// keepsRefreshToken reports whether a refresh leaves the old token good. An
// answer without a new one must, or it would be an answer that ends the grant.
func (sw *Switches) keepsRefreshToken() bool {
	return sw.NoRotation || sw.NoRefreshTokenOnRefresh || sw.EmptyRefreshToken
}

// Set replaces all switches.
func (s *Simulator) Set(sw Switches) {
	s.arming.Lock()
	defer s.arming.Unlock()
	s.armed.Store(arm(sw))
}

// Update changes some switches and keeps the others.
func (s *Simulator) Update(change func(*Switches)) {
	s.arming.Lock()
	defer s.arming.Unlock()
	sw := s.armed.Load().current()
	change(&sw)
	s.armed.Store(arm(sw))
}

// Switches returns what is on now; Times is what is left of it.
func (s *Simulator) Switches() Switches { return s.armed.Load().current() }

// place is a set of requests that switches touch.
type place uint8

const (
	atToken place = 1 << iota
	atExchange
	atRefresh
	atCallback
	atUserinfo
	atAPI
)

var places = map[string]place{
	"token": atToken, "exchange": atExchange, "refresh": atRefresh,
	"callback": atCallback, "userinfo": atUserinfo, "api": atAPI,
}

// armed is a set of switches made ready to be asked once per request.
type armed struct {
	all      Switches
	settings Switches // all without its faults
	faulty   place    // where a fault is on
	left     atomic.Int64
}

func arm(sw Switches) *armed {
	a := &armed{all: sw}
	a.left.Store(int64(sw.Times))
	from, to := reflect.ValueOf(sw), reflect.ValueOf(&a.settings).Elem()
	for i := range from.NumField() {
		if from.Field(i).IsZero() {
			continue
		}
		at := from.Type().Field(i).Tag.Get("at")
		a.faulty |= places[at]
		if at == "setting" {
			to.Field(i).Set(from.Field(i))
		}
	}
	return a
}

// take returns the switches for one request at a place and counts the request
// against Times if a fault touches it.
func (s *Simulator) take(at place) *Switches {
	a := s.armed.Load()
	if a.faulty&at == 0 {
		return &a.settings
	}
	if a.all.Times > 0 && a.left.Add(-1) < 0 {
		return &a.settings
	}
	return &a.all
}

// settings returns the switches that are no faults.
func (s *Simulator) settings() *Switches { return &s.armed.Load().settings }

func (a *armed) current() Switches {
	if a.all.Times == 0 {
		return a.all
	}
	left := a.left.Load()
	if left <= 0 {
		return a.settings
	}
	sw := a.all
	sw.Times = int(left)
	return sw
}
