package chain

import "time"

// Chain is a compiled discovery chain: what becomes of a request to one service.
// It is Consul's answer to GET /v1/discovery-chain/:service, whole, or what
// Compile makes of config entries; it is never changed after it was made.
type Chain struct {
	// ServiceName is the called service.
	ServiceName string
	// Namespace and Partition are "default" in the community edition.
	Namespace string
	Partition string
	// Datacenter is where the chain was evaluated.
	Datacenter string
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
	// Type is RouterNode, SplitterNode or ResolverNode; Name is the node's own.
	Type string
	Name string
	// Routes, Splits and Resolver: one of them is set, by Type.
	Routes       []*Route
	Splits       []*Split
	Resolver     *Resolver
	LoadBalancer *LoadBalancer // nil: the caller's default
}

// Route is one route of a router; the first that matches wins.
type Route struct {
	// Definition is the route as written; NextNode is the key of what follows.
	Definition *ServiceRoute
	NextNode   string
}

// Split is one branch of a splitter.
type Split struct {
	// Definition has the branch's header edits; nil: none.
	Definition *ServiceSplit
	// Weight is in percent, in steps of 0.01.
	Weight float32
	// NextNode is the key of what follows.
	NextNode string
}

// Resolver is the end of a chain: a target, and where to go without it.
type Resolver struct {
	// Default means that no service-resolver entry says anything.
	Default bool
	// ConnectTimeout bounds the making of a connection.
	ConnectTimeout time.Duration
	RequestTimeout time.Duration // 0: none said
	Target         string
	// Failover lists targets in order; nil: none.
	Failover *Failover
}

// Failover says where to go when a target has no healthy instance.
type Failover struct {
	// Targets are target IDs in order.
	Targets []string
	// Policy is how one of them is chosen; nil: in order.
	Policy *FailoverPolicy
}

// FailoverPolicy is how failover targets are chosen (Consul Enterprise).
type FailoverPolicy struct {
	// Mode is "sequential" or "order-by-locality"; empty: sequential.
	Mode string
	// Regions are preferred, in order; nil: none.
	Regions []string
}

// Target is a set of instances: a subset of a service in a datacenter or of a peer.
type Target struct {
	// ID is the target's key in Chain.Targets.
	ID string
	// Service and ServiceSubset name the instances; an empty subset: all of them.
	Service       string
	ServiceSubset string
	// Namespace and Partition are "default" in the community edition.
	Namespace string
	Partition string
	// Datacenter or Peer is where they are; the other one is empty.
	Datacenter string
	Peer       string
	// Locality is where Consul says that they are; nil: it does not.
	Locality *Locality
	// MeshGateway says how traffic gets there.
	MeshGateway MeshGateway
	// Subset is what ServiceSubset stands for.
	Subset Subset
	// ConnectTimeout bounds the making of a connection.
	ConnectTimeout time.Duration
	// External means that the service is outside of the mesh.
	External bool
	// SNI is the server name of its sidecars' TLS; Name is the name of its Envoy cluster.
	SNI  string
	Name string
}

// Locality is where Consul says that something is.
type Locality struct {
	// Region and Zone are the cloud's names; empty: unknown.
	Region, Zone string
}

// MeshGateway says how traffic to another datacenter or peer goes.
type MeshGateway struct {
	// Mode is "none", "local", "remote" or empty, which is none.
	Mode string
}

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
type RouteMatch struct {
	// HTTP is the only kind there is; nil: everything matches.
	HTTP *HTTPMatch
}

// HTTPMatch matches a request; all that is set must hold. At most one of the
// Path fields is set.
type HTTPMatch struct {
	// PathExact, PathPrefix and PathRegex: at most one is set. A regex is RE2 and
	// matches the whole path.
	PathExact  string
	PathPrefix string
	PathRegex  string
	// CaseInsensitive is for PathExact and PathPrefix.
	CaseInsensitive bool
	// Header and QueryParam must all match; nil: any.
	Header     []HeaderMatch
	QueryParam []QueryMatch
	// Methods are HTTP methods, one of which it must be; nil: any.
	Methods []string
}

