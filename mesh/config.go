package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/mesh/internal/telemetry"
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
	// ConnectTimeout bounds the TCP and TLS handshakes of one connection.
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

// resolved is a Config with every default filled in.
type resolved struct {
	Config
	settings *reader
	catalog  string // "given", "consul", "file", "embedded"
	identity string // "given", "spiffe", "files", "consul", "dev"
}

// Effective resolves a configuration as Join would, without any I/O: the value
// of each setting and where it comes from.
func Effective(cfg Config) (Settings, error) {
	r, err := resolve(cfg, os.Getenv)
	if r == nil {
		return nil, err
	}
	return r.settings.list, err
}

func resolve(cfg Config, getenv func(string) string) (*resolved, error) {
	s := &reader{getenv: getenv}
	r := &resolved{Config: cfg, settings: s}
	r.Service = s.str("Service", "WEFT_SERVICE", cfg.Service, "")
	if err := resolver.CheckService(r.Service); err != nil {
		s.errs = append(s.errs, fmt.Errorf("mesh: Config.Service (or WEFT_SERVICE): %w", err))
	}
	r.Locality.Cloud = s.str("Locality.Cloud", "WEFT_CLOUD", cfg.Locality.Cloud, "")
	r.Locality.Region = s.str("Locality.Region", "WEFT_REGION", cfg.Locality.Region, "")
	r.Locality.Zone = s.str("Locality.Zone", "WEFT_ZONE", cfg.Locality.Zone, "")
	r.resolveCatalog()
	r.resolveIdentity()
	r.resolveFederation()
	r.Authorization.PolicyFile = s.str("Authorization.PolicyFile", "WEFT_POLICY_FILE", cfg.Authorization.PolicyFile, "")
	r.Egress.Allow = s.list1("Egress.Allow", "WEFT_EGRESS", cfg.Egress.Allow)
	r.Balancer.CloudOrder = s.list1("Balancer.CloudOrder", "WEFT_CLOUD_ORDER", cfg.Balancer.CloudOrder)
	r.Balancer.SubsetSize = s.integer("Balancer.SubsetSize", "WEFT_SUBSET_SIZE", cfg.Balancer.SubsetSize)
	r.Entries = s.list1("Entries", "WEFT_ENTRIES", cfg.Entries)
	r.ConnectTimeout = s.duration("ConnectTimeout", "WEFT_CONNECT_TIMEOUT", cfg.ConnectTimeout, 3*time.Second)
	r.Advertise = s.str("Advertise", "WEFT_ADVERTISE", cfg.Advertise, "")
	r.InstanceID = s.str("InstanceID", "WEFT_INSTANCE", cfg.InstanceID, "")
	propagation := 2 * time.Second
	if r.catalog == "embedded" {
		propagation = 100 * time.Millisecond
	}
	r.Propagation = s.duration("Propagation", "WEFT_PROPAGATION", cfg.Propagation, propagation)
	r.DrainTimeout = s.duration("DrainTimeout", "WEFT_DRAIN_TIMEOUT", cfg.DrainTimeout, 20*time.Second)
	r.MaxConnectionAge = s.duration("MaxConnectionAge", "WEFT_MAX_CONNECTION_AGE", cfg.MaxConnectionAge, 30*time.Minute)
	r.QuarantineHold = s.duration("QuarantineHold", "WEFT_QUARANTINE_HOLD", cfg.QuarantineHold, 5*time.Minute)
	r.resolveTelemetry()
	r.Permissive = cfg.Permissive.Round(0) // a date: of the wall clock alone
	if !r.Permissive.IsZero() {
		s.add("Permissive", "", "plaintext accepted until "+r.Permissive.UTC().Format(time.RFC3339), FromStruct)
	}
	if r.ConnectTimeout < 0 {
		s.errs = append(s.errs, fmt.Errorf("mesh: ConnectTimeout %v is negative; a connection attempt must end", r.ConnectTimeout))
	}
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	} else {
		r.Logger = telemetry.Limited(r.Logger)
	}
	return r, errors.Join(s.errs...)
}

