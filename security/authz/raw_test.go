package authz_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/authz"
	"github.com/weft-mesh/weft/security/devca"
)

// rig is a trust domain with a server of the service api.
type rig struct {
	ca     *devca.CA
	server string // SPIFFE ID
}

func newRig(t *testing.T) *rig {
	t.Helper()
	ca, err := devca.New(devca.Config{})
	if err != nil {
		t.Fatal(err)
	}
	id, err := ca.ID("eu", "api")
	if err != nil {
		t.Fatal(err)
	}
	return &rig{ca, id}
}

func (r *rig) source(t *testing.T, service string) security.Source {
	t.Helper()
	id, err := r.ca.ID("eu", service)
	if err != nil {
		t.Fatal(err)
	}
	src, err := r.ca.Source(id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	return src
}

func (r *rig) authorizer(t *testing.T, cfg authz.Config) *authz.Authorizer {
	t.Helper()
	cfg.Service, cfg.TrustDomain = "api", r.ca.TrustDomain().Name()
	a, err := authz.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(context.Background()) })
	return a
}

func (r *rig) serveHTTP(t *testing.T, h http.Handler) string {
	t.Helper()
	cfg, err := security.HTTPServerTLS(r.source(t, "api"), nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, TLSConfig: cfg, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.ServeTLS(l, "", "") }() // it ends by Close
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return l.Addr().String()
}

func (r *rig) serveGRPC(t *testing.T, s grpc_testing.TestServiceServer, options ...grpc.ServerOption) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(append([]grpc.ServerOption{grpc.Creds(security.ServerCredentials(r.source(t, "api"), nil))}, options...)...)
	grpc_testing.RegisterTestServiceServer(srv, s)
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }() // it ends by Stop
	t.Cleanup(func() { srv.Stop(); <-done })
	return l.Addr().String()
}

// roundTripper sends a request line as it is, and returns the status; 0: the server
// hung up or reset the stream.
type roundTripper func(method, target string) int

// rawConn connects anew when the server has hung up.
type rawConn struct {
	t      *testing.T
	addr   string
	cfg    *tls.Config
	conn   *tls.Conn
	opened func()
}

func newRaw(t *testing.T, addr string, src security.Source, server, proto string) *rawConn {
	t.Helper()
	cfg, err := security.ClientTLS(src, server)
	if err != nil {
		t.Fatal(err)
	}
	cfg.NextProtos = []string{proto}
	c := &rawConn{t: t, addr: addr, cfg: cfg}
	t.Cleanup(c.close)
	return c
}

func (c *rawConn) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

func (c *rawConn) open() {
	if c.conn != nil {
		return
	}
	conn, err := tls.Dial("tcp", c.addr, c.cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	c.conn = conn
	c.opened()
}

func rawHTTP1(t *testing.T, addr string, src security.Source, server string) roundTripper {
	c := newRaw(t, addr, src, server, "http/1.1")
	var r *bufio.Reader
	c.opened = func() { r = bufio.NewReader(c.conn) }
	return func(method, target string) int {
		c.open()
		if _, err := fmt.Fprintf(c.conn, "%s %s HTTP/1.1\r\nHost: api\r\n\r\n", method, target); err != nil {
			c.close()
			return 0
		}
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			c.close()
			return 0
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err != nil || resp.Close {
			c.close()
		}
		return resp.StatusCode
	}
}

func rawHTTP2(t *testing.T, addr string, src security.Source, server string) roundTripper {
	c := newRaw(t, addr, src, server, "h2")
	var framer *http2.Framer
	var stream uint32
	c.opened = func() {
		stream = 1
		_, err := io.WriteString(c.conn, http2.ClientPreface)
		framer = http2.NewFramer(c.conn, c.conn)
		framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		if err == nil {
			err = framer.WriteSettings()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return func(method, target string) int {
		c.open()
		var block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		for _, f := range [][2]string{{":method", method}, {":scheme", "https"}, {":authority", "api"}, {":path", target}, {"content-type", "application/grpc"}, {"te", "trailers"}} {
			_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // to a buffer
		}
		id := stream
		stream += 2
		err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true})
		if err == nil { // an empty message of gRPC
			err = framer.WriteData(id, true, make([]byte, 5))
		}
		got := 0
		for err == nil {
			var f http2.Frame
			if f, err = framer.ReadFrame(); err != nil {
				break
			}
			switch f := f.(type) {
			case *http2.SettingsFrame:
				if !f.IsAck() {
					err = framer.WriteSettingsAck()
				}
			case *http2.PingFrame:
				if !f.IsAck() {
					err = framer.WritePing(true, f.Data)
				}
			case *http2.MetaHeadersFrame:
				if v := f.PseudoValue("status"); f.StreamID == id && v != "" {
					got, _ = strconv.Atoi(v)
				}
			case *http2.RSTStreamFrame:
				if f.StreamID == id {
					return got
				}
			case *http2.GoAwayFrame:
				c.close()
				return got
			}
			if h := f.Header(); h.StreamID == id && h.Flags.Has(http2.FlagDataEndStream) && (h.Type == http2.FrameData || h.Type == http2.FrameHeaders) {
				return got
			}
		}
		c.close()
		return got
	}
}
