package mesh

import (
	"crypto/tls"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/weft-mesh/weft/security/authz"
)

// DialOutside returns a gRPC connection to a host outside the mesh, "host:port", if
// Config.Egress allows it. It is a plain one, with TLS by the system's roots, and has
// nothing of the mesh: neither its identity nor its policies or telemetry. Options
// are applied after these; the host is judged all the same. The connection is the
// caller's to close; Leave closes it too.
func (m *Mesh) DialOutside(addr string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		err = m.egress.Check(host, port)
	}
	if err != nil {
		return nil, &Error{Op: "dial", Service: addr, Err: err}
	}
	all := append([]grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})),
	}, opts...)
	// Last, so that no option goes around it.
	all = append(all, authz.EgressDialer(m.egress))
	conn, err := grpc.NewClient("passthrough:///"+addr, all...)
	if err != nil {
		return nil, &Error{Op: "dial", Service: addr, Err: err}
	}
	m.grpc.track(conn)
	if m.isLeft() { // Leave may have missed it
		m.grpc.close()
		return nil, &Error{Op: "dial", Service: addr, Err: ErrLeft}
	}
	return conn, nil
}
