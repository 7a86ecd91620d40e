package simulator

import (
	"crypto/subtle"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// This file keeps grants and the tokens of each. The rules are:
//
//   - A refresh token is good once. A second use is taken for theft and revokes
//     the grant with all its tokens (RFC 9700 §4.14.2), unless it comes within
//     the grace that a switch allows.
//   - A code is good once, for a minute. A second use revokes what the first
//     one issued (RFC 6749 §4.1.2).
//   - Tokens are made from the grant's id and a generation and authenticated by
//     a MAC, so that millions of spent ones need no memory to be recognised.

const codeTTL = time.Minute

// grant is one person's yes to one client, and the family of its tokens.
type grant struct {
	id       string
	client   *client
	user     *User // nil where the client acts for itself
	scope    scopeSet
	nonce    string
	authTime time.Time

	mu         sync.Mutex
	revoked    bool
	access     int // generation of the newest access token
	refresh    int // generation of the only refresh token that is good; 0: none
	pair       pair
	committed  time.Time // when the newest access token was issued
	rotated    time.Time // when the newest refresh token was issued
	issued     string    // digest of the newest refresh token
	by         string    // the User-Agent that it was issued to
	duplicates int
	forgiven   int          // of these
	refused    bool         // by spurious_invalid_grant_once
	withdrawn  map[int]bool // access tokens revoked one by one
	expired    int          // generation up to which access tokens are ended by Expire

	online   bool           // brings no refresh token
	audience map[int]string // whom an access token is for, by generation
	whom     string         // what a refresh keeps to: the audience of a second pair
	twin     *grant         // of a dialect's second pair
	ended    []string       // kinds of token that were revoked in order
}

// pair is what one commit hands out.
type pair struct {
	access, refresh string
	scope           scopeSet
	generation      int
}

func (g *grant) subject() string {
	if g.user == nil {
		return g.client.ID
	}
	return g.user.Subject
}

// revoke ends the grant and reports whether it was alive.
func (g *grant) revoke() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := !g.revoked
	g.revoked = true
	return was
}

// keep files a new grant.
func (s *Simulator) keep(g *grant) *grant {
	g.id, g.audience = random(), map[int]string{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grants[g.id] = g
	return g
}

func (s *Simulator) grantsOf(userName string) []*grant {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []*grant
	for _, g := range s.grants {
		if g.user != nil && g.user.Name == userName {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b *grant) int { return strings.Compare(a.id, b.id) })
	return out
}

// issue hands out the next pair. g.mu is held, or nobody else knows g yet.
func (s *Simulator) issue(g *grant, scope scopeSet, rotate bool) pair {
	now := s.cfg.Now()
	g.access++
	g.committed = now
	if rotate {
		g.refresh++
		g.rotated = now
	}
	g.pair = pair{scope: scope, generation: g.access}
	g.pair.access = s.accessToken(g, g.access, scope, now.Add(s.cfg.AccessTokenTTL))
	if g.refresh > 0 {
		g.pair.refresh = s.refreshToken(g)
		g.issued = digest(g.pair.refresh)
	}
	return g.pair
}

// renew answers a refresh request for the token of generation presented.
func (s *Simulator) renew(g *grant, presented int, scope scopeSet, sw *Switches, by string) (pair, *oauthError) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := s.cfg.Now()
	if g.revoked {
		return pair{}, invalidGrant("the grant was revoked")
	}
	if presented != g.refresh {
		g.duplicates++
		s.counts.Load().duplicates.Add(1)
		grace := time.Duration(sw.GraceSeconds) * time.Second
		if presented != g.refresh-1 || now.Sub(g.rotated) >= grace {
			g.revoked = true
			s.counts.Load().familiesRevoked.Add(1)
			return pair{}, invalidGrant("the refresh token was used before; the grant is revoked")
		}
		s.counts.Load().graceReplays.Add(1)
		g.forgiven++
		if !sw.GraceNewPair {
			return g.pair, nil
		}
	}
	if ttl := s.cfg.RefreshTokenTTL; ttl > 0 && now.Sub(g.rotated) >= ttl {
		return pair{}, invalidGrant("the refresh token has expired")
	}
	if sw.SpuriousInvalidGrantOnce && !g.refused {
		g.refused = true
		return pair{}, invalidGrant("the refresh token is invalid")
	}
	g.by = by
	return s.issue(g, scope, !sw.keepsRefreshToken()), nil
}

// accessToken makes acorn_at_<grant>.<generation>.<expiry>.<scopes>.<mac>.
func (s *Simulator) accessToken(g *grant, generation int, scope scopeSet, expires time.Time) string {
	b := make([]byte, 0, 80)
	b = append(append(b, accessPrefix...), g.id...)
	b = strconv.AppendInt(append(b, '.'), int64(generation), 36)
	b = strconv.AppendInt(append(b, '.'), expires.Unix(), 36)
	b = strconv.AppendUint(append(b, '.'), uint64(scope), 36)
	sum := s.sum(string(b))
	return string(append(append(b, '.'), sum...))
}

