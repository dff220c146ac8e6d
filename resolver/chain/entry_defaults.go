package chain

import (
	"time"
)

// ServiceDefaults is what holds for a service as a whole.
type ServiceDefaults struct {
	// Name is the service.
	Name string
	// Protocol is "tcp", "http", "http2" or "grpc". Empty: tcp, whatever
	// proxy-defaults says.
	Protocol string
	// MutualTLSMode must be empty or "strict".
	MutualTLSMode string
	// MeshGateway says how callers in other datacenters come here.
	MeshGateway MeshGateway
	// ExternalSNI makes the service one outside of the mesh. Empty: inside.
	ExternalSNI string
	// UpstreamConfig is how this service calls others. nil: nothing said.
	UpstreamConfig *Upstreams
	// Destination is an address outside of the mesh. nil: none.
	Destination *Destination `problem:"has no effect: there is no terminating gateway on the way of a call"`
	// MaxInboundConnections bounds the service's servers. 0: no bound.
	MaxInboundConnections int
	// LocalConnectTimeoutMs is for the way from a sidecar to the service. 0: 5000.
	LocalConnectTimeoutMs int `problem:"has no effect: there is no sidecar to connect from"`
	// LocalRequestTimeoutMs bounds the handling of a request. 0: no bound.
	LocalRequestTimeoutMs int
	// BalanceInboundConnections must be empty or "exact_balance".
	BalanceInboundConnections string `problem:"has no effect: there are no worker threads to balance"`
	// RateLimits must be nil outside of Consul Enterprise.
	RateLimits *RateLimits `problem:"needs Consul Enterprise"`
	// Meta is free text, and where the weft- keys are. nil: none.
	Meta map[string]string
}

// Upstreams is how a service calls others.
type Upstreams struct {
	// Overrides are for the services that they name.
	Overrides []*Upstream
	// Defaults is for all others. nil: nothing said.
	Defaults *Upstream
}

// Upstream is how one service calls another.
type Upstream struct {
	// Name is the called service; empty in Upstreams.Defaults. Peer is where it
	// is; empty: in this cluster.
	Name string
	Peer string
	// Protocol of the called service. Empty: as it says itself.
	Protocol string
	// ConnectTimeoutMs in milliseconds. 0: 5000.
	ConnectTimeoutMs int
	// Limits bound the calls. nil: none said.
	Limits *UpstreamLimits
	// PassiveHealthCheck ejects instances that fail. nil: none said.
	PassiveHealthCheck *PassiveHealthCheck
	// MeshGateway says how calls go to other datacenters. Empty: as the chain says.
	MeshGateway MeshGateway
	// BalanceOutboundConnections must be empty or "exact_balance".
	BalanceOutboundConnections string `problem:"has no effect: there are no worker threads to balance"`
}

// UpstreamLimits bound what a service opens to another. nil: none said.
type UpstreamLimits struct {
	MaxConnections        *int // MaxConnections is of connections.
	MaxPendingRequests    *int // MaxPendingRequests is of requests that wait for a connection.
	MaxConcurrentRequests *int // MaxConcurrentRequests is of requests in flight.
}

// PassiveHealthCheck says when an instance is ejected, and for how long.
type PassiveHealthCheck struct {
	// Interval between looks. 0: 10 s.
	Interval time.Duration
	// MaxFailures in a row eject an instance. 0: 5.
	MaxFailures uint32
	// EnforcingConsecutive5xx is how many of 100 instances to eject are ejected. nil: 100.
	EnforcingConsecutive5xx *uint32
	// EnforcingConsecutiveGatewayFailure is the same for 502, 503 and 504. nil: 0.
	EnforcingConsecutiveGatewayFailure *uint32
	// Consecutive5xx goes before MaxFailures. nil: it does not.
	Consecutive5xx *uint32
	// ConsecutiveGatewayFailure counts 502, 503 and 504 alone. nil: it does not.
	ConsecutiveGatewayFailure *uint32
	// MaxEjectionPercent bounds how many of the instances are out. nil: 10.
	MaxEjectionPercent *uint32
	// BaseEjectionTime, times how often it was out before. nil: 30 s.
	BaseEjectionTime *time.Duration
}

// Destination is one port at addresses outside of the mesh.
type Destination struct {
	Addresses []string // Addresses are host names or IP addresses.
	Port      int      // Port is in 1..65535.
}
