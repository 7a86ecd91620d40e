//go:build linux

package torture

import (
	"testing"
	"time"
)

func TestAClockThatIsSetKeepsItsMonotonicReading(t *testing.T) {
	c := Clock{Real: time.Now}
	first := time.Now()
	for n := range len(jumps) {
		c.Jump(n)
		now, real := c.Now(), time.Now()
		if d := now.Sub(first); d < 0 || d > time.Minute {
			t.Errorf("set by %s, it says that %s have gone by", jumps[n], d)
		}
		if d := now.Round(0).Sub(real.Round(0)) - jumps[n]; d > time.Minute || d < -time.Minute {
			t.Errorf("set by %s, it is wrong by %s more", jumps[n], d)
		}
	}
}
