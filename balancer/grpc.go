package balancer

import (
	grpcbalancer "google.golang.org/grpc/balancer"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

// Name is the name of the gRPC load-balancing policy, as service configs write
// it:
//
//	{"loadBalancingConfig":[{"weft":{"policy":"peak_ewma","subsetSize":16}}]}
const Name = "weft"

// grpc looks policies up by name in a table of the process that may be written in
// init functions only: there is no way to hand a policy to one channel.
func init() { grpcbalancer.Register(builder{}) }

// Attach makes the channel that gets state balance by cfg, instead of by the
// service config. A resolver calls it on each state that it delivers; another
// pointer than before is another configuration. The Store of cfg should be the
// process's own, so that load averages survive an idle or re-dialled channel.
func Attach(state *grpcresolver.State, cfg *Config) {
	state.Attributes = state.Attributes.WithValue(configKey{}, cfg)
}

// AttachLanes makes the channel that gets state balance by lanes. The first one
// serves calls that name no lane, if none is unnamed. It goes before Attach.
func AttachLanes(state *grpcresolver.State, lanes []Lane) {
	state.Attributes = state.Attributes.WithValue(lanesKey{}, &lanes)
}

type (
	configKey struct{}
	lanesKey  struct{}
)

func attachedLanes(state grpcresolver.State) []Lane {
	lanes, _ := state.Attributes.Value(lanesKey{}).(*[]Lane)
	if lanes == nil {
		return nil
	}
	return *lanes
}

func attached(state grpcresolver.State) *Config {
	cfg, _ := state.Attributes.Value(configKey{}).(*Config)
	return cfg
}

type builder struct{}

func (builder) Name() string { return Name }

func (builder) Build(cc grpcbalancer.ClientConn, opts grpcbalancer.BuildOptions) grpcbalancer.Balancer {
	return newLB(cc, opts.Target.Endpoint())
}

// lbConfig is a parsed service config. text decides whether it changed: grpc
// parses the same bytes again and again.
type lbConfig struct {
	serviceconfig.LoadBalancingConfig
	text string
	cfg  Config
}
