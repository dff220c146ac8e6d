package http1

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // http.Transport, with which we are compared, tells of garbage
	goleak.VerifyTestMain(m)
}

// server does with its connections what a script says, by their order.
type server struct {
	t     *testing.T
	l     net.Listener
	tls   *tls.Config // nil: none
	conns atomic.Int64
	wg    sync.WaitGroup
}

// peer is the server's end of a connection.
type peer struct {
	net.Conn
	raw net.Conn // beneath TLS
	br  *bufio.Reader
	n   int // which connection this is, from 1
}

// request reads one whole request; nil: the client has ended the connection.
func (p *peer) request() *http.Request {
	r, err := http.ReadRequest(p.br)
	if err != nil {
		return nil
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	return r
}

func (p *peer) say(s string) { _, _ = io.WriteString(p.Conn, s) }

// gone waits until the client has ended the connection.
func (p *peer) gone() { _, _ = io.Copy(io.Discard, p.br) }

func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"x"}}
	der, err := x509.CreateCertificate(rand.Reader, x, x, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func serve(t *testing.T, withTLS bool, script func(p *peer)) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, l: l}
	if withTLS {
		s.tls = &tls.Config{Certificates: []tls.Certificate{certificate(t)}}
	}
	s.wg.Go(func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			p := &peer{Conn: raw, raw: raw, n: int(s.conns.Add(1))}
			s.wg.Go(func() {
				defer func() { _ = p.Conn.Close() }()
				if s.tls != nil {
					p.Conn = tls.Server(&joined{Conn: raw}, s.tls)
				}
				p.br = bufio.NewReader(p.Conn)
				script(p)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); s.wg.Wait() })
	return s
}

// joined sends what is written between hold and flush in one piece.
type joined struct {
	net.Conn
	held []byte
	hold bool
}

func (j *joined) Write(p []byte) (int, error) {
	if j.hold {
		j.held = append(j.held, p...)
		return len(p), nil
	}
	return j.Conn.Write(p)
}

// flush sends what is held, but for the last bytes, and gives those.
func (j *joined) flush(but int) (rest []byte) {
	j.hold = false
	n := len(j.held) - but
	_, _ = j.Conn.Write(j.held[:n])
	return j.held[n:]
}

// pool is a Pool of connections to s.
func (s *server) pool(change func(*Config)) *Pool {
	var dials sync.WaitGroup
	cfg := Config{
		Dial: func(ctx context.Context) (net.Conn, *Wire, error) {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", s.l.Addr().String())
			if err != nil {
				return nil, nil, err
			}
			w := NewWire(c, s.tls != nil)
			if s.tls == nil {
				return w, w, nil
			}
			tc := tls.Client(w, &tls.Config{InsecureSkipVerify: true})
			return tc, w, tc.HandshakeContext(ctx)
		},
		Go:      func(f func()) bool { dials.Go(f); return true },
		MaxIdle: 4, IdleTimeout: time.Hour, MaxHeaderBytes: 1 << 16,
	}
	if change != nil {
		change(&cfg)
	}
	p := NewPool(cfg)
	s.t.Cleanup(func() { dials.Wait(); p.Close() })
	return p
}

func request(ctx context.Context, t testing.TB, method, body string) *http.Request {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://x/a", r)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// call makes a call and reads all of its answer.
func call(ctx context.Context, t testing.TB, p *Pool, method, body string) (*http.Response, string, error) {
	t.Helper()
	req := request(ctx, t, method, body)
	if !Eligible(req) {
		t.Fatal("not eligible")
	}
	resp, err := p.RoundTrip(new(Exchange), req)
	if err != nil {
		return nil, "", err
	}
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return resp, string(b), err
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// well answers all requests as it should.
func well(p *peer) {
	for p.request() != nil {
		p.say(ok)
	}
}

func both(t *testing.T, f func(t *testing.T, withTLS bool)) {
	t.Helper()
	for name, withTLS := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) { t.Parallel(); f(t, withTLS) })
	}
}
