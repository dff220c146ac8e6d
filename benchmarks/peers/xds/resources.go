package main

import (
	"net"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const listenerPrefix = "grpc/server?xds.resource.listening_address="

func packed(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err) // messages made here
	}
	return a
}

// routes sends everything to one place.
func routes(name string, r *routepb.Route) *routepb.RouteConfiguration {
	r.Match = &routepb.RouteMatch{PathSpecifier: &routepb.RouteMatch_Prefix{Prefix: "/"}}
	return &routepb.RouteConfiguration{Name: name, VirtualHosts: []*routepb.VirtualHost{{Name: name, Domains: []string{"*"}, Routes: []*routepb.Route{r}}}}
}

// manager is an HTTP connection manager with the routes in it.
func manager(r *routepb.RouteConfiguration) *anypb.Any {
	return packed(&hcmpb.HttpConnectionManager{
		RouteSpecifier: &hcmpb.HttpConnectionManager_RouteConfig{RouteConfig: r},
		HttpFilters:    []*hcmpb.HttpFilter{{Name: "router", ConfigType: &hcmpb.HttpFilter_TypedConfig{TypedConfig: packed(&routerpb.Router{})}}},
	})
}

// common names the certificates of the bootstrap. san is the only identity that is
// accepted; empty: any of the CA.
func common(san string) *tlspb.CommonTlsContext {
	check := &tlspb.CertificateValidationContext{
		CaCertificateProviderInstance: &tlspb.CertificateProviderPluginInstance{InstanceName: "files"},
	}
	if san != "" {
		//lint:ignore SA1019 it is the field that grpc-go reads
		check.MatchSubjectAltNames = []*matcherpb.StringMatcher{{MatchPattern: &matcherpb.StringMatcher_Exact{Exact: san}}}
	}
	return &tlspb.CommonTlsContext{
		TlsCertificateProviderInstance: &tlspb.CertificateProviderPluginInstance{InstanceName: "files"},
		ValidationContextType:          &tlspb.CommonTlsContext_ValidationContext{ValidationContext: check},
	}
}

func socket(context proto.Message) *corepb.TransportSocket {
	return &corepb.TransportSocket{Name: "envoy.transport_sockets.tls", ConfigType: &corepb.TransportSocket_TypedConfig{TypedConfig: packed(context)}}
}

func address(a *net.TCPAddr) *corepb.Address {
	return &corepb.Address{Address: &corepb.Address_SocketAddress{SocketAddress: &corepb.SocketAddress{
		Address: a.IP.String(), PortSpecifier: &corepb.SocketAddress_PortValue{PortValue: uint32(a.Port)},
	}}}
}

// listener is what a server listens with.
func (p *plane) listener(at *net.TCPAddr) resource {
	return resource{resourcev3.ListenerType, &listenerpb.Listener{
		Name:    listenerPrefix + at.String(),
		Address: address(at),
		FilterChains: []*listenerpb.FilterChain{{
			Name: "all",
			Filters: []*listenerpb.Filter{{Name: "manager", ConfigType: &listenerpb.Filter_TypedConfig{
				TypedConfig: manager(routes("inbound", &routepb.Route{Action: &routepb.Route_NonForwardingAction{}})),
			}}},
			TransportSocket: socket(&tlspb.DownstreamTlsContext{RequireClientCertificate: wrapperspb.Bool(true), CommonTlsContext: common("")}),
		}},
	}}
}

// service is all that a client of it asks for.
func (p *plane) service(name, identity string, at *net.TCPAddr) []resource {
	ads := &corepb.ConfigSource{ConfigSourceSpecifier: &corepb.ConfigSource_Ads{Ads: &corepb.AggregatedConfigSource{}}}
	to := &routepb.Route{Action: &routepb.Route_Route{Route: &routepb.RouteAction{ClusterSpecifier: &routepb.RouteAction_Cluster{Cluster: name}}}}
	return []resource{
		{resourcev3.ListenerType, &listenerpb.Listener{Name: name, ApiListener: &listenerpb.ApiListener{ApiListener: manager(routes(name, to))}}},
		{resourcev3.ClusterType, &clusterpb.Cluster{
			Name: name, LbPolicy: clusterpb.Cluster_ROUND_ROBIN,
			ClusterDiscoveryType: &clusterpb.Cluster_Type{Type: clusterpb.Cluster_EDS},
			EdsClusterConfig:     &clusterpb.Cluster_EdsClusterConfig{EdsConfig: ads},
			TransportSocket:      socket(&tlspb.UpstreamTlsContext{CommonTlsContext: common(identity)}),
		}},
		{resourcev3.EndpointType, &endpointpb.ClusterLoadAssignment{ClusterName: name, Endpoints: []*endpointpb.LocalityLbEndpoints{{
			Locality: &corepb.Locality{Region: "bench", Zone: "a"}, LoadBalancingWeight: wrapperspb.UInt32(1),
			LbEndpoints: []*endpointpb.LbEndpoint{{
				HealthStatus:   corepb.HealthStatus_HEALTHY,
				HostIdentifier: &endpointpb.LbEndpoint_Endpoint{Endpoint: &endpointpb.Endpoint{Address: address(at)}},
			}},
		}}}},
	}
}