// HeaderMatch matches a header; exactly one of Present, Exact, Prefix, Suffix,
// Contains and Regex is set.
type HeaderMatch struct {
	// Name is the header's name, in any case.
	Name string
	// Present, Exact, Prefix, Suffix, Contains and Regex: one is set.
	Present  bool
	Exact    string
	Prefix   string
	Suffix   string
	Contains string
	Regex    string
	// Invert matches what would not match.
	Invert bool
	// IgnoreCase compares values without regard to case; not for Regex.
	IgnoreCase bool
}

// QueryMatch matches a query parameter; exactly one of Present, Exact and Regex is set.
type QueryMatch struct {
	// Name is the parameter's name.
	Name string
	// Present, Exact and Regex: one is set.
	Present bool
	Exact   string
	Regex   string
}

// RouteDestination says where a route leads, and how calls on it are made.
type RouteDestination struct {
	// Service, ServiceSubset, Namespace and Partition are where it leads; empty: where
	// the router belongs.
	Service       string
	ServiceSubset string
	Namespace     string
	Partition     string
	// PrefixRewrite replaces what PathPrefix or PathExact matched; empty: nothing.
	PrefixRewrite string
	// RequestTimeout and IdleTimeout: 0: none said; negative: off.
	RequestTimeout time.Duration
	IdleTimeout    time.Duration
	// NumRetries is how often a call is made again; 0: not, or once if one of the
	// conditions is set.
	NumRetries uint32
	// RetryOnConnectFailure, RetryOn and RetryOnStatusCodes are the conditions.
	RetryOnConnectFailure bool
	RetryOn               []string
	RetryOnStatusCodes    []uint32
	// RequestHeaders and ResponseHeaders are edited; nil: they are not.
	RequestHeaders  *HeaderModifiers
	ResponseHeaders *HeaderModifiers
}

// ServiceSplit is a branch as it is written in a service-splitter entry.
type ServiceSplit struct {
	// Weight is in percent, in steps of 0.01.
	Weight float32
	// Service, ServiceSubset, Namespace and Partition are where it leads; empty: where
	// the splitter belongs.
	Service       string
	ServiceSubset string
	Namespace     string
	Partition     string
	// RequestHeaders and ResponseHeaders are edited; nil: they are not.
	RequestHeaders  *HeaderModifiers
	ResponseHeaders *HeaderModifiers
}

// HeaderModifiers edits headers, in the order of Envoy: Remove, Set, Add.
type HeaderModifiers struct {
	// Add appends values, Set replaces them, Remove drops headers; nil: none.
	Add    map[string]string
	Set    map[string]string
	Remove []string
}

// LoadBalancer says how instances are chosen.
type LoadBalancer struct {
	// Policy is "least_request", "ring_hash", "maglev", "random", "round_robin" or empty.
	Policy string
	// RingHashConfig and LeastRequestConfig belong to their policies; nil: defaults.
	RingHashConfig     *RingHashConfig
	LeastRequestConfig *LeastRequestConfig
	// HashPolicies are the sources of the hash key, in order; nil: none.
	HashPolicies []HashPolicy
}

// RingHashConfig sizes the ring of policy ring_hash.
type RingHashConfig struct {
	// MinimumRingSize and MaximumRingSize are in points; 0: the balancer's default.
	MinimumRingSize uint64
	MaximumRingSize uint64
}

// LeastRequestConfig is how many instances policy least_request compares.
type LeastRequestConfig struct {
	// ChoiceCount is at least 2; 0: 2.
	ChoiceCount uint32
}

// HashPolicy names one source of the hash key.
type HashPolicy struct {
	// Field is "header", "cookie" or "query_parameter"; empty with SourceIP.
	Field string
	// FieldValue is the name of the header, cookie or parameter; empty with SourceIP.
	FieldValue string
	// CookieConfig is how a missing cookie is made; nil: it is not.
	CookieConfig *CookieConfig
	// SourceIP takes the caller's address; false: Field.
	SourceIP bool
	// Terminal ends the list if this policy or one before it gave a key; false: all
	// are combined.
	Terminal bool
}

// CookieConfig is how a cookie that a hash policy lacks is made.
type CookieConfig struct {
	// Session makes a cookie without an end; false: TTL says.
	Session bool
	// TTL is its life; 0: until the browser ends.
	TTL time.Duration
	// Path is where it counts; empty: everywhere.
	Path string
}
