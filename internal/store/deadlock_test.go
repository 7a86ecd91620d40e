package store_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
)

// Batches of several nodes have connections in common, in any order.
func TestNodesThatLeaseTheSameConnectionsDoNotWaitForEachOtherInACircle(t *testing.T) {
	h := newHouse(t, storetest.Postgres(t))
	var all []behalf.Connection
	for i := range 40 {
		all = append(all, h.connect(fmt.Sprintf("user%d", i)))
	}
	var working sync.WaitGroup
	for n := range 3 {
		db := storetest.Open(t, h.url, h.Clock.Now).As(behalf.System("test"))
		for round := range len(all) {
			working.Go(func() {
				for i := range all {
					c := all[(i*(n+1)+round)%len(all)] // each in another order
					l, err := db.Lease(t.Context(), c, time.Minute)
					if err == store.ErrBusy || err == store.ErrStale {
						continue
					}
					if err == nil {
						err = db.Release(t.Context(), l, c)
					}
					if err != nil {
						t.Errorf("%v", err)
						return
					}
				}
			})
		}
	}
	working.Wait()
}
