package drills

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/internal/drill"
	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/security"
)

// D14 and D16: 100 identities of each member come and go under load, and then the
// root of the CA: it is prepared, activated, the old one tainted, and revoked.
func TestRotation(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name               string
		svids              int
		age                time.Duration
		unprepared, secret bool
		kept               bool
	}{
		{name: "D14 and D16", svids: 100, kept: true},
		{name: "twin whose new root nobody knows when it is used", svids: 1, unprepared: true},
		{name: "twin with connections of any age", svids: 1, age: -1},
		{name: "twin in which nobody hears of the revocation", svids: 1, secret: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newRotation(t, tc.age, nil)
				defer w.close()
				s := w.addStale()
				synctest.Wait() // all are announced
				const step = 5 * time.Second
				var load sync.WaitGroup
				load.Go(func() { w.load(time.Duration(tc.svids)*step + 5*step + 2*maxAge) })
				for range tc.svids {
					pass(step - time.Second)
					w.renew(w.members)
					w.renew(s.src)
					pass(time.Second)
					if at := s.shown(w); at != 0 {
						t.Errorf("a new connection showed a certificate that was replaced %v ago", at)
						break
					}
				}
				pass(step)
				t.Logf("%d SVIDs of each member: a certificate was seen %v after it had been replaced (promised: %v)", tc.svids, time.Duration(w.oldest.Load()), maxAge+time.Second)
				if at := time.Duration(w.oldest.Load()); at > maxAge+time.Second && tc.age == 0 {
					t.Errorf("a certificate was in use for %v after it had been replaced, at most %v is promised", at, maxAge+time.Second)
				}
				old, next := w.ca, testpki.New(t, "a.example")
				for _, src := range s.src { // for the last time
					src.renew(t, old)
					src.trust(old, next)
				}
				if !tc.unprepared {
					w.trust(old, next) // prepare
				}
				w.ca = next
				pass(step)
				w.renew(w.members[:len(w.members)/2]) // activate: who renews gets the new
				pass(step)
				w.renew(w.members) // taint: everybody renews
				pass(2 * maxAge)
				ends := s.open(w)
				if !tc.secret {
					w.trust(next) // revoke
				}
				pass(step)
				cut := s.cut(w, ends)
				load.Wait()
				reqs := w.ledger.Requests(nil)
				t.Logf("%d requests, %.3f %% succeeded (promised: 100 %%); %v", len(reqs), 100*drill.Success(reqs), cut)
				failed := drill.CheckSuccess("in all of the rotations", reqs, 1)
				if broken := errors.Join(failed, cut); (broken == nil) != tc.kept {
					if tc.kept {
						t.Error(broken)
					} else {
						t.Error("the promise is kept also without what is to keep it, so the drill shows nothing")
					}
				}
			})
		})
	}
}

func (w *rotation) renew(members []*identity) {
	for _, m := range members {
		m.renew(w.t, w.ca)
	}
}

func (w *rotation) trust(cas ...*testpki.CA) {
	for _, m := range w.members {
		m.trust(cas...)
	}
}

// load makes calls that may be done once only: what fails has failed.
func (w *rotation) load(length time.Duration) {
	drill.Open(context.Background(), w.ledger, drill.Load{
		Rate: 12, Length: length, Deadline: 3 * time.Second,
		Next: func(i int) (string, bool) { return []string{unary, "stream", post}[i%3], false },
		Do: func(ctx context.Context, r *drill.Request) error {
			switch r.Kind {
			case unary:
				_, err := w.rpc.UnaryCall(ctx, &grpc_testing.SimpleRequest{}, grpc.WaitForReady(true))
				return err
			case post:
				return visit(ctx, w.caller, "http://"+web+"/")
			}
			return talk(ctx, w.rpc)
		},
	})
}

// talk is a stream that lasts a while.
func talk(ctx context.Context, rpc grpc_testing.TestServiceClient) error {
	st, err := rpc.FullDuplexCall(ctx, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	for range 3 {
		if err = st.Send(&grpc_testing.StreamingOutputCallRequest{}); err == nil {
			_, err = st.Recv()
		}
		if err != nil {
			return err
		}
		pass(200 * time.Millisecond)
	}
	if err := st.CloseSend(); err != nil {
		return err
	}
	if _, err := st.Recv(); err != io.EOF {
		return err
	}
	return nil
}

func visit(ctx context.Context, m *mesh.Mesh, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return err
	}
	resp, err := m.HTTPClient().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err = io.Copy(io.Discard, resp.Body); err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return err
}

// stale is a caller and two services that are never given a certificate of the new
// root, though they trust it: nothing but the others keeps them out.
type stale struct {
	src            []*identity
	m              *mesh.Mesh
	rpc            grpc_testing.TestServiceClient
	legacy         grpc_testing.TestServiceClient // as the genuine caller sees it
	resumed        atomic.Int64                   // sessions, at the service that gives tickets
	tickets        *tls.Config                    // of a client that would resume
	served, before atomic.Int64
}

const (
	legacy    = "legacy"
	ticketing = "ticketing"
)

