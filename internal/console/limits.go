package console

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/behalf-dev/behalf"
)

// limits slows those down who guess passwords. The rules are:
//
//   - Only what failed counts: who knows the password is not slowed down by
//     having come often.
//   - Names and addresses share a fixed number of buckets, so that no flood of
//     them takes memory or pushes another's count out.
type limits struct {
	now       func() time.Time
	seed      maphash.Seed
	mu        sync.Mutex
	accounts  [buckets]*rate.Limiter
	addresses [buckets]*rate.Limiter
}

const (
	buckets = 4096

	perAccount = 10 // failures at once; then one in accountPause
	perAddress = 30

	accountPause = 10 * time.Second
	addressPause = 2 * time.Second
)

func newLimits(now func() time.Time) *limits { return &limits{now: now, seed: maphash.MakeSeed()} }

// try takes one try from both buckets, or says when to come again. Give it back
// where it did not fail.
func (l *limits) try(account, address string) (giveBack func(), err error) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	byAccount := l.bucket(&l.accounts, account, accountPause, perAccount).ReserveN(now, 1)
	byAddress := l.bucket(&l.addresses, network(address), addressPause, perAddress).ReserveN(now, 1)
	giveBack = func() {
		byAccount.CancelAt(now)
		byAddress.CancelAt(now)
	}
	if wait := max(byAccount.DelayFrom(now), byAddress.DelayFrom(now)); wait > 0 {
		giveBack()
		return nil, tooMany(wait)
	}
	return giveBack, nil
}

// start takes one from the address's bucket alone, for what keeps something
// before anybody is known.
func (l *limits) start(address string) error {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.bucket(&l.addresses, network(address), addressPause, perAddress).ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return tooMany(wait)
	}
	return nil
}

func tooMany(wait time.Duration) error {
	return &behalf.Error{Code: behalf.CodeLimited, RetryAfter: wait, Message: "There were too many tries. Wait a little, then try again."}
}

func (l *limits) bucket(all *[buckets]*rate.Limiter, key string, pause time.Duration, burst int) *rate.Limiter {
	i := maphash.String(l.seed, key) % buckets
	if all[i] == nil {
		all[i] = rate.NewLimiter(rate.Every(pause), burst)
	}
	return all[i]
}

// network returns what one person has of addresses: all of an IPv6 /64.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || !ip.Is6() || ip.Is4In6() {
		return address
	}
	p, err := ip.Prefix(64)
	if err != nil {
		return address
	}
	return p.String()
}