func (r *resolved) resolveCatalog() {
	s := r.settings
	clouds, origin := r.Clouds, FromStruct
	if len(clouds) == 0 {
		origin = FromEnvironment
		var err error
		if clouds, err = parseClouds(s.getenv("WEFT_CLOUDS")); err != nil {
			s.errs = append(s.errs, err)
		}
	}
	file := r.CatalogFile
	if file == "" {
		file = s.getenv("WEFT_CATALOG_FILE")
	}
	switch addr := s.getenv("CONSUL_HTTP_ADDR"); {
	case r.Catalog != nil:
		r.catalog = "given"
		s.add("Catalog", "", fmt.Sprintf("%T", r.Catalog), FromStruct)
	case len(r.Clouds) > 0, r.CatalogFile == "" && len(clouds) > 0:
		r.catalog, r.Clouds = "consul", clouds
		s.add("Catalog", "WEFT_CLOUDS", "consul: "+describeClouds(clouds), origin)
	case file != "":
		r.catalog = "file"
		r.CatalogFile = s.str("CatalogFile", "WEFT_CATALOG_FILE", r.CatalogFile, "")
	case addr != "":
		r.catalog, r.Clouds = "consul", []consul.Config{{}}
		s.add("Catalog", "CONSUL_HTTP_ADDR", "consul: "+redactAddr(addr), FromEnvironment)
	case r.Embedded != nil:
		r.catalog = "embedded"
		s.add("Catalog", "", "embedded", FromStruct)
	default:
		r.catalog = "embedded"
		s.add("Catalog", "", "embedded", FromDefault)
	}
	dir := ""
	if r.catalog == "consul" {
		if base, err := os.UserCacheDir(); err == nil {
			dir = filepath.Join(base, "weft", "snapshots", r.Service)
		}
	}
	r.SnapshotDir = s.str("SnapshotDir", "WEFT_SNAPSHOT_DIR", r.SnapshotDir, dir)
	if r.SnapshotDir == "off" {
		r.SnapshotDir = ""
	}
}

func (r *resolved) resolveIdentity() {
	s := r.settings
	svid := files.Config{Cert: s.getenv("WEFT_SVID_CERT"), Key: s.getenv("WEFT_SVID_KEY"), Bundle: s.getenv("WEFT_BUNDLE")}
	switch {
	case r.Identity != nil:
		r.identity = "given"
		s.add("Identity", "", fmt.Sprintf("%T", r.Identity), FromStruct)
	case r.Files.Cert != "":
		r.identity = "files"
		s.add("Identity", "WEFT_SVID_CERT", "files: "+r.Files.Cert, FromStruct)
	case s.getenv("SPIFFE_ENDPOINT_SOCKET") != "":
		r.identity = "spiffe"
		s.add("Identity", "SPIFFE_ENDPOINT_SOCKET", "SPIFFE Workload API", FromEnvironment)
	case svid.Cert != "":
		r.identity, r.Files = "files", svid
		s.add("Identity", "WEFT_SVID_CERT", "files: "+svid.Cert, FromEnvironment)
	case r.catalog == "consul":
		r.identity = "consul"
		s.add("Identity", "", "Consul Connect CA", FromDefault)
	case r.catalog == "given":
		s.errs = append(s.errs, errors.New("mesh: Config.Catalog is set and no identity is: set Config.Identity, or SPIFFE_ENDPOINT_SOCKET, or WEFT_SVID_CERT, WEFT_SVID_KEY and WEFT_BUNDLE"))
	default:
		r.identity = "dev"
		s.add("Identity", "", "development CA, not for production", FromDefault)
	}
	if r.identity == "dev" {
		r.DevDir = s.str("DevDir", "WEFT_DEV_DIR", r.DevDir, "")
	}
}

// parseClouds reads WEFT_CLOUDS: NAME, NAME=dc:DATACENTER, NAME=peer:PEER or
// NAME=ADDRESS, separated by commas.
func parseClouds(list string) ([]consul.Config, error) {
	var clouds []consul.Config
	for _, item := range strings.Split(list, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		name, where, _ := strings.Cut(item, "=")
		if name == "" || strings.ContainsAny(name, "/@: ") {
			return nil, fmt.Errorf("mesh: WEFT_CLOUDS: %q has no cloud name; want NAME, NAME=dc:DATACENTER, NAME=peer:PEER or NAME=ADDRESS", redactAddr(item))
		}
		c := consul.Config{Name: name}
		switch {
		case strings.HasPrefix(where, "dc:"):
			c.Datacenter = strings.TrimPrefix(where, "dc:")
		case strings.HasPrefix(where, "peer:"):
			c.Peer = strings.TrimPrefix(where, "peer:")
		case strings.Contains(where, "@") || strings.Contains(where, "token="):
			return nil, fmt.Errorf("mesh: WEFT_CLOUDS: cloud %q has a secret in its address; give it in CONSUL_HTTP_TOKEN_FILE or Config.Clouds", name)
		default:
			c.Address = where
		}
		clouds = append(clouds, c)
	}
	return clouds, nil
}

func describeClouds(clouds []consul.Config) string {
	parts := make([]string, len(clouds))
	for i, c := range clouds {
		switch {
		case c.Datacenter != "":
			parts[i] = c.Name + "=dc:" + c.Datacenter
		case c.Peer != "":
			parts[i] = c.Name + "=peer:" + c.Peer
		case c.Address != "":
			parts[i] = c.Name + "=" + redactAddr(c.Address)
		default:
			parts[i] = c.Name
		}
	}
	return strings.Join(parts, ",")
}

// redactAddr removes user info and a query from an address that will be shown.
func redactAddr(addr string) string {
	addr, _, _ = strings.Cut(addr, "?")
	scheme, rest, found := strings.Cut(addr, "://")
	if !found {
		scheme, rest = "", addr
	}
	if _, host, has := strings.Cut(rest, "@"); has {
		rest = "***@" + host
	}
	if found {
		return scheme + "://" + rest
	}
	return rest
}