func (w *rotation) addStale() *stale {
	s := &stale{}
	add := func(service string) *identity {
		src := w.identity(service)
		s.src = append(s.src, src)
		return src
	}
	caller := add("stale")
	s.m = w.join("stale", "", caller)
	s.rpc = w.dial(s.m, payments)
	w.serve(legacy, add(legacy), 8, w.grpcServer)
	s.legacy = w.dial(w.caller, legacy)
	// A server that has tickets to give, and wants a handshake for each request.
	w.serve(ticketing, add(ticketing), 9, func(m *mesh.Mesh, _ *identity) any {
		srv, err := m.NewHTTPServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			s.served.Add(1)
			if r.TLS.DidResume {
				s.resumed.Add(1)
			}
			rw.Header().Set("Connection", "close")
		}))
		w.must(err)
		srv.TLSConfig.SessionTicketsDisabled = false
		return srv
	})
	cfg, err := security.ClientTLS(caller, w.members[0].id)
	w.must(err)
	cfg.ClientSessionCache, cfg.SessionTicketsDisabled = tls.NewLRUClientSessionCache(8), false
	cfg.ServerName, cfg.NextProtos = payments, []string{"h2"}
	s.tickets = cfg
	return s
}

// end is a connection that must end, and when it did; zero: it has not.
type end struct {
	what string
	at   atomic.Int64
}

// open opens what the revocation must close.
func (s *stale) open(w *rotation) []*end {
	var ends []*end
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	w.closers = append(w.closers, cancel)
	wait := func(what string, f func() error) {
		e := &end{what: what}
		ends = append(ends, e)
		go func() {
			for f() == nil {
			}
			e.at.Store(int64(w.ledger.Now()))
		}()
	}
	for what, rpc := range map[string]grpc_testing.TestServiceClient{"a stream of the stale caller": s.rpc, "a stream to the stale service": s.legacy} {
		st, err := rpc.FullDuplexCall(ctx, grpc.WaitForReady(true))
		w.must(err)
		w.must(st.Send(&grpc_testing.StreamingOutputCallRequest{}))
		_, err = st.Recv()
		w.must(err)
		wait(what, func() error { _, err := st.Recv(); return err })
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+web+"/open", nil)
	w.must(err)
	resp, err := s.m.HTTPClient().Do(req)
	w.must(err)
	_, err = io.ReadFull(resp.Body, make([]byte, len("begun")))
	w.must(err)
	wait("a response to the stale caller", func() error { _, err := resp.Body.Read(make([]byte, 1)); return err })
	for range 2 {
		w.must(visit(ctx, w.caller, "http://"+ticketing+"/"))
		conn, err := s.handshake(w)
		w.must(err)
		if conn.ConnectionState().DidResume {
			w.t.Error("a session was resumed")
		}
		wait("a connection that says nothing", func() error { _, err := conn.Read(make([]byte, 1)); return err })
		w.closers = append(w.closers, func() { _ = conn.Close() })
	}
	synctest.Wait()
	s.before.Store(w.strays.Load())
	for _, e := range ends {
		if e.at.Load() != 0 {
			w.t.Errorf("%s ended before the revocation", e.what)
		}
	}
	return ends
}

// handshake connects to a server as one who wants to resume.
func (s *stale) handshake(w *rotation) (*tls.Conn, error) {
	addr := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 81}
	raw, err := w.net.Dialer("home")(context.Background(), "tcp", addr.String())
	w.must(err)
	conn := tls.Client(raw, s.tickets)
	// The server's first frame is its acceptance: in TLS 1.3 a client is done first.
	_ = conn.SetReadDeadline(time.Now().Add(time.Second))
	if _, err = conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err == nil {
		_, err = io.ReadFull(conn, make([]byte, 9))
	}
	_ = conn.SetReadDeadline(time.Time{})
	if err != nil {
		_ = raw.Close()
	}
	return conn, err
}

// shown is for how long the certificate that a server shows now has been replaced.
func (s *stale) shown(w *rotation) time.Duration {
	conn, err := s.handshake(w)
	w.must(err)
	defer conn.Close()
	return w.members[0].oldFor(conn.ConnectionState().PeerCertificates)
}

// cut says what the revocation did not do.
func (s *stale) cut(w *rotation, ends []*end) (broken error) {
	say := func(text string) { broken = errors.Join(broken, errors.New(text)) }
	for _, e := range ends {
		if e.at.Load() == 0 {
			say(e.what + " is open 5 s after the revocation")
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	served := s.served.Load()
	for range 10 {
		if broken != nil {
			break
		}
		if _, err := s.handshake(w); err == nil {
			say("a handshake with a certificate of the revoked root was accepted")
		}
		if _, err := s.rpc.UnaryCall(ctx, &grpc_testing.SimpleRequest{}); err == nil {
			say("a call with a certificate of the revoked root was accepted")
		}
		if err := visit(ctx, s.m, "http://"+web+"/"); err == nil {
			say("a request with a certificate of the revoked root was accepted")
		}
		if _, err := s.legacy.UnaryCall(ctx, &grpc_testing.SimpleRequest{}); err == nil || !strings.Contains(err.Error(), security.ErrUntrusted.Error()) {
			say("a call to a service of the revoked root: " + text(err))
		}
		if err := visit(ctx, w.caller, "http://"+ticketing+"/"); err == nil || !strings.Contains(err.Error(), security.ErrUntrusted.Error()) {
			say("a request to a service of the revoked root: " + text(err))
		}
	}
	if n := s.served.Load() - served; n > 0 || s.resumed.Load() > 0 {
		say("a service of the revoked root was sent requests, or resumed a session")
	}
	if w.strays.Load() != s.before.Load() {
		say("a caller of the revoked root reached a handler")
	}
	return broken
}

func text(err error) string {
	if err == nil {
		return "accepted"
	}
	return err.Error()
}
