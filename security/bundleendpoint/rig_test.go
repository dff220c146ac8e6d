package bundleendpoint

import (
	"bytes"
	"crypto/x509"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/security"
)

const (
	domain   = "partner.example"
	serverID = "spiffe://partner.example/bundle-server"
)

// endpoint is a bundle endpoint whose handler a test changes.
type endpoint struct {
	*httptest.Server
	answer atomic.Pointer[http.HandlerFunc]
	asked  atomic.Int64
}

func (e *endpoint) set(h http.HandlerFunc) { e.answer.Store(&h) }

// doc answers with a document.
func (e *endpoint) doc(t testing.TB, b *spiffebundle.Bundle) {
	t.Helper()
	doc, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	e.set(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(doc) })
}

// serve starts an endpoint: with a web certificate, or, with src, an SVID.
func serve(t testing.TB, src security.Source) *endpoint {
	t.Helper()
	e := &endpoint{}
	e.set(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusNotFound) })
	e.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.asked.Add(1)
		(*e.answer.Load())(w, r)
	}))
	e.Server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if src != nil {
		cfg, err := ServerTLS(src)
		if err != nil {
			t.Fatal(err)
		}
		// httptest would add a certificate of its own.
		e.Server.Config.TLSConfig = cfg
		e.URL = "https://" + e.Listener.Addr().String()
		done := make(chan error, 1)
		go func() { done <- e.Server.Config.ServeTLS(e.Listener, "", "") }()
		t.Cleanup(func() { _ = e.Server.Config.Close(); <-done })
		return e
	}
	e.StartTLS()
	t.Cleanup(e.Close)
	return e
}

// web is how to follow an endpoint with a web certificate.
func (e *endpoint) web() Config {
	roots := x509.NewCertPool()
	roots.AddCert(e.Certificate())
	return Config{TrustDomain: domain, URL: e.URL + "/bundle", Roots: roots}
}

// follow asks again every few milliseconds.
func follow(t testing.TB, cfg Config) *Source {
	t.Helper()
	if cfg.MaxRefresh == 0 {
		cfg.MinRefresh, cfg.MaxRefresh = 5*time.Millisecond, 5*time.Millisecond
	}
	s, err := Follow(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	_ = s.WaitAsked(t.Context()) // the tests look at the outcome
	return s
}

// until waits for a state that a change or a further attempt brings.
func until(t testing.TB, s *Source, what string, ok func(Status) bool) Status {
	t.Helper()
	for began := time.Now(); ; {
		st := s.Status()
		if ok(st) {
			return st
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("%s did not come: %+v", what, st)
		}
		wait := time.NewTimer(2 * time.Millisecond)
		select {
		case <-s.Changed():
		case <-wait.C:
		}
		wait.Stop()
	}
}

func bundle(ca *testpki.CA, sequence uint64) *spiffebundle.Bundle {
	b := spiffebundle.FromX509Bundle(ca.Bundle())
	if sequence > 0 {
		b.SetSequenceNumber(sequence)
	}
	return b
}

// events is a log that a test reads.
type events struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (e *events) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.buf.Write(p)
}

func (e *events) logger() *slog.Logger { return slog.New(slog.NewTextHandler(e, nil)) }

func (e *events) count(name string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Count(e.buf.String(), "msg="+name+" ")
}

func (e *events) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.buf.String()
}
