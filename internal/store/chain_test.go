package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/storetest"
)

// logged is a house whose audit log has several links of two chains, and one
// line in each.
func logged(t *testing.T, url string) *house {
	h := newHouse(t, url)
	h.verified()
	other := storetest.Open(t, url, h.Clock.Now)
	for i := range 3 {
		h.NewAssistant(fmt.Sprintf("Bot %d", i))
		h.verified()
		if _, err := other.As(behalf.System("other")).CreateAssistant(t.Context(), behalf.NewAssistant(fmt.Sprintf("Other %d", i), h.DB.Now())); err != nil {
			t.Fatal(err)
		}
		if _, err := other.As(behalf.System("other")).VerifyAudit(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h *house) verified(heads ...behalf.AuditHead) behalf.AuditReport {
	h.t.Helper()
	r, err := h.System.VerifyAudit(h.t.Context(), heads)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

func (h *house) heads() []behalf.AuditHead {
	h.t.Helper()
	heads, err := h.System.AuditHeads(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return heads
}

func TestAWholeAuditLogVerifies(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := logged(t, url)
		if r := h.verified(h.heads()...); len(r.Problems) > 0 || r.Chains != 2 || r.Links < 6 || r.Lines < 6 || r.Unlinked != 0 {
			t.Errorf("%+v", r)
		}
		// It grows, and old heads still fit.
		heads := h.heads()
		h.NewAssistant("Later")
		if r := h.verified(heads...); len(r.Problems) > 0 {
			t.Errorf("%+v", r)
		}
		if old, _ := h.rotated(); old == "" {
			t.Fatal()
		}
		if r := h.verified(heads...); len(r.Problems) > 0 {
			t.Errorf("after a rotation: %+v", r)
		}
	})
}

func TestATouchedAuditLogDoesNotVerify(t *testing.T) {
	for name, test := range map[string]struct {
		touch string // NODE: this node
		want  string
		head  bool // noticed only against a kept head
	}{
		"a line that was changed":               {"UPDATE audit SET actor = 'system:nobody' WHERE node = 'NODE' AND seq = 3", "one was changed", false},
		"a count that was changed":              {"UPDATE audit SET count = count + 1 WHERE node = 'NODE' AND seq = 2", "one was changed", false},
		"a time that was changed":               {"UPDATE audit SET at = at - 1 WHERE node = 'NODE' AND seq = 2", "one was changed", false},
		"a line that was removed":               {"DELETE FROM audit WHERE node = 'NODE' AND seq = 2", "were removed", false},
		"a link that was removed":               {"DELETE FROM audit_links WHERE chain = 'NODE' AND link = 2", "links 2 to 2 are missing", false},
		"a link with its lines":                 {"DELETE FROM audit_links WHERE chain = 'NODE' AND link = 1; DELETE FROM audit WHERE node = 'NODE' AND seq <= 2", "are missing", false},
		"a whole chain":                         {"DELETE FROM audit_links WHERE chain = 'NODE'; DELETE FROM audit WHERE node = 'NODE'", "another chain knows it", false},
		"a link that was changed":               {"UPDATE audit_links SET at = at - 1 WHERE chain = 'NODE' AND link = 2", "link 2 was changed", false},
		"lines said to be forgotten":            {"UPDATE audit_links SET forgotten = 1 WHERE chain = 'NODE' AND link = 2; DELETE FROM audit WHERE node = 'NODE' AND seq = 3", "not written by us", false},
		"a line that was added":                 {"INSERT INTO audit (node, seq, at, actor, assistant, action, object, detail, count) VALUES ('NODE', 999, 1, 'x', '', 'x', 'x', '', 1)", "hangs on no link", false},
		"a log that was cut back to an earlier": {"DELETE FROM audit_links WHERE link > 1; DELETE FROM audit WHERE seq > 3", "cut back", true},
		"a log that was emptied":                {"DELETE FROM audit_links; DELETE FROM audit", "cut back", true},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, url string) {
				h := logged(t, url)
				heads := h.heads()
				for _, text := range strings.Split(strings.ReplaceAll(test.touch, "NODE", string(h.DB.Node)), ";") {
					h.exec(text)
				}
				r := h.verified()
				if test.head {
					r = h.verified(heads...)
				}
				if !strings.Contains(strings.Join(r.Problems, "\n"), test.want) {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

func TestTheLinesOfANodeThatDiedAreLinkedByAnother(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url) // its lines are linked by nobody, as if it were killed
		db := storetest.Open(t, url, h.Clock.Now)
		adopted := func() behalf.AuditReport {
			r, err := db.As(behalf.System("other")).VerifyAudit(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		if r := adopted(); r.Unlinked == 0 {
			t.Fatalf("%+v", r)
		}
		if err := db.Adopt(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r := adopted(); r.Unlinked != 0 || len(r.Problems) > 0 {
			t.Errorf("%+v", r)
		}
		if err := db.Adopt(t.Context()); err != nil {
			t.Error(err)
		}
		if r := adopted(); r.Links != 1 {
			t.Errorf("what is linked is linked again: %+v", r)
		}
	})
}

func TestAnAuditLogForgetsByAgeAndByNumber(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := logged(t, url)
		all := h.verified().Lines
		if err := h.System.ForgetAudit(t.Context(), time.Time{}, 0); err != nil {
			t.Fatal(err)
		}
		if r := h.verified(); r.Lines != all {
			t.Errorf("asked for nothing, forgot: %+v", r)
		}
		heads := h.heads()
		if err := h.System.ForgetAudit(t.Context(), time.Time{}, all-2); err != nil {
			t.Fatal(err)
		}
		if r := h.verified(heads...); r.Lines > all-2 || r.Lines < all-4 || len(r.Problems) > 0 {
			t.Errorf("%d lines were there: %+v", all, r)
		}
		if err := h.System.ForgetAudit(t.Context(), h.DB.Now().Add(time.Hour), 0); err != nil {
			t.Fatal(err)
		}
		if r := h.verified(heads...); r.Lines != 0 || len(r.Problems) > 0 {
			t.Errorf("%+v", r)
		}
	})
}
