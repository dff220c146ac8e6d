package chain

import "time"

// Chain is a compiled discovery chain: what becomes of a request to one service.
// It is Consul's answer to GET /v1/discovery-chain/:service, whole, or what
// Compile makes of config entries; it is never changed after it was made.
type Chain struct {
	// ServiceName is the called service; Datacenter is where it was evaluated.
	ServiceName string
	Namespace   string
	Partition   string
	Datacenter  string
	// Protocol is that of all services of the chain: "tcp", "http", "http2" or "grpc".
	Protocol string
	// Default means that no entry says anything about the service.
	Default bool
	// ServiceMeta is the Meta of the service's service-defaults entry, where the
	// weft- keys are. nil: none.
	ServiceMeta map[string]string
	// CustomizationHash is set if an override was asked for.
	CustomizationHash string
	// StartNode is the key of the first node in Nodes.
	StartNode string
	// Nodes are keyed "router:…", "splitter:…" and "resolver:…".
	Nodes map[string]*Node
	// Targets are keyed by Target.ID.
	Targets map[string]*Target
}

// The types of a Node.
const (
	RouterNode   = "router"
	SplitterNode = "splitter"
	ResolverNode = "resolver"
)

// Node is one step of a Chain. Routes is set for a router, Splits for a splitter,
// Resolver for a resolver.
type Node struct {
	Type         string
	Name         string
	Routes       []*Route
	Splits       []*Split
	Resolver     *Resolver
	LoadBalancer *LoadBalancer // nil: the caller's default
}

// Route is one route of a router; the first that matches wins.
type Route struct {
	Definition *ServiceRoute
	NextNode   string
}

// Split is one branch of a splitter.
type Split struct {
	// Definition has the branch's header edits; nil: none.
	Definition *ServiceSplit
	// Weight is in percent, in steps of 0.01.
	Weight   float32
	NextNode string
}

// Resolver is the end of a chain: a target, and where to go without it.
type Resolver struct {
	Default        bool
	ConnectTimeout time.Duration
	RequestTimeout time.Duration // 0: none said
	Target         string
	// Failover lists targets in order; nil: none.
	Failover *Failover
}

// Failover says where to go when a target has no healthy instance.
type Failover struct {
	Targets []string
	Policy  *FailoverPolicy
}

// FailoverPolicy is how failover targets are chosen (Consul Enterprise).
type FailoverPolicy struct {
	Mode    string
	Regions []string
}

// Target is a set of instances: a subset of a service in a datacenter or of a peer.
type Target struct {
	ID             string
	Service        string
	ServiceSubset  string
	Namespace      string
	Partition      string
	Datacenter     string // empty if Peer is set
	Peer           string
	Locality       *Locality
	MeshGateway    MeshGateway
	Subset         Subset
	ConnectTimeout time.Duration
	// External means that the service is outside of the mesh.
	External bool
	SNI      string
	Name     string
}

// Locality is where Consul says that something is.
type Locality struct{ Region, Zone string }

// MeshGateway says how traffic to another datacenter or peer goes: "none",
// "local", "remote" or empty.
type MeshGateway struct{ Mode string }

// Subset selects instances of a service.
type Subset struct {
	// Filter is a bexpr expression over an instance, as in Consul. Empty: all.
	Filter string
	// OnlyPassing leaves out instances in state warning.
	OnlyPassing bool
}

// ServiceRoute is a route as it is written in a service-router entry.
type ServiceRoute struct {
	Match       *RouteMatch       // nil: everything
	Destination *RouteDestination // nil: the service itself
}

// RouteMatch says which requests a route takes.
type RouteMatch struct{ HTTP *HTTPMatch }

// HTTPMatch matches a request; all that is set must hold. At most one of the
// Path fields is set.
type HTTPMatch struct {
	PathExact       string
	PathPrefix      string
	PathRegex       string
	CaseInsensitive bool
	Header          []HeaderMatch
	QueryParam      []QueryMatch
	Methods         []string
}

// HeaderMatch matches a header; exactly one of Present, Exact, Prefix, Suffix,
// Contains and Regex is set.
type HeaderMatch struct {
	Name       string
	Present    bool
	Exact      string
	Prefix     string
	Suffix     string
	Contains   string
	Regex      string
	Invert     bool
	IgnoreCase bool
}

// QueryMatch matches a query parameter; exactly one of Present, Exact and Regex is set.
type QueryMatch struct {
	Name    string
	Present bool
	Exact   string
	Regex   string
}

// RouteDestination says where a route leads, and how calls on it are made.
type RouteDestination struct {
	Service       string
	ServiceSubset string
	Namespace     string
	Partition     string
	PrefixRewrite string
	// RequestTimeout and IdleTimeout: 0: none said; negative: off.
	RequestTimeout        time.Duration
	IdleTimeout           time.Duration
	NumRetries            uint32
	RetryOnConnectFailure bool
	RetryOn               []string
	RetryOnStatusCodes    []uint32
	RequestHeaders        *HeaderModifiers
	ResponseHeaders       *HeaderModifiers
}

// ServiceSplit is a branch as it is written in a service-splitter entry.
type ServiceSplit struct {
	Weight          float32
	Service         string
	ServiceSubset   string
	Namespace       string
	Partition       string
	RequestHeaders  *HeaderModifiers
	ResponseHeaders *HeaderModifiers
}

// HeaderModifiers edits headers, in the order of Envoy: Remove, Set, Add.
type HeaderModifiers struct {
	Add    map[string]string
	Set    map[string]string
	Remove []string
}

// LoadBalancer says how instances are chosen.
type LoadBalancer struct {
	// Policy is "least_request", "ring_hash", "maglev", "random", "round_robin" or empty.
	Policy             string
	RingHashConfig     *RingHashConfig
	LeastRequestConfig *LeastRequestConfig
	HashPolicies       []HashPolicy
}

// RingHashConfig sizes the ring of policy ring_hash.
type RingHashConfig struct {
	MinimumRingSize uint64
	MaximumRingSize uint64
}

// LeastRequestConfig is how many instances policy least_request compares.
type LeastRequestConfig struct{ ChoiceCount uint32 }

// HashPolicy names one source of the hash key.
type HashPolicy struct {
	// Field is "header", "cookie" or "query_parameter"; empty with SourceIP.
	Field        string
	FieldValue   string
	CookieConfig *CookieConfig
	SourceIP     bool
	// Terminal ends the list if this policy or one before it gave a key.
	Terminal bool
}

// CookieConfig is how a cookie that a hash policy lacks is made.
type CookieConfig struct {
	Session bool
	TTL     time.Duration
	Path    string
}
