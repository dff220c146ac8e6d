package http1

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// canned is a server that answers the first request with raw, and then ends.
type canned struct {
	raw   []byte
	asked chan struct{} // closed when a whole header was written
	once  sync.Once
	sent  bytes.Buffer
}

func (c *canned) Read(p []byte) (int, error) {
	<-c.asked
	if len(c.raw) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.raw)
	c.raw = c.raw[n:]
	return n, nil
}

func (c *canned) Write(p []byte) (int, error) {
	c.sent.Write(p)
	if bytes.Contains(c.sent.Bytes(), []byte("\r\n\r\n")) {
		c.once.Do(func() { close(c.asked) })
	}
	return len(p), nil
}

func (c *canned) Close() error                     { c.once.Do(func() { close(c.asked) }); return nil }
func (c *canned) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *canned) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *canned) SetDeadline(time.Time) error      { return nil }
func (c *canned) SetReadDeadline(time.Time) error  { return nil }
func (c *canned) SetWriteDeadline(time.Time) error { return nil }

// came is what a caller sees of an answer.
type came struct {
	Err, BodyErr, Body string
	Status, Proto      string
	Code               int
	Header, Trailer    http.Header
	Length             int64
	Encoding           []string
	Close              bool
}

func see(resp *http.Response, err error) (c came) {
	if err != nil {
		return came{Err: err.Error()}
	}
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	c = came{Body: string(b), Status: resp.Status, Proto: resp.Proto, Code: resp.StatusCode, Header: resp.Header,
		Trailer: resp.Trailer, Length: resp.ContentLength, Encoding: resp.TransferEncoding, Close: resp.Close}
	if err != nil {
		c.BodyErr = err.Error()
	}
	return c
}

const fuzzHeader = 2048 // bytes at most

// byTransport is what http.Transport makes of an answer, and whether it keeps the connection.
func byTransport(t *testing.T, method string, raw []byte) (c came, sent string, kept bool) {
	t.Helper()
	nc := &canned{raw: raw, asked: make(chan struct{})}
	tr := &http.Transport{
		DialContext:            func(context.Context, string, string) (net.Conn, error) { return nc, nil },
		DisableCompression:     true,
		MaxResponseHeaderBytes: fuzzHeader,
	}
	defer tr.CloseIdleConnections()
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{PutIdleConn: func(err error) { kept = err == nil }})
	c = see(tr.RoundTrip(request(ctx, t, method, fuzzBody(method))))
	return c, nc.sent.String(), kept
}

func byPool(t *testing.T, method string, raw []byte) (c came, sent string, kept, surplus bool) {
	t.Helper()
	nc := &canned{raw: raw, asked: make(chan struct{})}
	p := NewPool(Config{
		Dial:    func(context.Context) (net.Conn, *Wire, error) { return nc, nil, nil },
		Go:      func(f func()) bool { f(); return true },
		MaxIdle: 1, IdleTimeout: time.Hour, MaxHeaderBytes: fuzzHeader,
	})
	defer p.Close()
	var x Exchange
	c = see(p.RoundTrip(&x, request(t.Context(), t, method, fuzzBody(method))))
	return c, nc.sent.String(), len(p.idle) == 1, x.c.br.Buffered() > 0 || len(nc.raw) > 0
}

func fuzzBody(method string) string {
	if method == "POST" {
		return "text"
	}
	return ""
}

// An answer of any bytes is the same to a caller as over http.Transport, and no
// connection is kept that http.Transport would not keep.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		ok, ok + "x", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nok", "HTTP/1.1 200 OK\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\n" + ok, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", fuzzHeader) + "\r\n\r\n", "HTTP/1.1 200\r\nTransfer-Encoding: identity\r\n\r\n", "",
		"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nContent-Length: 3\r\n\r\n",
	} {
		for m := range uint8(3) {
			f.Add(m, []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, m uint8, raw []byte) {
		method := [...]string{"GET", "HEAD", "POST"}[m%3]
		want, wrote, keeps := byTransport(t, method, raw)
		got, sent, kept, surplus := byPool(t, method, raw)
		if sent != wrote {
			t.Fatalf("sent %q, http.Transport %q", sent, wrote)
		}
		if strings.Contains(got.Err, errSwitched.Error()) {
			if want.Code != http.StatusSwitchingProtocols {
				t.Fatalf("%v, http.Transport %+v", got.Err, want)
			}
			return
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v\nhttp.Transport: %+v", got, want)
		}
		if kept && !keeps || keeps && !kept && !surplus {
			t.Errorf("kept %v, by http.Transport %v, with a surplus %v", kept, keeps, surplus)
		}
	})
}

// A request that is eligible is the same bytes as over http.Transport.
func FuzzRequest(f *testing.F) {
	f.Add("x", "/a b", "q=1", "X-Id", "1")
	f.Add("x:80", "//a/\xff", "\x01", "user-agent", "")
	f.Add("bücher.example", "*", "", "host", "y")
	f.Add("[::1%25eth0]", "", "?", "Content-Length", "7")
	f.Fuzz(func(t *testing.T, host, path, query, k, v string) {
		build := func() *http.Request {
			r := request(t.Context(), t, "POST", "text")
			r.Host, r.URL.Path, r.URL.RawQuery, r.Header[k] = host, path, query, []string{v}
			return r
		}
		if !Eligible(build()) {
			return
		}
		a, b := &canned{raw: []byte(ok), asked: make(chan struct{})}, &canned{raw: []byte(ok), asked: make(chan struct{})}
		tr := &http.Transport{
			DialContext:        func(context.Context, string, string) (net.Conn, error) { return a, nil },
			DisableCompression: true,
		}
		defer tr.CloseIdleConnections()
		want := see(tr.RoundTrip(build()))
		p := NewPool(Config{
			Dial:    func(context.Context) (net.Conn, *Wire, error) { return b, nil, nil },
			Go:      func(f func()) bool { f(); return true },
			MaxIdle: 1, IdleTimeout: time.Hour, MaxHeaderBytes: 1 << 16,
		})
		defer p.Close()
		got := see(p.RoundTrip(new(Exchange), build()))
		// What cannot be written fails over both; http.Transport may say so in several ways.
		if got.Err == "" && want.Err != "" || b.sent.String() != a.sent.String() {
			t.Errorf("%+v of %q\nhttp.Transport: %+v of %q", got, b.sent.String(), want, a.sent.String())
		}
	})
}

// What TLS is made of is followed however it is cut.
func FuzzRecords(f *testing.F) {
	f.Add([]byte{23, 3, 3, 0, 2, 'o', 'k', 21, 3, 3, 0, 0, 1}, uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, cut uint8) {
		var whole, parts records
		whole.pass(in)
		for rest := in; len(rest) > 0; {
			n := min(len(rest), int(cut)+1)
			parts.pass(rest[:n])
			rest = rest[n:]
		}
		within := false
		for rest := in; len(rest) > 0; {
			if within = len(rest) < 5; within {
				break
			}
			n := 5 + int(rest[3])<<8 + int(rest[4])
			if within = n > len(rest); within {
				break
			}
			rest = rest[n:]
		}
		if whole.within() != within || parts.within() != within {
			t.Errorf("%v and %v, want %v", whole.within(), parts.within(), within)
		}
	})
}
