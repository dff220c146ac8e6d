package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
)

const (
	service     = "payments"
	instances   = 2                     // per cloud
	slots       = 4                     // calls that an instance works on at a time
	serviceTime = 20 * time.Millisecond // of one call
)

var clouds = []string{"aws", "azure", "gcp"}

// cloudCapacity is what the instances of one cloud can do, in calls per second.
const cloudCapacity = float64(instances*slots) * float64(time.Second/serviceTime)

// fleet is the instances of the service, two in each of three clouds.
type fleet struct {
	embedded  *mesh.Embedded
	addrs     []string
	cloudOf   map[string]string // by address
	listeners map[string][]*listener
	stop      context.CancelFunc
	done      sync.WaitGroup
}

func newFleet(ctx context.Context) (f *fleet, err error) {
	f = &fleet{cloudOf: map[string]string{}, listeners: map[string][]*listener{}}
	ctx, f.stop = context.WithCancel(ctx)
	if f.embedded, err = mesh.NewEmbedded(nil); err != nil {
		return f, err
	}
	for _, cloud := range clouds {
		for i := range instances {
			if err := f.serve(ctx, cloud, i); err != nil {
				return f, err
			}
		}
	}
	return f, nil
}

func (f *fleet) serve(ctx context.Context, cloud string, i int) error {
	l, err := listen()
	if err != nil {
		return err
	}
	f.listeners[cloud] = append(f.listeners[cloud], l)
	m, err := mesh.Join(ctx, mesh.Config{
		Service:      service,
		InstanceID:   fmt.Sprintf("%s-%s-%d", service, cloud, i),
		Locality:     resolver.Locality{Cloud: cloud, Region: cloud + "-1"},
		Embedded:     f.embedded,
		Registrar:    silent{f.embedded.Catalog},
		Propagation:  -1,
		DrainTimeout: -1,
	})
	if err != nil {
		return err
	}
	srv := m.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, &worker{cloud: cloud, slots: make(chan struct{}, slots)})
	addr := l.Addr().String()
	f.addrs = append(f.addrs, addr)
	f.cloudOf[addr] = cloud
	served := make(chan error, 1)
	f.done.Go(func() {
		served <- m.Serve(ctx, srv, l) // ends with an error when the cloud dies
		_ = m.Leave(context.Background())
	})
	return f.registered(ctx, addr, served)
}

// registered waits until the catalog names the instance.
func (f *fleet) registered(ctx context.Context, addr string, served <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	seen := make(chan struct{}, 1)
	go func() {
		_ = f.embedded.Catalog.Watch(ctx, service, func(s *resolver.Snapshot) {
			for i := range s.Endpoints {
				if s.Endpoints[i].Addr == addr {
					select {
					case seen <- struct{}{}:
					default:
					}
				}
			}
		})
	}()
	select {
	case <-seen:
		return nil
	case err := <-served:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fail does the fault to a cloud. The catalog goes on naming its instances.
func (f *fleet) fail(cloud string, what fault) error {
	var errs []error
	for _, l := range f.listeners[cloud] {
		if what == refused {
			errs = append(errs, l.Close())
		} else {
			errs = append(errs, l.vanish())
		}
	}
	return errors.Join(errs...)
}

func (f *fleet) close() {
	for _, ls := range f.listeners {
		for _, l := range ls {
			_ = l.Close()
		}
	}
	f.stop()
	f.done.Wait()
}

// silent never deregisters: a cloud that dies says no goodbye.
type silent struct{ resolver.Registrar }

func (s silent) Register(ctx context.Context, in resolver.Instance) (func(context.Context) error, error) {
	_, err := s.Registrar.Register(ctx, in)
	return func(context.Context) error { return nil }, err
}

// worker answers with its cloud; calls beyond its slots wait.
type worker struct {
	grpc_testing.UnimplementedTestServiceServer
	cloud string
	slots chan struct{}
}

func (w *worker) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	defer func() { <-w.slots }()
	t := time.NewTimer(serviceTime)
	defer t.Stop()
	select {
	case <-t.C:
		return &grpc_testing.SimpleResponse{Username: w.cloud}, nil
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}
