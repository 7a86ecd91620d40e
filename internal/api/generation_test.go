package api_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
)

func TestWhatWaitsForARefreshSaysWhenToComeAgain(t *testing.T) {
	b := newBuilding(t)
	id := b.newRefreshed(t)
	c, err := b.System.Connection(t.Context(), behalf.ConnectionID(id))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.System.Lease(t.Context(), c, time.Minute); err != nil {
		t.Fatal(err)
	}
	a := b.Do(b.Owner, http.MethodPost, "/v1/assistants/"+b.Assistant.Slug+"/connections/"+id+"/generations/1/restore", nil)
	a.Problem(t, http.StatusServiceUnavailable, behalf.CodeRefreshInProgress)
	if after := a.Header.Get("Retry-After"); after != "1" {
		t.Errorf("Retry-After is %q", after)
	}
}
