package mesh

import (
	"context"
	"log/slog"
	"net"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/chain"
	"github.com/weft-mesh/weft/resolver/consul"
	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/bundleendpoint"
	"github.com/weft-mesh/weft/security/files"
)

// Config says who joins and how. The zero value of every field is a useful
// default, and most fields have an environment variable; precedence is struct,
// environment, default. Only Service has no default.
type Config struct {
	// Service is this process's own name in the mesh: it is what others call and
	// what the identity is issued for. Empty: WEFT_SERVICE; empty too: Join fails.
	Service string
	// Locality is where this process runs. Empty fields: WEFT_CLOUD, WEFT_REGION,
	// WEFT_ZONE; empty too: with Consul, what the local agent says of itself; else unknown.
	Locality resolver.Locality

	// Catalog overrides where endpoints are found. nil: Clouds, WEFT_CLOUDS,
	// WEFT_CATALOG_FILE, CONSUL_HTTP_ADDR or an embedded catalog in memory, the first that is set.
	Catalog resolver.Catalog
	// Registrar overrides where Serve announces this process. nil: Catalog if it
	// is one; with Clouds the first that is a cluster of its own.
	Registrar resolver.Registrar
	// Clouds are the Consul sources: own clusters (Address), datacenters of a
	// federation (Datacenter), peers (Peer). Empty: WEFT_CLOUDS, a comma list of
	// NAME, NAME=dc:DATACENTER, NAME=peer:PEER and NAME=ADDRESS.
	Clouds []consul.Config
	// CatalogFile is a YAML or JSON catalog file, reloaded when it changes. Empty: WEFT_CATALOG_FILE.
	CatalogFile string
	// Entries are files, or folders of files, of Consul's config entries in JSON, YAML or
	// HCL: service-router, service-splitter, service-resolver, service-defaults and
	// proxy-defaults. They are compiled here as Consul would, and followed when they
	// change. Empty: WEFT_ENTRIES, a comma list; empty too: Consul's, with Consul.
	Entries []string
	// Chains overrides where the discovery chains of services are read: routers,
	// splitters, resolvers, failover. nil: with Consul, from the first of Clouds that is
	// a cluster of its own; else Entries; else none: calls go to the service they name.
	Chains chain.Source
	// NoChains reads none. Default false: they hold as they do for a sidecar.
	NoChains bool
	// SnapshotDir is where the last good answers are kept for a restart without
	// Consul, readable by the owner only. Empty: WEFT_SNAPSHOT_DIR; empty too: with
	// Consul, a folder of the service in the user's cache directory. "off": none.
	SnapshotDir string
	// QuarantineHold is how long an answer that empties a service or removes more
	// than half of it is not believed. 0: 5 min; negative: believed at once.
	QuarantineHold time.Duration

	// Identity overrides who this process is. nil: SPIFFE_ENDPOINT_SOCKET, Files,
	// Consul's CA, or a development CA if the catalog is embedded or a file, the first that is set.
	Identity security.Source
	// Files are the PEM files of an identity. Zero: WEFT_SVID_CERT, WEFT_SVID_KEY and WEFT_BUNDLE.
	Files files.Config
	// Federation are the bundle endpoints of other trust domains (SPIFFE Federation), whose
	// members can then prove who they are; what they may do, Authorize and Authorization
	// say. An empty CacheDir of one is SnapshotDir. nil: WEFT_FEDERATION, a comma list of
	// TRUSTDOMAIN=URL and TRUSTDOMAIN=URL ENDPOINTID BUNDLEFILE (https_spiffe; PEM or JSON);
	// empty too: none but those that Identity knows and, with Consul's CA, those of Clouds
	// and of Consul's cluster peerings.
	Federation []bundleendpoint.Config
	// DevDir shares one development CA among the processes of one machine.
	// Empty: WEFT_DEV_DIR; empty too: a CA of this process alone.
	DevDir string
	// Embedded shares an in-memory catalog and development CA among the members
	// of one process. nil: one of its own, if the embedded defaults are used.
	Embedded *Embedded
	// PeerID gives the SPIFFE ID that an endpoint must prove, where the catalog
	// does not say or should be overruled. nil: the catalog's; for a catalog that does
	// not say, this process's trust domain with Consul's path for the service and cloud.
	PeerID func(*resolver.Endpoint) string
	// Authorize says which callers may connect to servers. nil: members of this
	// process's own trust domain.
	Authorize security.Authorizer
	// Authorization says what callers may do at servers. Zero: what Consul's
	// intentions allow; without a Consul catalog, everything.
	Authorization AuthorizationConfig
	// Egress says which hosts outside the mesh this process may call. Zero: none.
	Egress EgressConfig
	// Permissive lets callers without TLS in until then, on the ports of the servers, while
	// a service is migrated: they have no identity, Authorize is not asked about them, and
	// Mesh.PlaintextCallers names them. Zero: off, mutual TLS only.
	Permissive time.Time

	// Balancer says how endpoints are chosen, for all services. Zero: PeakEWMA
	// within locality tiers, see package balancer. Its Local and Store are the mesh's.
	// An empty CloudOrder: WEFT_CLOUD_ORDER, a comma list.
	Balancer balancer.Config
	// Policy says how calls survive, for services that Services does not name. Zero:
	// a safe default, see ServicePolicy.
	Policy ServicePolicy
	// Services are the policies of services by name, whole: nothing of Policy is
	// added to them. nil: Policy for all.
	Services map[string]ServicePolicy
	// Inbound says how the servers survive their callers. Zero: a safe default, see
	// InboundPolicy.
	Inbound InboundPolicy
	// ConnectTimeout bounds the TCP and TLS handshakes of one connection, over gRPC with the
	// server's HTTP/2 settings. A service-resolver's ConnectTimeout takes its place.
	// 0: WEFT_CONNECT_TIMEOUT or 3 s.
	ConnectTimeout time.Duration
	// DialContext opens connections to other members, gRPC and HTTP; TLS comes on top.
	// It is given "tcp" and the endpoint's address. nil: TCP.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Advertise is the host, or host:port, that others reach this process at.
	// Empty: WEFT_ADVERTISE; empty too: the listener's address, or for a listener
	// on all interfaces the address of the interface that faces Consul.
	Advertise string
	// InstanceID names the instance on its node. Empty: the service and the port.
	InstanceID string
	// Weight, Tags and Metadata are announced with the instance. Weight 0: 1.
	Weight   uint32
	Tags     []string
	Metadata map[string]string
	// Propagation is how long Serve goes on serving after it left the catalog, so
	// that callers hear of it. 0: WEFT_PROPAGATION, or 2 s (100 ms with an
	// embedded catalog); negative: not at all.
	Propagation time.Duration
	// DrainTimeout bounds how long Serve waits for calls in flight before it cuts
	// them. 0: WEFT_DRAIN_TIMEOUT or 20 s; negative: not at all.
	DrainTimeout time.Duration
	// MaxConnectionAge bounds the life of a server's connections, with 10 %
	// jitter, so that identities are verified anew. 0: 30 min; negative: unbounded.
	MaxConnectionAge time.Duration

	// HeapBallast is how many bytes the collector counts as in use on top of what is. They
	// are never touched and so take no memory, but the heap may grow by as much more between
	// two collections, and that is memory: a service with a small heap, which Go collects
	// whenever it has grown to 4 MiB, spends a fifth less of its processor time. It makes
	// no difference to one with hundreds of megabytes. One process has one, the largest that
	// its members ask for. 0: WEFT_HEAP_BALLAST, or 4 MiB, and none where GOGC or a memory
	// limit is set; negative: none; at most 1 GiB. It is the ballast of
	// https://blog.twitch.tv/en/2019/04/10/go-memory-ballast-how-i-learnt-to-stop-worrying-and-love-the-heap/.
	HeapBallast int

	// Logger takes one event per change of state, rate limited. nil: none.
	Logger *slog.Logger
	// MeterProvider takes the metrics, TracerProvider the spans: OpenTelemetry's own
	// API, so any SDK's. Package mesh/export makes both from OTEL_* variables. nil:
	// nothing is measured, or traced, and nothing is spent on it.
	MeterProvider  metric.MeterProvider
	TracerProvider trace.TracerProvider
	// Telemetry says what is measured and traced in detail. Zero: a safe default.
	Telemetry TelemetryConfig

	see seams
}
