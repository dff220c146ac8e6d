// Package demo has the two services of the examples, payments over gRPC and
// inventory over HTTP, and their caller.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/examples/internal/pay"
	"github.com/weft-mesh/weft/examples/internal/scene"
	"github.com/weft-mesh/weft/mesh"
)

// Services are the names of the two services.
var Services = []string{"payments", "inventory"}

// Server makes the server of one of Services, for Mesh.Serve.
func Server(m *mesh.Mesh, service, cloud string) (any, error) {
	if service == "payments" {
		srv := m.NewGRPCServer()
		pay.RegisterPaymentsServer(srv, payments{cloud: cloud})
		return srv, nil
	}
	return m.NewHTTPServer(inventory(cloud))
}

type payments struct {
	pay.UnimplementedPaymentsServer
	cloud string
}

func (p payments) Quote(_ context.Context, req *pay.QuoteRequest) (*pay.QuoteReply, error) {
	return &pay.QuoteReply{FeeCents: req.Cents / 100, Cloud: p.cloud}, nil
}

func inventory(cloud string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /items/{id}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Cloud", cloud)
		fmt.Fprintf(w, `{"item":%q,"stock":3}`, r.PathValue("id"))
	})
	return mux
}

// Calls makes the two calls of a scene; both are safe to repeat. Close the
// connection when done.
func Calls(m *mesh.Mesh) (map[string]scene.Call, *grpc.ClientConn, error) {
	conn, err := m.Dial("payments")
	if err != nil {
		return nil, nil, err
	}
	client, web := pay.NewPaymentsClient(conn), m.HTTPClient()
	return map[string]scene.Call{
		"gRPC": func(ctx context.Context) (string, error) {
			q, err := client.Quote(ctx, &pay.QuoteRequest{Cents: 1999})
			return q.GetCloud(), err
		},
		"HTTP": func(ctx context.Context) (string, error) { return item(ctx, web) },
	}, conn, nil
}

// item fetches an item. The mesh repeats a request until it has a response; a body
// that is cut off after that is the caller's to ask for again.
func item(ctx context.Context, web *http.Client) (cloud string, _ error) {
	for range 2 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://inventory/items/7", nil)
		if err != nil {
			return "", err
		}
		resp, err := web.Do(req)
		if err != nil {
			return "", err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		switch {
		case err != nil:
			continue
		case resp.StatusCode != http.StatusOK:
			return "", fmt.Errorf("inventory answered %s", resp.Status)
		}
		return resp.Header.Get("X-Cloud"), nil
	}
	return "", errors.New("the body of two responses was cut off")
}
