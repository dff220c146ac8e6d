package mesh

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/weft-mesh/weft/mesh/internal/telemetry"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/consul"
	"github.com/weft-mesh/weft/security/files"
)

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
	r.resolveBallast()
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
