package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/weft-mesh/weft/examples/internal/demo"
	"github.com/weft-mesh/weft/examples/internal/pay"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/mesh/export/prometheus"
	"github.com/weft-mesh/weft/resolver"
)

// shop is the caller and the services.
type shop struct {
	caller  *mesh.Mesh
	metrics map[string]string // address of the endpoint, by service
	closers []func()
}

func open(ctx context.Context) (s *shop, err error) {
	s = &shop{metrics: map[string]string{}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	e, err := mesh.NewEmbedded(nil)
	if err != nil {
		return s, err
	}
	for i, service := range demo.Services {
		m, err := s.member(ctx, e, service, []string{"aws", "gcp"}[i])
		if err != nil {
			return s, err
		}
		srv, err := demo.Server(m, service, "demo")
		if err != nil {
			return s, err
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return s, err
		}
		s.run(func(ctx context.Context) error { return m.Serve(ctx, srv, l) })
	}
	s.caller, err = s.member(ctx, e, "checkout", "aws")
	return s, err
}

// member joins, and shows its metrics. These are all the lines that it takes.
func (s *shop) member(ctx context.Context, e *mesh.Embedded, service, cloud string) (*mesh.Mesh, error) {
	p, err := prometheus.New(prometheus.Config{})
	if err != nil {
		return nil, err
	}
	m, err := mesh.Join(ctx, mesh.Config{
		Service: service, Embedded: e, Locality: resolver.Locality{Cloud: cloud, Zone: cloud + "-1"},
		Propagation: -1, MeterProvider: p.MeterProvider(),
	})
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, func() { _ = m.Leave(context.Background()) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", p)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	s.run(func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
		defer stop()
		return srv.Serve(l)
	})
	s.metrics[service] = l.Addr().String()
	return m, nil
}

// run runs f until close.
func (s *shop) run(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	s.closers = append(s.closers, func() { cancel(); <-done })
}

func (s *shop) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}

// call makes calls of both kinds for a while.
func (s *shop) call(ctx context.Context, d time.Duration) error {
	calls, conn, err := demo.Calls(s.caller)
	if err != nil {
		return err
	}
	defer conn.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	good, began := map[string]int{}, time.Now()
	for time.Since(began) < d || good["gRPC"]*good["HTTP"] == 0 {
		if time.Since(began) > d+30*time.Second {
			return fmt.Errorf("calls that succeeded: %v", good)
		}
		for name, c := range calls {
			if _, err := c(ctx); err == nil { // the services may not be announced yet
				good[name]++
			}
		}
		// One that fails, for the panels of errors.
		_ = conn.Invoke(ctx, "/weft.examples.pay.Payments/Refund", &pay.QuoteRequest{}, &pay.QuoteReply{})
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	fmt.Printf("made %d calls over gRPC and %d over HTTP\n", good["gRPC"], good["HTTP"])
	return nil
}

// scrape reads the names of all series of all endpoints, as a Prometheus would.
func (s *shop) scrape(ctx context.Context) (map[string]bool, error) {
	have := map[string]bool{}
	for service, addr := range s.metrics {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		err = seriesNames(resp.Body, have)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s: %s: %w", service, resp.Status, err)
		}
	}
	return have, nil
}

// seriesNames reads the text format of Prometheus.
func seriesNames(r io.Reader, have map[string]bool) error {
	lines := bufio.NewScanner(io.LimitReader(r, 16<<20))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		i := strings.IndexAny(line, "{ ")
		if i <= 0 {
			return errors.New("not the text format of Prometheus: " + line)
		}
		have[line[:i]] = true
	}
	return lines.Err()
}
