package telemetry

// SemanticConventions is the version of the OpenTelemetry semantic conventions
// that all names here follow where they have one. RPC is stable since 1.45.0, with
// rpc.status_code; before it was rpc.response.status_code.
const SemanticConventions = "1.45.0"

// Scope is the instrumentation scope of all series and spans.
const Scope = "github.com/weft-mesh/weft/mesh"

// Metrics of the semantic conventions.
const (
	RPCClientDuration  = "rpc.client.call.duration"
	RPCServerDuration  = "rpc.server.call.duration"
	HTTPClientDuration = "http.client.request.duration"
	HTTPServerDuration = "http.server.request.duration"
)

// Metrics of the mesh's own, where the conventions have none.
const (
	Attempts           = "mesh.client.attempt.duration"
	Retries            = "mesh.retries"
	Hedges             = "mesh.hedges"
	BudgetRemaining    = "mesh.retry.budget.remaining"
	BudgetExhausted    = "mesh.retry.budget.exhausted"
	RegistryStaleness  = "mesh.registry.staleness"
	RegistryConnected  = "mesh.registry.connected"
	RegistryHeld       = "mesh.registry.held"
	RegistrySkipped    = "mesh.registry.skipped"
	Endpoints          = "mesh.endpoints"
	Panic              = "mesh.panic_mode"
	TierShare          = "mesh.locality.share"
	BreakerState       = "mesh.breaker.state"
	Ejections          = "mesh.ejections"
	AuthzDecisions     = "mesh.authz.decisions"
	EgressRejected     = "mesh.egress.rejected"
	HandshakesRejected = "mesh.handshakes.rejected"
	ConfigRejected     = "mesh.config.rejected"
	SVIDExpiry         = "mesh.svid.expiry"
	SVIDLifetime       = "mesh.svid.lifetime"
	SeriesOverflow     = "mesh.telemetry.overflow"
	RetroactiveDropped = "mesh.telemetry.spans.dropped"
	Member             = "mesh.member"
)

// Attributes of the semantic conventions.
const (
	AttrRPCSystem     = "rpc.system.name"
	AttrRPCMethod     = "rpc.method"
	AttrRPCStatus     = "rpc.status_code"
	AttrErrorType     = "error.type"
	AttrServerAddress = "server.address"
	AttrHTTPMethod    = "http.request.method"
	AttrHTTPStatus    = "http.response.status_code"
	AttrHTTPRoute     = "http.route"
	AttrURLScheme     = "url.scheme"
	AttrURLPath       = "url.path"
	AttrPeerAddress   = "network.peer.address"
	AttrResend        = "http.request.resend_count"
)

// Attributes of the mesh's own.
const (
	AttrService     = "mesh.service"      // the service that is called
	AttrCloud       = "mesh.cloud"        // where this process runs
	AttrRegion      = "mesh.region"       //
	AttrZone        = "mesh.zone"         //
	AttrPeerCloud   = "mesh.peer.cloud"   // where the other end runs
	AttrPeerZone    = "mesh.peer.zone"    //
	AttrPeerEnd     = "mesh.peer.address" // the endpoint, only if asked for
	AttrOutcome     = "mesh.outcome"      // resilience.Class
	AttrSource      = "mesh.source"       // a catalog source
	AttrState       = "mesh.state"
	AttrResult      = "mesh.result"
	AttrRule        = "mesh.rule"
	AttrMember      = "mesh.member" // this process's own service, on the scope
	AttrAttempt     = "mesh.attempt"
	AttrReason      = "mesh.attempt.reason" // first, retry, hedge
	AttrCause       = "mesh.attempt.cause"  // what the attempt before ended with
	AttrFailover    = "mesh.failover"       // the attempt went to another cloud
	AttrEjected     = "mesh.ejected"        // the endpoint before was ejected meanwhile
	AttrAttempts    = "mesh.attempts"
	AttrRetroactive = "mesh.retroactive" // why a span was made after the call: error, slow
)

// Other stands for what is beyond a bound of cardinality.
const Other = "_OTHER"

// Bounds are the upper bounds of the classic form, in seconds: those of the
// conventions, and smaller ones, because within a cloud calls take less than 5 ms.
var Bounds = []float64{
	0.0001, 0.00025, 0.0005, 0.001, 0.0025,
	0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
}

// Kind is how the values of an instrument add up.
type Kind uint8

// The kinds.
const (
	Gauge Kind = iota
	Counter
	Durations
)

// Instrument describes a metric.
type Instrument struct {
	Name, Unit, Help string
	Kind             Kind
}

// Instruments are all metrics that a member may have, in the order of Collect.
var Instruments = []Instrument{
	{RPCClientDuration, "s", "Duration of outbound RPCs, retries and waits included.", Durations},
	{RPCServerDuration, "s", "Duration of inbound RPCs.", Durations},
	{HTTPClientDuration, "s", "Duration of outbound HTTP requests until the response's header.", Durations},
	{HTTPServerDuration, "s", "Duration of inbound HTTP requests.", Durations},
	{Attempts, "s", "Duration of attempts at an endpoint, by the places of both ends and the outcome.", Durations},
	{Retries, "{attempt}", "Attempts that repeated a call.", Counter},
	{Hedges, "{attempt}", "Attempts made while another one of the call was running.", Counter},
	{BudgetRemaining, "{attempt}", "Repeats that the budget of a service would grant now.", Gauge},
	{BudgetExhausted, "{call}", "Calls that were not repeated because the budget was empty.", Counter},
	{RegistryStaleness, "s", "Age of the oldest list of a source that it could not confirm; 0 if all are fresh.", Gauge},
	{RegistryConnected, "", "1 if a source answers, 0 if not.", Gauge},
	{RegistryHeld, "{endpoint}", "Endpoints whose removal is not believed yet.", Gauge},
	{RegistrySkipped, "{entry}", "Malformed entries in the newest answers of a source.", Gauge},
	{Endpoints, "{endpoint}", "Endpoints of a service by state.", Gauge},
	{Panic, "", "1 if too little of a service is healthy, so that health is ignored.", Gauge},
	{TierShare, "1", "Share of a service's load that a place takes.", Gauge},
	{BreakerState, "", "0 closed, 1 half open, 2 open.", Gauge},
	{Ejections, "{ejection}", "Endpoints ejected because they failed more than the others.", Counter},
	{AuthzDecisions, "{decision}", "Authorization decisions on inbound calls.", Counter},
	{EgressRejected, "{call}", "Calls to hosts outside the mesh that are not allowed.", Counter},
	{HandshakesRejected, "{handshake}", "Callers refused in the TLS handshake.", Counter},
	{ConfigRejected, "{entry}", "Configuration that could not be honoured.", Counter},
	{SVIDExpiry, "s", "Time until this process's SVID expires; negative after.", Gauge},
	{SVIDLifetime, "s", "Whole lifetime of this process's SVID.", Gauge},
	{SeriesOverflow, "{series}", "Names beyond a bound of cardinality, counted as " + Other + ".", Counter},
	{RetroactiveDropped, "{span}", "Failed or slow calls that left no span because there were too many.", Counter},
	{Member, "", "1, with the place of this process.", Gauge},
}
