package chain

import "time"

// Fields with a problem tag are decoded and validated, and reported when they
// are set: the tag says why they have no effect.

// ServiceRouter sends requests to services by path, header, query and method.
type ServiceRouter struct {
	// Name is the service that is called.
	Name string
	// Routes are tried in order; what matches none goes to the service itself.
	Routes []ServiceRoute
	// Meta is free text. nil: none.
	Meta map[string]string
}

// ServiceSplitter shares the requests to a service out by weight.
type ServiceSplitter struct {
	// Name is the service that is called.
	Name string
	// Splits have weights that sum up to 100.
	Splits []ServiceSplit
	// Meta is free text. nil: none.
	Meta map[string]string
}

// ServiceResolver says which instances a service is, and where to go without them.
type ServiceResolver struct {
	// Name is the service.
	Name string
	// DefaultSubset is the subset of requests that name none. Empty: all instances.
	DefaultSubset string
	// Subsets are named parts of the service.
	Subsets map[string]Subset
	// Redirect replaces the service. nil: it stays.
	Redirect *Redirect
	// Failover has a rule for each subset; that of "*" is for all others.
	Failover map[string]FailoverRule
	// PrioritizeByLocality must be nil or empty outside of Consul Enterprise.
	PrioritizeByLocality *PrioritizeByLocality `problem:"needs Consul Enterprise"`
	// ConnectTimeout and RequestTimeout. 0: 5 s, and none said.
	ConnectTimeout time.Duration
	RequestTimeout time.Duration
	// LoadBalancer says how instances are chosen. nil: the caller's default.
	LoadBalancer *LoadBalancer
	// Meta is free text. nil: none.
	Meta map[string]string
}

// Redirect is what stands in for a service. Empty fields stay as they were.
type Redirect struct {
	Service       string // Service is another service.
	ServiceSubset string // ServiceSubset is a subset of Service.
	Namespace     string `problem:"needs Consul Enterprise"` // Namespace must be empty.
	Partition     string `problem:"needs Consul Enterprise"` // Partition must be empty.
	Datacenter    string // Datacenter is another datacenter of the same mesh.
	Peer          string // Peer is another cluster, which exports Service.
	SamenessGroup string `problem:"needs Consul Enterprise"` // SamenessGroup must be empty.
}

// FailoverRule says where to go when a subset has no healthy instance.
// Datacenters and Targets exclude each other.
type FailoverRule struct {
	Service       string           // Service is another service. Empty: the same.
	ServiceSubset string           // ServiceSubset is a subset of Service. Empty: its default.
	Namespace     string           `problem:"needs Consul Enterprise"` // Namespace must be empty.
	Datacenters   []string         // Datacenters are tried in order.
	Targets       []FailoverTarget // Targets are tried in order.
	Policy        *FailoverPolicy  // Policy must be nil or without Mode outside of Consul Enterprise.
	SamenessGroup string           `problem:"needs Consul Enterprise"` // SamenessGroup must be empty.
}

// FailoverTarget is one place to go. Empty fields stay as they were.
type FailoverTarget struct {
	Service       string // Service is another service.
	ServiceSubset string // ServiceSubset is a subset of Service.
	Partition     string `problem:"needs Consul Enterprise"` // Partition must be empty.
	Namespace     string `problem:"needs Consul Enterprise"` // Namespace must be empty.
	Datacenter    string // Datacenter is another datacenter of the same mesh.
	Peer          string // Peer is another cluster, which exports Service.
}

// PrioritizeByLocality orders instances by how near they are (Consul Enterprise).
type PrioritizeByLocality struct {
	Mode string // Mode is "none", "failover" or empty.
}
