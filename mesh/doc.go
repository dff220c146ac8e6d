// Package mesh is the front door of Weft: a service mesh without a sidecar, in
// the process that uses it.
//
// [Join] makes this process a member. A member dials services by name and gets
// the ecosystem's own types back: [Mesh.Dial] a *grpc.ClientConn,
// [Mesh.HTTPClient] an *http.Client, [Mesh.NewGRPCServer] a *grpc.Server,
// [Mesh.NewHTTPServer] an *http.Server. Every connection is mutual TLS between
// SPIFFE identities; nothing falls back to plaintext.
//
//	m, err := mesh.Join(ctx, mesh.Config{Service: "checkout"})
//	if err != nil {
//		return err
//	}
//	defer m.Leave(context.Background())
//
//	conn, err := m.Dial("payments") // *grpc.ClientConn
//	web := m.HTTPClient()           // http://inventory/items/7
//
// # Where endpoints and identities come from
//
// With CONSUL_HTTP_ADDR (or Config.Clouds, WEFT_CLOUDS) the catalog is Consul,
// one source a cloud, and the identity comes from Consul's CA. With
// SPIFFE_ENDPOINT_SOCKET the identity comes from the SPIFFE Workload API. With
// nothing in the environment the same code runs on an in-memory catalog and a
// development CA ([Embedded]), mutual TLS included.
//
// # What happens without the control plane
//
// Calls go on with the last good list, from memory or, after a restart, from
// disk. [Mesh.Status] tells the age of each source.
//
// # What is measured
//
// With [Config].MeterProvider and TracerProvider, calls, attempts, endpoints,
// breakers, budgets, catalogs and certificates are measured and calls traced, under
// the names of OpenTelemetry's semantic conventions. A span of the application in
// the context is the parent of the call's; no header is copied by hand. Counting a
// call allocates nothing, nor does deciding that it is not sampled.
// Module mesh/export makes the providers from OTEL_* variables, or for Prometheus.
//
// # What this package does not do
//
// It decides nothing that the other rooms decide: package resolver finds,
// balancer chooses, resilience classifies, security verifies. Each of them works
// without mesh, on stock grpc-go and net/http.
package mesh
