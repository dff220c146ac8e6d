package mesh

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// mirrorRPC sends a copy of a call, if it was drawn for one. Only protobuf messages
// are copied: others could change while they are sent.
func (d *decided) mirrorRPC(ctx context.Context, method string, req, reply any) {
	if !d.Mirror || d.mirror == nil || markedRPC(ctx) {
		return
	}
	in, ok := req.(proto.Message)
	out, fresh := reply.(proto.Message)
	if !ok || !fresh {
		d.mirror.dropped.Add(1)
		return
	}
	conn, err := d.mirror.m.mirrorConn(d.mirror.service)
	if err != nil {
		return
	}
	in = proto.Clone(in)
	into := out.ProtoReflect().New().Interface() // now: the call writes to its own reply
	d.mirror.send(ctx, func(ctx context.Context) {
		_ = conn.Invoke(metadata.AppendToOutgoingContext(ctx, mirrorKey, "1"), method, in, into)
	})
}

// markedRPC reports whether a call is made for a copy of another one.
func markedRPC(ctx context.Context) bool {
	return mirrored(ctx) || len(metadata.ValueFromIncomingContext(ctx, mirrorKey)) > 0
}

// mirrorConn is the connection for copies to a service; they share one.
func (m *Mesh) mirrorConn(service string) (*grpc.ClientConn, error) {
	m.grpc.mu.Lock()
	conn := m.grpc.mirrors[service]
	m.grpc.mu.Unlock()
	if conn != nil {
		return conn, nil
	}
	conn, err := m.Dial(service)
	if err != nil {
		return nil, err
	}
	m.grpc.mu.Lock()
	defer m.grpc.mu.Unlock()
	if had := m.grpc.mirrors[service]; had != nil {
		_ = conn.Close()
		return had, nil
	}
	if m.grpc.mirrors == nil {
		m.grpc.mirrors = map[string]*grpc.ClientConn{}
	}
	m.grpc.mirrors[service] = conn
	return conn, nil
}
