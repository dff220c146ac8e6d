package security_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/security"
)

// A resumed TLS session shows no certificate. Whoever verifies only certificates
// that are shown lets a revoked peer in for as long as its ticket lives.

// echo serves TLS connections that send one byte and want it back, and
// counts the ones that got so far.
func echo(t *testing.T, cfg *tls.Config, served *atomic.Int64) string {
	t.Helper()
	lis := listen(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			raw, err := lis.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				conn := tls.Server(raw, cfg)
				defer conn.Close()
				b := make([]byte, 1)
				if _, err := io.ReadFull(conn, b); err != nil {
					return
				}
				served.Add(1)
				_, _ = conn.Write(b) // the client notices if it is missing
			})
		}
	})
	t.Cleanup(func() { _ = lis.Close(); wg.Wait() })
	return lis.Addr().String()
}

func ping(t *testing.T, cfg *tls.Config, addr string) (resumed bool, err error) {
	t.Helper()
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, cfg)
	defer conn.Close()
	if _, err := conn.Write([]byte{1}); err != nil {
		return false, err
	}
	_, err = io.ReadFull(conn, make([]byte, 1)) // also reads the tickets
	return conn.ConnectionState().DidResume, err
}

func TestRevokedClientCannotResume(t *testing.T) {
	t.Parallel()
	plain := func(c *tls.Config) *tls.Config { return c }
	nested := func(c *tls.Config) *tls.Config {
		return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c, nil }}
	}
	cloned := func(c *tls.Config) *tls.Config {
		return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.Clone(), nil }}
	}
	// Even with the tickets that ServerTLS does not give, VerifyConnection must refuse.
	tickets := func(c *tls.Config) *tls.Config { c = c.Clone(); c.SessionTicketsDisabled = false; return c }
	for name, tt := range map[string]struct {
		server  func(*tls.Config) *tls.Config
		resumes bool
	}{
		"plain":                           {plain, false},
		"GetConfigForClient":              {nested, false},
		"GetConfigForClient with a clone": {cloned, false},
		"tickets on":                      {tickets, true},
		"tickets on, GetConfigForClient":  {func(c *tls.Config) *tls.Config { return nested(tickets(c)) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var denied atomic.Bool
			authorize := func(security.PeerID) error {
				if denied.Load() {
					return errors.New("revoked")
				}
				return nil
			}
			// The client is of a federated domain, and keeps sessions.
			w.client.SetSVID(w.b.SVID(t, "spiffe://b.example/web"))
			ccfg := must[*tls.Config](t)(security.ClientTLS(w.client, serverID))
			ccfg.ClientSessionCache, ccfg.SessionTicketsDisabled = tls.NewLRUClientSessionCache(8), false
			ccfg.ServerName = "payments"
			var served atomic.Int64
			addr := echo(t, tt.server(must[*tls.Config](t)(security.ServerTLS(w.server, authorize))), &served)
			for i := range 2 {
				resumed, err := ping(t, ccfg, addr)
				if err != nil {
					t.Fatal(err)
				}
				if want := tt.resumes && i > 0; resumed != want {
					t.Errorf("connection %d: resumed %v, want %v", i, resumed, want)
				}
			}
			for revocation, f := range map[string]func(bool){
				"bundle removed": func(on bool) {
					if on {
						w.server.SetBundle(w.b.TrustDomain, nil)
					} else {
						w.server.SetBundle(w.b.TrustDomain, w.b.Bundle())
					}
				},
				"CA replaced": func(on bool) {
					if on {
						w.server.SetBundle(w.b.TrustDomain, testpki.New(t, "b.example").Bundle())
					} else {
						w.server.SetBundle(w.b.TrustDomain, w.b.Bundle())
					}
				},
				"authorizer denies": denied.Store,
			} {
				f(true)
				before := served.Load()
				if _, err := ping(t, ccfg, addr); err == nil || served.Load() != before {
					t.Errorf("%s: the client came in, %v", revocation, err)
				}
				f(false)
				if _, err := ping(t, ccfg, addr); err != nil {
					t.Errorf("%s undone: %v", revocation, err)
				}
			}
		})
	}
}

func TestClientDoesNotResumeWithARevokedServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	scfg := must[*tls.Config](t)(security.ServerTLS(w.server, nil))
	scfg.SessionTicketsDisabled = false
	ccfg := must[*tls.Config](t)(security.ClientTLS(w.client, serverID))
	ccfg.ClientSessionCache, ccfg.SessionTicketsDisabled = tls.NewLRUClientSessionCache(8), false
	ccfg.ServerName = "payments"
	var served atomic.Int64
	addr := echo(t, scfg, &served)
	for i := range 2 {
		if resumed, err := ping(t, ccfg, addr); err != nil || resumed != (i > 0) {
			t.Fatalf("connection %d: resumed %v, %v", i, resumed, err)
		}
	}
	w.client.SetBundle(w.a.TrustDomain, testpki.New(t, tdA).Bundle())
	if _, err := ping(t, ccfg, addr); !errors.Is(err, security.ErrUntrusted) {
		t.Errorf("resumed with a server whose CA is gone: %v, want ErrUntrusted", err)
	}
}
