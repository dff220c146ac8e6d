package chain

import (
	"context"
	"net/http"
	"net/url"
	"reflect"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
)

func TestHTTPRequest(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, url, host        string
		path, query, authority string
	}{
		{"plain", "http://web/a/b?c=d", "", "/a/b", "c=d", "web"},
		{"no path", "http://web", "", "", "", "web"},
		{"escaped", "http://web/a%2Fb%20c", "", "/a%2Fb%20c", "", "web"},
		{"host", "http://web/", "other", "/", "", "other"},
		{"star", "http://web/*", "", "/*", "", "web"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, err := http.NewRequest("", tc.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = tc.host
			r.Method = ""
			r.Header.Set("x-a", "1")
			r.Header.Add("X-A", "2")
			q := HTTPRequest(r)
			if q.Method != "GET" || q.Path != tc.path || q.Query != tc.query || q.Authority != tc.authority {
				t.Errorf("got %+v", q)
			}
			r.Header["x-raw"] = []string{"3"}
			if v := q.Header.Values("x-raw", "X-Raw"); !reflect.DeepEqual(v, []string{"3"}) {
				t.Errorf("header as set %q", v)
			}
			if v := q.Header.Values("x-a", "X-A"); !reflect.DeepEqual(v, []string{"1", "2"}) {
				t.Errorf("header %q", v)
			}
		})
	}
	if q := HTTPRequest(&http.Request{}); q.Method != "GET" || q.Path != "" {
		t.Errorf("of an empty request: %+v", q)
	}
}

func TestRewriteURL(t *testing.T) {
	t.Parallel()
	c := routes(&HTTPMatch{PathPrefix: "/a/"}, &HTTPMatch{PathPrefix: "/b"})
	c.Nodes[c.StartNode].Routes[0].Definition.Destination.PrefixRewrite = "/x y/"
	e := evaluator(t, c, Options{})
	for _, tc := range []struct{ in, want string }{
		{"http://web/a/b%2Fc?q=1", "http://web/x%20y/b%2Fc?q=1"},
		{"http://web/a/b c", "http://web/x%20y/b%20c"},
		{"http://web/b", "http://web/b"},
	} {
		u, err := url.Parse(tc.in)
		if err != nil {
			t.Fatal(err)
		}
		before := *u
		r := HTTPRequest(&http.Request{Method: "GET", URL: u})
		if out := e.Route(&r).RewriteURL(u); out.String() != tc.want || *u != before {
			t.Errorf("%s becomes %v, want %s", tc.in, out, tc.want)
		}
	}
}

func TestGRPCRequest(t *testing.T) {
	t.Parallel()
	c := routes(
		&HTTPMatch{PathExact: "/pay.Pay/Charge", Header: []HeaderMatch{{Name: "X-Canary", Exact: "2"}}},
		&HTTPMatch{PathPrefix: "/pay.Pay/", Methods: []string{"POST"}, Header: []HeaderMatch{{Name: "content-type", Prefix: "application/grpc"}}},
	)
	c.Protocol = "grpc"
	e := evaluator(t, c, Options{})
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-canary", "1", "X-Canary", "2")
	for _, tc := range []struct {
		name   string
		ctx    context.Context
		method string
		want   int
	}{
		{"method and metadata", ctx, "/pay.Pay/Charge", 0},
		{"service", ctx, "/pay.Pay/Refund", 1},
		{"no metadata", t.Context(), "/pay.Pay/Charge", 1},
		{"other service", ctx, "/pay.Other/Charge", 2},
		{"no context", nil, "/pay.Pay/Charge", 2},
	} {
		r := GRPCRequest(tc.ctx, tc.method, "pay")
		if d := e.Route(&r); d.Route != tc.want {
			t.Errorf("%s: route %d, want %d", tc.name, d.Route, tc.want)
		}
	}
}

func TestApplyGRPC(t *testing.T) {
	t.Parallel()
	e := Edits{{Remove, "x-old", "X-Old", ""}, {Set, "x-set", "X-Set", "new"}, {Add, "x-add", "X-Add", "2"}, {Set, "host", "Host", "inner"}}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-old", "1", "x-set", "old", "x-add", "1", "x-keep", "1")
	before, _ := metadata.FromOutgoingContext(ctx)
	got, _ := metadata.FromOutgoingContext(e.ApplyGRPC(ctx))
	want := metadata.MD{"x-set": {"new"}, "x-add": {"1", "2"}, "x-keep": {"1"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if now, _ := metadata.FromOutgoingContext(ctx); !reflect.DeepEqual(now, before) {
		t.Errorf("the caller's metadata became %v", now)
	}
	if got := (Edits{}).ApplyGRPC(ctx); got != ctx {
		t.Error("no edits, but another context")
	}
	if md := e.ApplyMD(nil); !reflect.DeepEqual(md, metadata.MD{"x-set": {"new"}, "x-add": {"2"}}) {
		t.Errorf("of nothing: %v", md)
	}
}

func TestCookieHTTP(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		c    Cookie
		want string
	}{
		{Cookie{Name: "sid", Value: "a", Path: "/x", TTL: time.Hour}, "sid=a; Path=/x; Max-Age=3600; HttpOnly"},
		{Cookie{Name: "sid", Value: "a"}, "sid=a; HttpOnly"},
	} {
		if got := tc.c.HTTP().String(); got != tc.want {
			t.Errorf("got %s, want %s", got, tc.want)
		}
	}
}
