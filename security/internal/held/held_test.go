package held

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/internal/testpki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCell(t *testing.T) {
	t.Parallel()
	ca := testpki.New(t, "a.example")
	var c Cell
	if _, err := c.GetX509SVID(); err == nil {
		t.Error("an empty cell gave an SVID")
	}
	if !c.Note(errors.New("agent away")) || c.Note(errors.New("agent away")) {
		t.Error("Note must report only a new text")
	}
	if _, err := c.GetX509SVID(); err == nil || !strings.Contains(err.Error(), "agent away") {
		t.Errorf("GetX509SVID = %v, want the reason", err)
	}
	changed := c.Changed()
	one := ca.SVID(t, "spiffe://a.example/x")
	if a, b := c.Set(one, Bundles{ca.TrustDomain: ca.Bundle()}); !a || !b {
		t.Errorf("first Set = %v, %v", a, b)
	}
	select {
	case <-changed:
	default:
		t.Error("Changed was not closed")
	}
	if a, b := c.Set(one, Bundles{ca.TrustDomain: ca.Bundle()}); a || b {
		t.Errorf("Set of the same = %v, %v", a, b)
	}
	if a, b := c.Set(ca.SVID(t, "spiffe://a.example/x"), Bundles{ca.TrustDomain: ca.Bundle()}); !a || b {
		t.Errorf("Set of a new SVID = %v, %v", a, b)
	}
	other := testpki.New(t, "b.example")
	if _, b := c.Set(one, Bundles{ca.TrustDomain: ca.Bundle(), other.TrustDomain: other.Bundle()}); !b {
		t.Error("a further bundle is no change")
	}
	if !c.Note(nil) || c.Note(nil) {
		t.Error("Note must report once that it works again")
	}
	s := c.Status()
	if s.ID != "spiffe://a.example/x" || s.Err != nil || strings.Join(s.TrustDomains, " ") != "a.example b.example" {
		t.Errorf("Status = %+v", s)
	}
	if _, err := c.GetX509BundleForTrustDomain(testpki.New(t, "c.example").TrustDomain); err == nil {
		t.Error("a bundle for an unknown trust domain")
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	ca := testpki.New(t, "a.example")
	expired := ca.SVID(t, "spiffe://a.example/x", func(s *testpki.Spec) { s.Template.NotAfter = time.Now().Add(-time.Second) })
	for name, err := range map[string]error{
		"expired": Verify(expired, ca.Bundle()),
		"strange": Verify(testpki.New(t, "a.example").SVID(t, "spiffe://a.example/x"), ca.Bundle()),
	} {
		if err == nil {
			t.Errorf("%s: verified", name)
		}
	}
	if err := Verify(ca.SVID(t, "spiffe://a.example/x"), ca.Bundle()); err != nil {
		t.Error(err)
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		ca := testpki.New(t, "a.example")
		var c Cell
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.Guard(stop, slog.New(slog.NewTextHandler(&log, nil)))
		}()
		for range 2 { // in time: nothing to say
			c.Set(ca.SVID(t, "spiffe://a.example/x"), Bundles{ca.TrustDomain: ca.Bundle()})
			time.Sleep(50 * time.Minute)
		}
		synctest.Wait()
		if log.Len() > 0 {
			t.Errorf("renewed in time, but it says:\n%s", log.String())
		}
		c.Set(ca.SVID(t, "spiffe://a.example/x"), Bundles{ca.TrustDomain: ca.Bundle()})
		c.Note(errors.New("agent away"))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if n, m := strings.Count(log.String(), "msg=svid.expiring"), strings.Count(log.String(), "msg=svid.expired"); n != 3 || m != 1 {
			t.Errorf("%d warnings and %d errors, want 3 and 1:\n%s", n, m, log.String())
		}
		close(stop)
		<-done
	})
}
