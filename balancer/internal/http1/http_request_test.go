package http1

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
)

func TestEligible(t *testing.T) {
	t.Parallel()
	header := func(k, v string) func(*http.Request) {
		return func(r *http.Request) { r.Header[k] = []string{"fine", v} }
	}
	body := func(b io.Reader) func(*http.Request) {
		return func(r *http.Request) {
			in, err := http.NewRequest("POST", "http://x/", b)
			if err != nil {
				t.Error(err)
				return
			}
			r.Body, r.GetBody, r.ContentLength = in.Body, in.GetBody, in.ContentLength
		}
	}
	type file struct{ *strings.Reader }
	for _, tt := range []struct {
		name   string
		method string
		change func(*http.Request)
		want   bool
	}{
		{name: "plain", want: true},
		{name: "header", change: header("X-Id_9", "a\"b \xff"), want: true},
		{name: "bytes", method: "POST", change: body(bytes.NewReader([]byte("x"))), want: true},
		{name: "buffer", method: "PUT", change: body(bytes.NewBufferString("x")), want: true},
		{name: "string", method: "PATCH", change: body(strings.NewReader("x")), want: true},
		{name: "as much as may be", method: "POST", change: body(strings.NewReader(strings.Repeat("x", maxBody))), want: true},
		{name: "empty body", method: "DELETE", change: body(strings.NewReader("")), want: true},
		{name: "NoBody", change: func(r *http.Request) { r.Body = http.NoBody }, want: true},
		{name: "head", method: "HEAD", want: true},
		{name: "options", method: "OPTIONS", want: true},

		{name: "no method", method: "-"},
		{name: "method", method: "PURGE"},
		{name: "connect", method: "CONNECT"},
		{name: "trace", method: "TRACE"},
		{name: "lower case", method: "get"},
		{name: "too much", method: "POST", change: body(strings.NewReader(strings.Repeat("x", maxBody+1)))},
		{name: "of unknown length", method: "POST", change: body(io.LimitReader(strings.NewReader("x"), 1))},
		{name: "once only", method: "POST", change: func(r *http.Request) { body(strings.NewReader("x"))(r); r.GetBody = nil }},
		{name: "says less", method: "POST", change: func(r *http.Request) { body(strings.NewReader("xx"))(r); r.ContentLength = 1 }},
		{name: "says more", method: "POST", change: func(r *http.Request) { body(strings.NewReader("xx"))(r); r.ContentLength = 3 }},
		{name: "says nothing", method: "POST", change: func(r *http.Request) { body(strings.NewReader("xx"))(r); r.ContentLength = 0 }},
		{name: "has none and says so", method: "POST", change: func(r *http.Request) { r.ContentLength = 3 }},
		{name: "not in memory", method: "POST", change: func(r *http.Request) {
			body(strings.NewReader("xx"))(r)
			r.Body = io.NopCloser(file{strings.NewReader("xx")})
		}},
		{name: "to be closed", method: "POST", change: func(r *http.Request) {
			body(strings.NewReader("xx"))(r)
			r.Body = struct{ io.ReadCloser }{r.Body}
		}},
		{name: "close", change: func(r *http.Request) { r.Close = true }},
		{name: "trailer", change: func(r *http.Request) { r.Trailer = http.Header{"A": nil} }},
		{name: "transfer encoding", change: func(r *http.Request) { r.TransferEncoding = []string{"chunked"} }},
		{name: "no header map", change: func(r *http.Request) { r.Header = nil }},
		{name: "no URL", change: func(r *http.Request) { r.URL = nil }},
		{name: "expect", change: header("Expect", "100-continue")},
		{name: "upgrade", change: header("Upgrade", "websocket")},
		{name: "connection", change: header("connection", "close")},
		{name: "transfer-encoding", change: header("Transfer-Encoding", "chunked")},
		{name: "name with a space", change: header("A B", "")},
		{name: "name with a colon", change: header("A:", "")},
		{name: "name with a newline", change: header("A\r\nB", "")},
		{name: "no name", change: header("", "")},
		{name: "newline", change: header("A", "b\r\nC: d")},
		{name: "NUL", change: header("A", "\x00")},
		{name: "DEL", change: header("A", "\x7f")},
		{name: "long header", change: header("A", strings.Repeat("x", maxHead))},
		{name: "long URL", change: func(r *http.Request) { r.URL.RawQuery = strings.Repeat("x", maxHead) }},
		{name: "long path", change: func(r *http.Request) { r.URL.Path = strings.Repeat("\xff", maxHead/3+1) }},
		{name: "trace of the client", change: func(r *http.Request) {
			*r = *r.WithContext(httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{}))
		}},
		{name: "cancel", change: func(r *http.Request) {
			r.Cancel = make(chan struct{}) //lint:ignore SA1019 it is what is tested
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := request(t.Context(), t, "GET", "")
			if tt.method != "" {
				r.Method = strings.Trim(tt.method, "-")
			}
			if tt.change != nil {
				tt.change(r)
			}
			if got := Eligible(r); got != tt.want {
				t.Errorf("%v", got)
			}
		})
	}
}
