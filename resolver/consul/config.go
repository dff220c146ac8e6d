package consul

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/resolver"
)

// Keys of service metadata that this package reads and Register writes.
const (
	// MetaProtocol holds the protocol: "grpc", "http", "http2" or "tcp".
	MetaProtocol = "weft-protocol"
	// MetaNative is "true" on Connect-native instances. Consul's own flag does
	// not cross a cluster peering.
	MetaNative = "weft-native"
	// MetaRegion and MetaZone are the locality of instances whose registrar could
	// not give a Consul locality.
	MetaRegion = "weft-region"
	MetaZone   = "weft-zone"
)

// Config describes one cloud. The zero value is the cluster of the local agent,
// as the CONSUL_* environment variables describe it.
type Config struct {
	// Name is the source's name, the cloud of its endpoints. Empty: Peer, else
	// Datacenter, else "consul".
	Name string
	// Address of the agent: "host:port", "http://…", "https://…" or
	// "unix:///path". Empty: CONSUL_HTTP_ADDR, else "localhost:8500".
	Address string
	// Datacenter is the WAN-federated datacenter to read; empty means the agent's own.
	Datacenter string
	// Peer is the cluster peer to read; empty means none. It excludes Datacenter.
	Peer string
	// Namespace and Partition are Consul Enterprise's; empty: CONSUL_NAMESPACE and
	// CONSUL_PARTITION, else the default ones.
	Namespace, Partition string

	// Token is the ACL token. Empty: TokenFile, else CONSUL_HTTP_TOKEN, else none.
	Token string
	// TokenFile holds the token and is read again when it changes. Empty:
	// CONSUL_HTTP_TOKEN_FILE if Token is empty too. It wins over Token, as in
	// Consul's own tools.
	TokenFile string
	// HTTPAuth is "user:password" for a proxy before Consul; empty: CONSUL_HTTP_AUTH.
	HTTPAuth string
	// TLS is used for https addresses; each empty field comes from the environment.
	TLS TLSConfig

	// Locality is the region and zone of endpoints of which Consul knows neither;
	// empty means unknown. Its Cloud is ignored: the cloud is Name.
	Locality resolver.Locality
	// LANAddresses uses the LAN addresses of another datacenter; false prefers
	// TaggedAddresses.wan where an instance has one.
	LANAddresses bool

	// Wait bounds a blocking query; 0 means 30 s. Between 1 s and 10 min.
	Wait time.Duration
	// Linger is how long a watch outlives its last watcher; 0 means one minute,
	// negative ends it at once.
	Linger time.Duration
	// MaxConns bounds the connections to a plain HTTP agent, which refuses more
	// than 200 of one address; 0 means 128. At least 4.
	MaxConns int
	// TTL is the time after which an instance whose process died turns critical;
	// 0 means 10 s. At least 1 s.
	TTL time.Duration
	// DeregisterAfter is the time after which Consul removes an instance that
	// stays critical; 0 means 10 min. Consul rounds it up to a minute.
	DeregisterAfter time.Duration
	// Logger hears about state changes; nil discards.
	Logger *slog.Logger
}

// TLSConfig says how to trust and authenticate to an https agent. The files of
// the client certificate are read again for each connection.
type TLSConfig struct {
	// CAFile and CAPath hold the CA certificates. Empty: CONSUL_CACERT and
	// CONSUL_CAPATH, else the system's.
	CAFile, CAPath string
	// CertFile and KeyFile are the client certificate. Empty: CONSUL_CLIENT_CERT
	// and CONSUL_CLIENT_KEY, else none.
	CertFile, KeyFile string
	// ServerName is the name to verify. Empty: CONSUL_TLS_SERVER_NAME, else the
	// host of Address.
	ServerName string
	// SkipVerify turns verification off; false: CONSUL_HTTP_SSL_VERIFY decides,
	// which is on by default.
	SkipVerify bool
}

const (
	defaultWait            = 30 * time.Second
	defaultLinger          = time.Minute
	defaultMaxConns        = 128
	defaultTTL             = 10 * time.Second
	defaultDeregisterAfter = 10 * time.Minute
)

// resolved is a checked Config with the environment and the defaults filled in.
type resolved struct {
	Config
	base   *url.URL // scheme, host and path prefix
	socket string   // path of a unix socket, or empty
}

