package chain

// RateLimits bound the requests to an instance (Consul Enterprise).
type RateLimits struct {
	InstanceLevel InstanceRateLimit // InstanceLevel is for each instance by itself.
}

// InstanceRateLimit bounds the requests to one instance.
type InstanceRateLimit struct {
	// RequestsPerSecond on average, RequestsMaxBurst at once. 0: no bound.
	RequestsPerSecond int
	RequestsMaxBurst  int
	// Routes have bounds of their own; the first that matches counts.
	Routes []RouteRateLimit
}

// RouteRateLimit bounds the requests of one route. One of PathExact, PathPrefix
// and PathRegex is set; RequestsPerSecond and RequestsMaxBurst are as in
// InstanceRateLimit.
type RouteRateLimit struct {
	PathExact         string
	PathPrefix        string
	PathRegex         string
	RequestsPerSecond int
	RequestsMaxBurst  int
}

// ProxyDefaults is what holds for all services that have no entry of their own.
type ProxyDefaults struct {
	// Name is "global".
	Name string
	// Config has "protocol", and settings of Envoy that have no effect here.
	Config map[string]any
	// MutualTLSMode must be empty or "strict".
	MutualTLSMode string
	// MeshGateway is for services that say nothing.
	MeshGateway MeshGateway
	// FailoverPolicy is for failover that has none of its own. nil: none.
	FailoverPolicy *FailoverPolicy
	// PrioritizeByLocality must be nil or empty outside of Consul Enterprise.
	PrioritizeByLocality *PrioritizeByLocality `problem:"needs Consul Enterprise"`
	// Meta is free text. nil: none.
	Meta map[string]string
}
