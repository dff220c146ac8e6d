package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/benchmarks/internal/contest"
	"github.com/weft-mesh/weft/benchmarks/internal/identity"
	"github.com/weft-mesh/weft/benchmarks/internal/stock"
	"github.com/weft-mesh/weft/resolver"
)

// protocols is one of the two versions; both sides have no other.
func protocols(two bool) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(!two)
	p.SetHTTP2(two)
	return p
}

// httpEcho answers with the body.
func httpEcho(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = w.Write(body) // a caller that is gone does not read it
}

func httpServe(two bool) func(context.Context, string) (*contest.Server, error) {
	return func(_ context.Context, dir string) (*contest.Server, error) {
		id, cfg, err := identity.OpenTLS(dir, "echo", true)
		if err != nil {
			return nil, err
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		// The two timeouts, which weft's server has too, are what no server in use is without.
		srv := &http.Server{Handler: http.HandlerFunc(httpEcho), TLSConfig: cfg, Protocols: protocols(two),
			ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute}
		served := make(chan error, 1)
		go func() { served <- srv.ServeTLS(l, "", "") }()
		return stock.Closing(&contest.Server{Addr: l.Addr().String(), Close: func() error {
			err := srv.Close()
			if e := <-served; !errors.Is(e, http.ErrServerClosed) {
				err = errors.Join(err, e)
			}
			return err
		}}, id), nil
	}
}

func httpDial(two bool) func(context.Context, string, string) (*contest.Client, error) {
	return func(_ context.Context, dir, addr string) (*contest.Client, error) {
		id, cfg, err := identity.OpenTLS(dir, "client", false)
		if err != nil {
			return nil, err
		}
		// As many idle connections as there may be callers: http.DefaultTransport keeps 2.
		t := &http.Transport{TLSClientConfig: cfg, Protocols: protocols(two), MaxIdleConnsPerHost: 1024}
		return httpClient(&http.Client{Transport: t}, "https://"+addr+"/echo", func() error {
			t.CloseIdleConnections()
			id.Close()
			return nil
		}), nil
	}
}

// httpClient posts, which nobody repeats, and reads the answer.
func httpClient(c *http.Client, url string, closing func() error) *contest.Client {
	return &contest.Client{Close: closing, Caller: func() contest.Call {
		body, into := make([]byte, contest.Payload), make([]byte, contest.Payload)
		return func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
			if err != nil {
				return err
			}
			resp, err := c.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if _, err := io.ReadFull(resp.Body, into); err != nil {
				return err
			}
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("status %s", resp.Status)
			}
			n, err := io.Copy(io.Discard, resp.Body)
			if n > 0 {
				return fmt.Errorf("the echo is %d bytes too long", n)
			}
			return err
		}
	}}
}

func weftHTTPServe(two bool) func(context.Context, string) (*contest.Server, error) {
	return func(ctx context.Context, dir string) (*contest.Server, error) {
		m, leave, err := member(ctx, switchOn, dir, "echo", "http")
		if err != nil {
			return nil, err
		}
		srv, err := m.NewHTTPServer(http.HandlerFunc(httpEcho))
		if err != nil {
			return nil, err
		}
		srv.Protocols = protocols(two)
		return meshServe(ctx, m, srv, leave)
	}
}

func weftHTTPDial(protocol string) func(context.Context, string, string) (*contest.Client, error) {
	return func(ctx context.Context, dir, addr string) (*contest.Client, error) {
		m, leave, err := member(ctx, switchOn, dir, "client", "http", resolver.Endpoint{Addr: addr, Protocol: protocol})
		if err != nil {
			return nil, err
		}
		return httpClient(m.HTTPClient(), "http://echo/echo", leave), nil
	}
}
