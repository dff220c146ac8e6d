package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/examples/internal/pay"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/consul"
)

// services are the two services of the scene, by how they are called.
var services = map[string]string{"gRPC": "payments", "HTTP": "inventory"}

var versions = []string{"v1", "v2"}

// release is a version of both services. While it is broken, every second of its
// answers is an error.
type release struct {
	pay.UnimplementedPaymentsServer
	version string
	broken  atomic.Bool
	n       atomic.Int64
}

func (r *release) fails() bool { return r.broken.Load() && r.n.Add(1)%2 == 0 }

func (r *release) Quote(_ context.Context, req *pay.QuoteRequest) (*pay.QuoteReply, error) {
	if r.fails() {
		return nil, status.Errorf(codes.Internal, "%s is broken", r.version)
	}
	return &pay.QuoteReply{FeeCents: req.Cents / 100, Cloud: r.version}, nil
}

func (r *release) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("X-Version", r.version)
	if r.fails() {
		http.Error(w, r.version+" is broken", http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, `{"path":%q,"stock":3}`, req.URL.Path)
}

// fleet runs instances until it is stopped.
type fleet struct {
	agent string
	stop  context.CancelFunc
	wg    sync.WaitGroup
	mu    sync.Mutex
	errs  []error
}

// start runs an instance of both services and returns when they are announced, with
// their version, which subsets are made of.
func (f *fleet) start(ctx context.Context, r *release, instance string) error {
	for kind, service := range services {
		source, err := consul.New(consul.Config{Name: "aws", Address: f.agent})
		if err != nil {
			return err
		}
		up := &announced{Registrar: source, done: make(chan struct{})}
		m, err := mesh.Join(ctx, mesh.Config{
			Service: service, InstanceID: service + "-" + instance,
			Metadata:    map[string]string{"version": r.version},
			Locality:    resolver.Locality{Cloud: "aws"},
			Clouds:      []consul.Config{{Name: "aws", Address: f.agent}},
			Registrar:   up,
			SnapshotDir: "off",
		})
		if err != nil {
			return err
		}
		srv, err := serverOf(m, kind, r)
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		ended := make(chan struct{})
		f.wg.Go(func() {
			defer close(ended)
			err := errors.Join(m.Serve(ctx, srv, l), m.Leave(context.Background()), source.Close(context.Background()))
			f.mu.Lock()
			defer f.mu.Unlock()
			f.errs = append(f.errs, err)
		})
		select {
		case <-up.done:
		case <-ended:
			return fmt.Errorf("%s of %s ended at its start: %w", r.version, service, f.end())
		}
	}
	return nil
}

func serverOf(m *mesh.Mesh, kind string, r *release) (any, error) {
	if kind == "HTTP" {
		return m.NewHTTPServer(r)
	}
	srv := m.NewGRPCServer()
	pay.RegisterPaymentsServer(srv, r)
	return srv, nil
}

// end stops all instances, waits for them, and returns what went wrong.
func (f *fleet) end() error {
	f.stop()
	f.wg.Wait()
	return errors.Join(f.errs...)
}

// announced tells when an announcement is through.
type announced struct {
	resolver.Registrar
	once sync.Once
	done chan struct{}
}

func (a *announced) Register(ctx context.Context, in resolver.Instance) (func(context.Context) error, error) {
	f, err := a.Registrar.Register(ctx, in)
	if err == nil {
		a.once.Do(func() { close(a.done) })
	}
	return f, err
}

// broken is the error of a version that does not work.
type broken struct{ version, text string }

func (b *broken) Error() string { return b.version + ": " + b.text }

// caller makes one call and returns the version that answered it, with an error of
// type broken if it answered with one.
type caller func(ctx context.Context) (version string, err error)

func callers(m *mesh.Mesh) (map[string]caller, error) {
	conn, err := m.Dial(services["gRPC"])
	if err != nil {
		return nil, err
	}
	client, web := pay.NewPaymentsClient(conn), m.HTTPClient()
	return map[string]caller{
		"gRPC": func(ctx context.Context) (string, error) {
			q, err := client.Quote(ctx, &pay.QuoteRequest{Cents: 1999})
			if status.Code(err) == codes.Internal {
				for _, version := range versions {
					if text := status.Convert(err).Message(); strings.Contains(text, version+" is broken") {
						return version, &broken{version, text}
					}
				}
			}
			return q.GetCloud(), err
		},
		"HTTP": func(ctx context.Context) (string, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+services["HTTP"]+"/items/7", nil)
			if err != nil {
				return "", err
			}
			resp, err := web.Do(req)
			if err != nil {
				return "", err
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				return "", err
			}
			version := resp.Header.Get("X-Version")
			if resp.StatusCode != http.StatusOK {
				return version, &broken{version, resp.Status}
			}
			return version, nil
		},
	}, nil
}
