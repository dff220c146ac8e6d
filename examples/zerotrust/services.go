package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/examples/internal/pay"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/security/devca"
)

// town is the whole mesh: its members and what they serve.
type town struct {
	embedded *mesh.Embedded
	served   sync.WaitGroup
	leave    []func()
	svids    []*devca.Source
}

// join makes a member whose identity the example can rotate.
func (w *town) join(ctx context.Context, cfg mesh.Config) (*mesh.Mesh, error) {
	id, err := w.embedded.CA.ID(cfg.Locality.Cloud, cfg.Service)
	if err != nil {
		return nil, err
	}
	svid, err := w.embedded.CA.Source(id)
	if err != nil {
		return nil, err
	}
	w.svids = append(w.svids, svid)
	w.leave = append(w.leave, func() { _ = svid.Close() })
	cfg.Embedded, cfg.Identity = w.embedded, svid
	m, err := mesh.Join(ctx, cfg)
	if err == nil {
		w.leave = append(w.leave, func() { _ = m.Leave(context.Background()) })
	}
	return m, err
}

// serve runs a server until ctx ends and returns where.
func (w *town) serve(ctx context.Context, m *mesh.Mesh, srv any) (addr string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	w.served.Go(func() { _ = m.Serve(ctx, srv, l) })
	return l.Addr().String(), nil
}

// end waits for the servers, whose context must have ended, and leaves.
func (w *town) end() {
	w.served.Wait()
	for i := len(w.leave) - 1; i >= 0; i-- {
		w.leave[i]()
	}
}

// payments charges, over gRPC and HTTP.
type payments struct {
	pay.UnimplementedPaymentsServer
}

func (payments) Charge(context.Context, *pay.ChargeRequest) (*pay.ChargeReply, error) {
	return &pay.ChargeReply{Receipt: "charged"}, nil
}

func (payments) Quote(context.Context, *pay.QuoteRequest) (*pay.QuoteReply, error) {
	return &pay.QuoteReply{Cloud: "here"}, nil
}

func (payments) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "charged")
}

// both serves a service over gRPC and HTTP.
func (w *town) both(ctx context.Context, m *mesh.Mesh) (rpc, web string, err error) {
	g := m.NewGRPCServer()
	pay.RegisterPaymentsServer(g, payments{})
	if rpc, err = w.serve(ctx, m, g); err != nil {
		return "", "", err
	}
	h, err := m.NewHTTPServer(payments{})
	if err != nil {
		return "", "", err
	}
	web, err = w.serve(ctx, m, h)
	return rpc, web, err
}

// caller charges, as a service and with the token of somebody.
type caller struct {
	name  string
	conn  *grpc.ClientConn
	web   *http.Client
	token string
}

func (w *town) caller(ctx context.Context, cfg mesh.Config) (*caller, error) {
	m, err := w.join(ctx, cfg)
	if err != nil {
		return nil, err
	}
	conn, err := m.Dial("payment")
	return &caller{name: cfg.Service + " in " + cfg.Locality.Cloud, conn: conn, web: m.HTTPClient()}, err
}

// with is the same caller with another token.
func (c *caller) with(token string) *caller {
	copied := *c
	copied.token = token
	return &copied
}

// errRefused means that the service said no: not that it could not be reached.
var errRefused = errors.New("refused")

var errAllowed = errors.New("allowed")

func (c *caller) rpc(ctx context.Context) error {
	if c.token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.token)
	}
	_, err := pay.NewPaymentsClient(c.conn).Charge(ctx, &pay.ChargeRequest{Cents: 1999})
	switch status.Code(err) {
	case codes.PermissionDenied, codes.Unauthenticated:
		return fmt.Errorf("%w: %s", errRefused, status.Code(err))
	}
	return err
}

func (c *caller) http(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://payment/charge", strings.NewReader("1999"))
	if err != nil {
		return err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return answered(c.web.Do(req))
}

// answered reads a response.
func answered(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusForbidden, http.StatusUnauthorized:
		return fmt.Errorf("%w: %s", errRefused, resp.Status)
	}
	return fmt.Errorf("answered %s", resp.Status)
}

// expect makes the caller charge over gRPC and HTTP, which must both be allowed, or
// both refused.
func (c *caller) expect(ctx context.Context, allowed bool) error {
	for kind, call := range map[string]func(context.Context) error{"gRPC": c.rpc, "HTTP": c.http} {
		if err := call(ctx); allowed && err != nil || !allowed && !errors.Is(err, errRefused) {
			return fmt.Errorf("%s over %s: %w, want allowed %v", c.name, kind, cmp.Or(err, errAllowed), allowed)
		}
	}
	return nil
}

// eventually tries for 10 s.
func eventually(ctx context.Context, try func() error) error {
	end := time.After(10 * time.Second)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-end:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
	}
}