// refreshToken makes acorn_rt_<grant>.<generation>.<mac>.
func (s *Simulator) refreshToken(g *grant) string {
	b := make([]byte, 0, 64)
	b = append(append(b, refreshPrefix...), g.id...)
	b = strconv.AppendInt(append(b, '.'), int64(g.refresh), 36)
	sum := s.sum(string(b))
	return string(append(append(b, '.'), sum...))
}

const (
	accessPrefix  = "acorn_at_"
	refreshPrefix = "acorn_rt_"
)

// opened is a token that this simulator once issued, whatever became of it.
type opened struct {
	grant      *grant
	generation int
	access     bool
	expires    time.Time // of an access token
	scope      scopeSet
}

// open recognises a token, also one that is expired, spent or revoked.
func (s *Simulator) open(token string) (opened, bool) {
	at := strings.LastIndexByte(token, '.')
	if at < 0 || !s.sumEqual(token[:at], token[at+1:]) {
		return opened{}, false
	}
	access := strings.HasPrefix(token, accessPrefix)
	if !access && !strings.HasPrefix(token, refreshPrefix) {
		return opened{}, false
	}
	part := strings.Split(token[len(accessPrefix):at], ".")
	s.mu.RLock()
	g := s.grants[part[0]]
	s.mu.RUnlock()
	if g == nil {
		return opened{}, false // from before a reset
	}
	o := opened{grant: g, access: access, scope: g.scope}
	n, _ := strconv.ParseInt(part[1], 36, 64) // the MAC vouches for the form
	o.generation = int(n)
	if access {
		unix, _ := strconv.ParseInt(part[2], 36, 64)
		bits, _ := strconv.ParseUint(part[3], 36, 64)
		o.expires, o.scope = time.Unix(unix, 0), scopeSet(bits)
	}
	return o, true
}

// good reports whether the token would be accepted now.
func (s *Simulator) good(o opened, sw *Switches) bool {
	g := o.grant
	g.mu.Lock()
	defer g.mu.Unlock()
	now := s.cfg.Now()
	switch {
	case g.revoked, o.access && o.generation <= g.expired:
		return false
	case !o.access:
		ttl := s.cfg.RefreshTokenTTL
		return o.generation == g.refresh && (ttl == 0 || now.Sub(g.rotated) < ttl)
	case sw.RefreshRevokesAccess && o.generation != g.access:
		return false
	default:
		return now.Before(o.expires) && !g.withdrawn[o.generation]
	}
}

// withdraw revokes one access token, or with a refresh token the whole grant
// (RFC 7009 §2.1).
func (s *Simulator) withdraw(o opened) {
	if !o.access {
		o.grant.revoke()
		return
	}
	g := o.grant
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.withdrawn == nil {
		g.withdrawn = map[int]bool{}
	}
	g.withdrawn[o.generation] = true
}

// code is an authorization code, remembered past its use to notice a second.
type code struct {
	authorization
	user     *User
	authTime time.Time
	expires  time.Time
	grant    *grant // what the first use issued
	used     bool
}

// newCode files a code for an authorization that the user allowed.
func (s *Simulator) newCode(a authorization, p signedIn) string {
	value := "acorn_code_" + random() + random()
	now := s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.codes) > 10000 {
		s.forgetCodes(now)
	}
	s.codes[value] = &code{authorization: a, user: p.user, authTime: p.at, expires: now.Add(codeTTL)}
	return value
}

// forgetCodes drops codes that expired an hour ago. s.mu is held.
func (s *Simulator) forgetCodes(now time.Time) {
	for value, c := range s.codes {
		if now.Sub(c.expires) > time.Hour {
			delete(s.codes, value)
		}
	}
}

// redeem turns a code into a grant. A wrong verifier or redirect URI spends the
// code, for whoever sent them has the code and should not have it.
func (s *Simulator) redeem(c *client, value, redirectURI, verifier string) (*grant, *oauthError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.codes[value]
	if k == nil || k.client != c {
		return nil, invalidGrant("the code is unknown")
	}
	if k.used {
		s.counts.Load().codeReplays.Add(1)
		if k.grant != nil && k.grant.revoke() {
			s.counts.Load().familiesRevoked.Add(1)
		}
		return nil, invalidGrant("the code was used before; its tokens are revoked")
	}
	k.used = true
	switch {
	case !s.cfg.Now().Before(k.expires):
		return nil, invalidGrant("the code has expired")
	case k.redirectURI != redirectURI:
		return nil, invalidGrant("the redirect_uri is not that of the authorization request")
	case !verifies(k.challenge, verifier):
		return nil, invalidGrant("the code_verifier does not match the code_challenge")
	}
	k.grant = &grant{id: random(), client: c, user: k.user, scope: k.scope, nonce: k.nonce, authTime: k.authTime, online: k.online, audience: map[int]string{}}
	s.grants[k.grant.id] = k.grant
	return k.grant, nil
}

// verifies checks PKCE with S256 (RFC 7636 §4.6). A verifier without a
// challenge is refused as well: that is a downgrade (RFC 9700 §2.1.1).
func verifies(challenge, verifier string) bool {
	if challenge == "" {
		return verifier == ""
	}
	return subtle.ConstantTimeCompare([]byte(s256(verifier)), []byte(challenge)) == 1
}
