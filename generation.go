package behalf

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Origin says how a generation of a credential came to be kept.
type Origin string

const (
	OriginUnknown Origin = ""        // it was kept before this was noted
	OriginConnect Origin = "connect" // a person authorized, or nobody had to
	OriginRefresh Origin = "refresh"
	OriginImport  Origin = "import"
	OriginAdopt   Origin = "adopt"   // a stray that was put in force when the current one was refused
	OriginRestore Origin = "restore" // an administrator put an older one in force
)

// Generation is one credential that is kept of a connection, without what is
// secret of it.
type Generation struct {
	Number     int64
	Fence      int64 // tells those of one number apart
	Origin     Origin
	ObtainedAt time.Time // from the provider
	KeptAt     time.Time // zero: it was kept before this was noted
	Current    bool      // the one in force
	Stray      bool      // it never was: it came when another was in force already
}

// ID names a generation within its connection.
func (g Generation) ID() string { return fmt.Sprintf("%d-%d", g.Number, g.Fence) }

// FindGeneration returns the generation that is meant by its ID, or by its
// number alone where only one has it, strays aside.
func FindGeneration(all []Generation, name string) (Generation, error) {
	number, fence, whole := strings.Cut(name, "-")
	n, err := strconv.ParseInt(number, 10, 64)
	f, ferr := strconv.ParseInt(fence, 10, 64)
	if err != nil || whole && ferr != nil {
		return Generation{}, NotFound("generation")
	}
	var found []Generation
	for _, g := range all {
		if g.Number == n && (whole && g.Fence == f || !whole && !g.Stray) {
			found = append(found, g)
		}
	}
	switch len(found) {
	case 0:
		return Generation{}, NotFound("generation")
	case 1:
		return found[0], nil
	}
	return Generation{}, Errorf(CodeConflict, "Several generations that are kept have this number; name one by its id.")
}

// Restored returns the connection with a credential of an earlier generation,
// or a stray, as the next one. A lapsed connection is active again: whether the
// provider still takes it shows when it is used.
func (c Connection) Restored(got Credential) Connection {
	c = c.holding(got)
	c.Generation++
	c.WarnedAt = time.Time{} // when it ends was told of another
	return c
}
