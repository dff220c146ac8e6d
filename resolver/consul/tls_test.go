package consul

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/weft-mesh/weft/resolver"
)

// TestHTTPS: over https all watches share a connection, and a server that the
// configured CA did not sign gets no token.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	var conns atomic.Int64
	f := &fake{perSvc: map[string]int{}, answer: func(q question) response {
		if q.token != "secret" {
			return response{status: 403}
		}
		return block(q, list3(5))
	}}
	good := httptest.NewUnstartedServer(f)
	good.EnableHTTP2 = true
	good.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of the refused handshakes
	good.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateActive {
			conns.Add(1)
		}
	}
	good.StartTLS()
	t.Cleanup(good.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: good.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c := open(t, Config{Address: good.URL, Token: "secret", TLS: TLSConfig{CAFile: ca}})
	read(t, c, "web").until("is known", known(3))
	for i := range 200 {
		read(t, c, fmt.Sprintf("web-%d", i)).until("is known", known(3))
	}
	if n := conns.Load(); n > 8 { // a few may be dialled before the first one is up
		t.Errorf("%d connections for 201 services over HTTP/2", n)
	}

	wrong := open(t, Config{Address: good.URL, Token: "secret", TLS: TLSConfig{CAFile: ca, ServerName: "server.dc1.consul"}})
	s := read(t, wrong, "wrong").until("is unknown with a reason", func(s *resolver.Snapshot) bool { return s.Reason != nil })
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.State != resolver.Unknown || f.perSvc["wrong"] != 0 {
		t.Errorf("a server with the wrong name was asked: %s", show(s))
	}
}
