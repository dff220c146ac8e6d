package security_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/security"
)

// shake connects both ends and moves one byte each way.
func shake(t *testing.T, client, server security.Source, authorize security.Authorizer) (cerr, serr error) {
	t.Helper()
	ccfg := must[*tls.Config](t)(security.ClientTLS(client, serverID))
	scfg := must[*tls.Config](t)(security.ServerTLS(server, authorize))
	a, b := netPipe(t)
	return both(func() error {
		defer a.Close()
		conn := tls.Client(a, ccfg)
		if _, err := conn.Write([]byte{1}); err != nil {
			return err
		}
		_, err := conn.Read(make([]byte, 1))
		return err
	}, func() error {
		defer b.Close()
		conn := tls.Server(b, scfg)
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			return err
		}
		_, err := conn.Write([]byte{1})
		return err
	})
}

func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var calls atomic.Int64
	addr := grpcServer(t, security.ServerCredentials(w.server, nil), &calls)
	creds := security.ClientCredentials(w.client, expectID(serverID))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var failed atomic.Int64
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := grpcCall(t, creds, addr); err != nil { // a new handshake each time
					failed.Add(1)
					t.Error(err)
					return
				}
			}
		})
	}
	// Each round is a CA rotation: trust the next, issue from it, forget the old.
	old := w.a
	for range 20 {
		next := testpki.New(t, tdA)
		sources := []*testpki.Source{w.client, w.server}
		overlap := x509bundle.FromX509Authorities(old.TrustDomain, append(old.Bundle().X509Authorities(), next.Cert))
		steps := []func(){
			func() { sources[0].SetBundle(old.TrustDomain, overlap); sources[1].SetBundle(old.TrustDomain, overlap) },
			func() { w.server.SetSVID(next.SVID(t, serverID)) },
			func() { w.client.SetSVID(next.SVID(t, clientID)) },
		}
		for _, step := range steps {
			step()
			for seen := calls.Load(); calls.Load() < seen+8 && failed.Load() == 0; { // whatever began before is over
				<-time.After(time.Millisecond)
			}
		}
		w.client.SetBundle(old.TrustDomain, next.Bundle())
		w.server.SetBundle(old.TrustDomain, next.Bundle())
		old = next
	}
	close(stop)
	wg.Wait()
	t.Logf("%d handshakes in 20 rotations, %d failed", calls.Load(), failed.Load())
}

func TestExpiredOwnSVIDIsNotPresented(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, side := range []string{"client", "server"} {
			w := newWorld(t)
			if cerr, serr := shake(t, w.client, w.server, nil); cerr != nil || serr != nil {
				t.Fatal(cerr, serr)
			}
			time.Sleep(2 * time.Hour)
			w.client.SetSVID(w.a.SVID(t, clientID))
			if side == "client" {
				w.client, w.server = testpki.NewSource(w.a.SVID(t, clientID, expired), w.a.Bundle()), testpki.NewSource(w.a.SVID(t, serverID), w.a.Bundle())
			}
			cerr, serr := shake(t, w.client, w.server, nil)
			own := map[string]error{"client": cerr, "server": serr}[side]
			if cerr == nil || serr == nil || !errors.Is(own, security.ErrNoIdentity) || !errors.Is(own, security.ErrExpired) {
				t.Errorf("expired %s: client %v, server %v", side, cerr, serr)
			}
			if !strings.Contains(own.Error(), "own SVID spiffe://a.example/") || !strings.Contains(own.Error(), "local time") {
				t.Errorf("text %q", own)
			}
		}
	})
}

func expired(s *testpki.Spec) { s.Template.NotAfter = time.Now().Add(-time.Minute) }

// broken is a source that a careless implementation could be.
type broken struct {
	svid   *x509svid.SVID
	bundle *x509bundle.Bundle
	err    error
}

func (b broken) GetX509SVID() (*x509svid.SVID, error) { return b.svid, b.err }
func (b broken) GetX509BundleForTrustDomain(spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	return b.bundle, b.err
}

func TestBrokenSourcesTrustNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good, serves := w.a.SVID(t, clientID), w.a.SVID(t, serverID)
	for name, tt := range map[string]struct {
		src  broken
		want error
	}{
		"nil bundle":              {broken{svid: good}, security.ErrUnknownTrustDomain},
		"empty bundle":            {broken{svid: good, bundle: x509bundle.New(w.a.TrustDomain)}, security.ErrUnknownTrustDomain},
		"bundle of other domain":  {broken{svid: good, bundle: x509bundle.FromX509Authorities(w.b.TrustDomain, []*x509Certificate{w.a.Cert})}, security.ErrUnknownTrustDomain},
		"nil SVID":                {broken{bundle: w.a.Bundle()}, security.ErrNoIdentity},
		"SVID without cert":       {broken{svid: &x509svid.SVID{PrivateKey: good.PrivateKey}, bundle: w.a.Bundle()}, security.ErrNoIdentity},
		"SVID without key":        {broken{svid: &x509svid.SVID{Certificates: good.Certificates}, bundle: w.a.Bundle()}, security.ErrNoIdentity},
		"error with\nline breaks": {broken{err: errors.New("x\ny")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cerr, serr := shake(t, tt.src, w.server, nil)
			if cerr == nil || tt.want != nil && !errors.Is(cerr, tt.want) || serr == nil {
				t.Errorf("as client: %v, server says %v; want %v", cerr, serr, tt.want)
			}
			if tt.src.svid == good {
				tt.src.svid = serves
			}
			cerr, serr = shake(t, w.client, tt.src, security.AuthorizeMemberOf(w.a.TrustDomain))
			if serr == nil || tt.want != nil && !errors.Is(serr, tt.want) || cerr == nil {
				t.Errorf("as server: %v, client says %v; want %v", serr, cerr, tt.want)
			}
		})
	}
}

func TestDefaultAuthorizerIsTheOwnTrustDomain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if cerr, serr := shake(t, w.client, w.server, nil); cerr != nil || serr != nil {
		t.Errorf("own trust domain: %v, %v", cerr, serr)
	}
	w.client.SetSVID(w.b.SVID(t, "spiffe://b.example/web")) // verified, but not ours
	_, serr := shake(t, w.client, w.server, nil)
	var he *security.HandshakeError
	if !errors.As(serr, &he) || !errors.Is(serr, security.ErrDenied) || he.Got != "spiffe://b.example/web" || he.Side != security.ServerSide {
		t.Errorf("federated client: %v", serr)
	}
}

func TestHandshakeErrorText(t *testing.T) {
	t.Parallel()
	for _, e := range []*security.HandshakeError{
		{},
		{Got: strings.Repeat("x", 10000), Expected: strings.Repeat("é\n", 10000), Err: errors.New(strings.Repeat("\x00\xff", 10000))},
		{Got: "a\r\nb", Expected: "c\x1b[31m", Err: fmt.Errorf("\u2028 %w", security.ErrDenied)},
	} {
		text := e.Error()
		if len(text) > 2*256+1024+100 || strings.ContainsAny(text, "\x00\r\n\x1b\u2028") || !utf8.ValidString(text) || !strings.HasPrefix(text, "security: peer ") {
			t.Errorf("text of %d bytes: %.300q", len(text), text)
		}
	}
}
