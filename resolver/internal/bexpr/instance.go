package bexpr

// Instance is what a filter may read of an instance: the fields of one element of
// Consul's health result that Consul itself lets a filter read, by its names, which
// are those of its JSON too. What it has beside them, such as Locality, Proxy.Config
// and Definition, no filter can read.
type Instance struct {
	// Node, Service and Checks are the three parts of a health result.
	Node    Node
	Service Service
	Checks  []Check
}

// Node is the node that an instance runs on.
type Node struct {
	ID, Node, Address, Datacenter string
	Partition, PeerName           string
	TaggedAddresses               map[string]string
	Meta                          map[string]string
}

// Service is the instance, or the sidecar proxy in front of it.
type Service struct {
	Kind, ID, Service string
	Tags              []string
	Address           string
	TaggedAddresses   map[string]Address
	Meta              map[string]string
	Port              int
	SocketPath        string
	Weights           Weights
	EnableTagOverride bool
	Proxy             Proxy
	Connect           Connect
	PeerName          string
}

// Address is one of the tagged addresses of a Service.
type Address struct {
	Address string
	Port    int
}

// Weights are those of a Service by its health.
type Weights struct{ Passing, Warning int }

// Connect is a Service's part in the mesh.
type Connect struct{ Native bool }

// Check is one check of a Service or of its node.
type Check struct {
	Node, CheckID, Name, Status string
	Notes, Output               string
	ServiceID, ServiceName      string
	ServiceTags                 []string
	Type, Interval, Timeout     string
	ExposedPort                 int
	PeerName                    string
}

// Proxy is what is registered of a sidecar proxy.
type Proxy struct {
	EnvoyExtensions        []Extension
	DestinationServiceName string
	DestinationServiceID   string
	LocalServiceAddress    string
	LocalServicePort       int
	LocalServiceSocketPath string
	Mode                   string
	Upstreams              []Upstream
	MeshGateway            MeshGateway
	Expose                 Expose
	TransparentProxy       TransparentProxy
	AccessLogs             AccessLogs
}

// Extension is one of a Proxy's extensions of Envoy.
type Extension struct {
	Name                        string
	Required                    bool
	ConsulVersion, EnvoyVersion string
}

// Upstream is a service that a Proxy calls.
type Upstream struct {
	DestinationType, DestinationNamespace    string
	DestinationPartition, DestinationPeer    string
	DestinationName, Datacenter              string
	LocalBindAddress                         string
	LocalBindPort                            int
	LocalBindSocketPath, LocalBindSocketMode string
	MeshGateway                              MeshGateway
}

// MeshGateway says how mesh gateways are used.
type MeshGateway struct{ Mode string }

// Expose is what a Proxy lets through outside of the mesh.
type Expose struct {
	Checks bool
	Paths  []Path
}

// Path is one path of Expose.
type Path struct {
	ListenerPort    int
	Path            string
	LocalPathPort   int
	Protocol        string
	ParsedFromCheck bool
}

// TransparentProxy is how a Proxy takes traffic that was not meant for it.
type TransparentProxy struct {
	OutboundListenerPort int
	DialedDirectly       bool
}

// AccessLogs are those of a Proxy.
type AccessLogs struct {
	Enabled, DisableListenerLogs       bool
	Type, Path, JSONFormat, TextFormat string
}