func (c Config) resolve() (resolved, error) {
	if c.Datacenter != "" && c.Peer != "" {
		return resolved{}, fmt.Errorf("resolver/consul: Datacenter %q and Peer %q exclude each other; make one catalog for each", c.Datacenter, c.Peer)
	}
	for _, n := range []struct{ field, value string }{{"Name", c.Name}, {"Datacenter", c.Datacenter}, {"Peer", c.Peer}} {
		if n.value != "" && !plainID(n.value) {
			return resolved{}, fmt.Errorf("resolver/consul: %s %q has control bytes or is too long", n.field, clip(n.value))
		}
	}
	switch {
	case c.Wait != 0 && (c.Wait < time.Second || c.Wait > 10*time.Minute):
		return resolved{}, fmt.Errorf("resolver/consul: Wait %v is not between 1s and 10m", c.Wait)
	case c.MaxConns != 0 && c.MaxConns < 4:
		return resolved{}, fmt.Errorf("resolver/consul: MaxConns %d is below 4", c.MaxConns)
	case c.TTL != 0 && c.TTL < time.Second:
		return resolved{}, fmt.Errorf("resolver/consul: TTL %v is below 1s", c.TTL)
	case c.DeregisterAfter < 0:
		return resolved{}, fmt.Errorf("resolver/consul: DeregisterAfter %v is negative", c.DeregisterAfter)
	}
	c.Name = cmp.Or(c.Name, c.Peer, c.Datacenter, "consul")
	c.Wait = cmp.Or(c.Wait, defaultWait)
	c.Linger = cmp.Or(c.Linger, defaultLinger)
	c.MaxConns = cmp.Or(c.MaxConns, defaultMaxConns)
	c.TTL = cmp.Or(c.TTL, defaultTTL)
	c.DeregisterAfter = cmp.Or(c.DeregisterAfter, defaultDeregisterAfter)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = c.Logger.With("source", c.Name)
	https, err := c.fromEnv()
	if err != nil {
		return resolved{}, err
	}
	r := resolved{Config: c}
	if r.base, r.socket, err = parseAddress(c.Address, https); err != nil {
		return resolved{}, err
	}
	return r, nil
}

// fromEnv fills what is empty from Consul's environment variables; https says
// that an address without a scheme means https.
func (c *Config) fromEnv() (https bool, err error) {
	c.Address = cmp.Or(c.Address, os.Getenv(api.HTTPAddrEnvName), "localhost:8500")
	c.Namespace = cmp.Or(c.Namespace, os.Getenv(api.HTTPNamespaceEnvName))
	c.Partition = cmp.Or(c.Partition, os.Getenv(api.HTTPPartitionEnvName))
	c.HTTPAuth = cmp.Or(c.HTTPAuth, os.Getenv(api.HTTPAuthEnvName))
	if c.Token == "" && c.TokenFile == "" {
		c.Token = os.Getenv(api.HTTPTokenEnvName)
		c.TokenFile = os.Getenv(api.HTTPTokenFileEnvName)
	}
	t := &c.TLS
	t.CAFile = cmp.Or(t.CAFile, os.Getenv(api.HTTPCAFile))
	t.CAPath = cmp.Or(t.CAPath, os.Getenv(api.HTTPCAPath))
	t.CertFile = cmp.Or(t.CertFile, os.Getenv(api.HTTPClientCert))
	t.KeyFile = cmp.Or(t.KeyFile, os.Getenv(api.HTTPClientKey))
	t.ServerName = cmp.Or(t.ServerName, os.Getenv(api.HTTPTLSServerName))
	verify, err := envBool(api.HTTPSSLVerifyEnvName, true)
	if err != nil {
		return false, err
	}
	t.SkipVerify = t.SkipVerify || !verify
	return envBool(api.HTTPSSLEnvName, false)
}

func envBool(name string, unset bool) (bool, error) {
	v := os.Getenv(name)
	if v == "" {
		return unset, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, fmt.Errorf("resolver/consul: %s is %q, want true or false", name, clip(v))
	}
	return b, nil
}

// parseAddress reads an address as Consul's tools do. An http scheme does not
// undo CONSUL_HTTP_SSL.
func parseAddress(addr string, https bool) (base *url.URL, socket string, err error) {
	scheme, rest, ok := strings.Cut(addr, "://")
	if !ok {
		scheme, rest = "http", addr
	}
	if scheme == "http" && https {
		scheme = "https"
	}
	switch scheme {
	case "unix":
		if rest == "" {
			return nil, "", errors.New("resolver/consul: Address: unix:// without a path")
		}
		return &url.URL{Scheme: "http", Host: "localhost"}, rest, nil
	case "http", "https":
		host, path, _ := strings.Cut(rest, "/")
		if strings.Contains(host, "@") {
			return nil, "", errors.New("resolver/consul: Address carries credentials; put them into HTTPAuth or Token")
		}
		u, err := url.Parse(scheme + "://" + host)
		if err != nil || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
			return nil, "", fmt.Errorf("resolver/consul: Address %q is not host:port, http://, https:// or unix://", clip(addr))
		}
		u.Path = strings.TrimSuffix("/"+path, "/")
		return u, "", nil
	}
	return nil, "", fmt.Errorf("resolver/consul: Address %q has the unknown scheme %q", clip(addr), clip(scheme))
}

// plainID reports whether foreign text may be part of an identity.
func plainID(s string) bool {
	if s == "" || len(s) > maxID {
		return false
	}
	for _, r := range s {
		if r < 0x20 || r == 0x7f || r == '\uFFFD' {
			return false
		}
	}
	return true
}

// clip bounds foreign text that goes into an error.
func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
