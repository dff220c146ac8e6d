package security_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/security"
)

// foreign is a bundle that a test changes.
type foreign struct {
	mu      sync.Mutex
	bundle  *x509bundle.Bundle
	changed chan struct{}
}

func newForeign(b *x509bundle.Bundle) *foreign {
	return &foreign{bundle: b, changed: make(chan struct{})}
}

func (f *foreign) Bundle() *x509bundle.Bundle { f.mu.Lock(); defer f.mu.Unlock(); return f.bundle }

func (f *foreign) Changed() <-chan struct{} { f.mu.Lock(); defer f.mu.Unlock(); return f.changed }

func (f *foreign) set(b *x509bundle.Bundle) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bundle = b
	close(f.changed)
	f.changed = make(chan struct{})
}

// TestFederate: a foreign bundle counts for its own trust domain, never for ours or for
// one that the source knows, and for nobody when it is gone.
func TestFederate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	evil := testpki.New(t, tdA) // says that it is our own trust domain's CA
	other := testpki.New(t, "b.example")
	theirs := newForeign(nil)
	f, err := security.Federate(w.server, newForeign(evil.Bundle()), newForeign(other.Bundle()), theirs, newForeign(testpki.New(t, "unknown.example").Bundle()))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	authorize := func(security.PeerID) error { return nil }
	try := func(ca *testpki.CA, id string) error {
		client := testpki.NewSource(ca.SVID(t, id), w.a.Bundle())
		_, serr := shake(t, client, f, authorize)
		return serr
	}
	const them = "spiffe://unknown.example/web"
	if err := try(w.a, clientID); err != nil {
		t.Errorf("our own: %v", err)
	}
	if err := try(w.b, "spiffe://b.example/web"); err != nil {
		t.Errorf("one that the source knows: %v", err)
	}
	for name, ca := range map[string]*testpki.CA{clientID: evil, "spiffe://b.example/web": other} {
		if err := try(ca, name); !errors.Is(err, security.ErrUntrusted) {
			t.Errorf("%s by a foreign CA of the same name: %v, want ErrUntrusted", name, err)
		}
	}
	if err := try(w.unknown, them); !errors.Is(err, security.ErrUntrusted) { // the last foreign one is another CA
		t.Errorf("before its bundle came: %v", err)
	}
	changed := f.Changed()
	theirs.set(w.unknown.Bundle())
	<-changed
	if err := try(w.unknown, them); err != nil {
		t.Errorf("with its bundle: %v", err)
	}
	changed = f.Changed()
	theirs.set(nil)
	<-changed
	if err := try(w.unknown, them); err == nil {
		t.Error("accepted after its bundle was removed")
	}
	if _, err := security.Federate(nil); err == nil {
		t.Error("Federate without a Source")
	}
	if _, err := security.Federate(w.server, nil); err == nil {
		t.Error("Federate with a nil bundle")
	}
}
