package security

import (
	"errors"
	"fmt"
	"sync"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// Foreign is the bundle of one other trust domain, as it changes. One that implements
// x509bundle.Source too is asked by that, and may know several.
type Foreign interface {
	// Bundle is the newest; nil while there is none, and then nobody of it is trusted.
	Bundle() *x509bundle.Bundle
	// Changed returns a channel that is closed when Bundle next changes.
	Changed() <-chan struct{}
}

// Federated is a Source with the identity and the bundles of another one, and
// with bundles of trust domains that the other one does not know.
type Federated struct {
	own     Source
	foreign []Foreign
	stop    chan struct{}
	once    sync.Once
	wg      sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{}
}

// Federate adds foreign bundles to a Source. Bundles are never merged: that of our own
// trust domain comes from own alone, and so does every other that own knows; of
// several foreign ones of one trust domain the first counts. The caller must Close
// the result; that closes neither own nor foreign.
func Federate(own Source, foreign ...Foreign) (*Federated, error) {
	if own == nil {
		return nil, errors.New("security: Federate needs a Source, got nil")
	}
	f := &Federated{own: own, foreign: foreign, stop: make(chan struct{}), changed: make(chan struct{})}
	follow := func(next func() <-chan struct{}) {
		ch := next() // before anybody asks
		f.wg.Go(func() {
			for {
				select {
				case <-f.stop:
					return
				case <-ch:
				}
				ch = next()
				f.tell()
			}
		})
	}
	if a, ok := own.(interface{ Changed() <-chan struct{} }); ok {
		follow(a.Changed)
	}
	for i, x := range foreign {
		if x == nil {
			close(f.stop)
			f.wg.Wait()
			return nil, fmt.Errorf("security: Federate: foreign bundle %d is nil", i)
		}
		follow(x.Changed)
	}
	return f, nil
}

func (f *Federated) tell() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.changed)
	f.changed = make(chan struct{})
}

// Changed returns a channel that is closed when the SVID or a bundle next changes.
func (f *Federated) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// Close ends what follows the changes. It is idempotent and always returns nil.
func (f *Federated) Close() error {
	f.once.Do(func() { close(f.stop) })
	f.wg.Wait()
	return nil
}

// GetX509SVID implements Source.
func (f *Federated) GetX509SVID() (*x509svid.SVID, error) { return f.own.GetX509SVID() }

// GetX509BundleForTrustDomain implements Source.
func (f *Federated) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	b, err := f.own.GetX509BundleForTrustDomain(td)
	if err == nil {
		return b, nil
	}
	if own, oerr := f.own.GetX509SVID(); oerr != nil || own.ID.TrustDomain() == td {
		return nil, err
	}
	for _, x := range f.foreign {
		b := x.Bundle()
		if many, ok := x.(x509bundle.Source); ok {
			b, _ = many.GetX509BundleForTrustDomain(td) // none is nil
		}
		if b != nil && b.TrustDomain() == td {
			return b, nil
		}
	}
	return nil, err
}
