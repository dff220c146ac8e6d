package main

import (
	"context"
	"encoding/json"
	"net"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/benchmarks/internal/identity"
)

// node is the ID that all ask with.
const node = "bench"

// plane is a control plane, and the bootstrap that leads to it.
type plane struct {
	dir  string
	id   *identity.Identity
	stop func()
}

// resource is one of a type.
type resource struct {
	kind string
	of   types.Resource
}

// start serves the resources, and returns the bootstrap that leads to them. A process
// would find it in its environment when it starts; this one hands it over.
func (p *plane) start(ctx context.Context, list []resource) (bootstrap []byte, err error) {
	files, err := p.id.Write(p.dir)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	by := map[resourcev3.Type][]types.Resource{}
	for _, r := range list {
		by[r.kind] = append(by[r.kind], r.of)
	}
	snapshot, err := cache.NewSnapshot("1", by)
	if err != nil {
		return nil, err
	}
	snapshots := cache.NewSnapshotCache(true, hash{}, nil)
	if err := snapshots.SetSnapshot(ctx, node, snapshot); err != nil {
		return nil, err
	}
	srv := grpc.NewServer()
	discoverypb.RegisterAggregatedDiscoveryServiceServer(srv, server.NewServer(ctx, snapshots, nil))
	ended := make(chan struct{})
	go func() { defer close(ended); _ = srv.Serve(l) }()
	p.stop = func() { srv.Stop(); <-ended }
	return json.Marshal(map[string]any{
		"xds_servers": []any{map[string]any{
			"server_uri":      "passthrough:///" + l.Addr().String(),
			"channel_creds":   []any{map[string]string{"type": "insecure"}},
			"server_features": []string{"xds_v3"},
		}},
		"node": map[string]string{"id": node},
		"certificate_providers": map[string]any{"files": map[string]any{
			"plugin_name": "file_watcher",
			"config": map[string]string{
				"certificate_file": files.Cert, "private_key_file": files.Key, "ca_certificate_file": files.CA, "refresh_interval": "600s",
			},
		}},
		"server_listener_resource_name_template": listenerPrefix + "%s",
	})
}

// hash knows one node.
type hash struct{}

func (hash) ID(*corepb.Node) string { return node }
