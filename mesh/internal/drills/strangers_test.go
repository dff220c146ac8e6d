package drills

import (
	"context"
	"net"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/weft-mesh/weft/internal/drill"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
)

const intruder = "intruder"

func (s *scene) intruderID() string {
	id, err := s.embedded.CA.ID("home", intruder)
	s.must(err)
	return id
}

// addStrangers puts an endpoint into the catalog that cannot prove that it is one,
// and lets somebody call who is to be denied.
func (s *scene) addStrangers() {
	addr := &net.TCPAddr{IP: net.IPv4(10, 0, 66, 1), Port: 81}
	thief, err := mesh.Join(context.Background(), mesh.Config{Service: "thief", Embedded: s.embedded, Registrar: silent{s.embedded.Catalog}, Propagation: -1, DrainTimeout: -1})
	s.must(err)
	l, err := s.net.Listen("impostor", addr)
	s.must(err)
	srv := thief.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, &impostor{s: s})
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = thief.Serve(ctx, srv, l); _ = thief.Leave(context.Background()) })
	s.onClose(func() { cancel(); done.Wait() })
	_, err = s.embedded.Catalog.Register(context.Background(), resolver.Instance{
		Service: payments, ID: "impostor", Host: addr.IP.String(), Port: addr.Port, Protocol: "grpc",
		Locality: resolver.Locality{Cloud: s.cfg.clouds[0]},
	})
	s.must(err)

	m := s.join(intruder, "home", "home", mesh.ServicePolicy{Idempotent: []string{"/grpc.testing.TestService/"}}, nil)
	s.intruder = s.dial(m, payments, s.intrusions)
}

type impostor struct {
	grpc_testing.UnimplementedTestServiceServer
	s *scene
}

func (i *impostor) UnaryCall(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	i.s.impostorSeen.Add(1)
	return &grpc_testing.SimpleResponse{}, nil
}

func (i *impostor) EmptyCall(context.Context, *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	i.s.impostorSeen.Add(1)
	return &grpc_testing.Empty{}, nil
}

// intrude calls as the one who is to be denied, until the end of the scene.
func (s *scene) intrude(length time.Duration) {
	var done sync.WaitGroup
	done.Go(func() {
		drill.Open(context.Background(), s.intrusions, drill.Load{Rate: 5, Length: length, Do: func(ctx context.Context, r *drill.Request) error {
			ctx = metadata.AppendToOutgoingContext(ctx, idKey, strconv.Itoa(-r.ID))
			_, err := s.intruder.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
			return err
		}})
	})
	s.onClose(done.Wait)
}
