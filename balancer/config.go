package balancer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// Config says how a Balancer chooses. The zero value is a safe default.
type Config struct {
	// Policy chooses within a tier. nil: PeakEWMA{}.
	Policy Policy
	// Local is where the caller runs. A zero field is unknown and ranks nothing:
	// without a cloud, all endpoints are in one tier, or in one per cloud if
	// CloudOrder is set.
	Local resolver.Locality
	// CloudOrder is the order in which other clouds are used when the local one
	// has no capacity. Clouds that are not named come after it, in the order of
	// RoundTrip, then by name. Empty: all by RoundTrip, then by name.
	CloudOrder []string
	// RoundTrip gives the measured round-trip time to a cloud, 0 if unknown; it
	// must not block. A cloud overtakes another only when it is 20 % faster, so
	// that jitter moves no traffic. nil: none is known.
	RoundTrip func(cloud string) time.Duration
	// Rank sorts endpoints before their locality does: all of rank 0 come before all of
	// rank 1. A negative rank leaves an endpoint out. It is asked once for each
	// endpoint and snapshot and must give the same answer each time. nil: all have
	// rank 0.
	Rank func(*resolver.Endpoint) int
	// Name is the service's name for Store.CloseCloud. Empty: that of the snapshot.
	Name string
	// ConnectTimeout bounds one attempt to connect an endpoint: the TCP and TLS handshakes,
	// and over gRPC, in a channel made with DialOptions, the server's HTTP/2 settings.
	// 0: that of TransportConfig, and of DialConfig.
	ConnectTimeout time.Duration
	// SubsetSize is how many endpoints of a tier are connected. 0: 16; negative: all.
	SubsetSize int
	// SubsetKey makes the choice of the subset this client's own: give each
	// process a stable, different value. Empty: random per Balancer.
	SubsetKey string
	// WarmConns is how many endpoints of each tier that takes no traffic are kept
	// connected, for an instant failover. 0: 2; negative: none.
	WarmConns int
	// Overprovision is the capacity that each tier is assumed to have above its
	// load: below 1/Overprovision healthy, traffic spills to the next tier.
	// At least 1. 0: 1.4 (Envoy overprovisioning_factor 140).
	Overprovision float64
	// PanicBelow is the healthy share of a tier below which its health is ignored,
	// when all tiers together cannot carry the load: critical endpoints are then
	// connected and tried too. At most 1. 0: 0.5 (Envoy healthy_panic_threshold);
	// negative: never.
	PanicBelow float64
	// FailbackAfter is how long a recovered tier must stay healthy before traffic
	// returns to it, 10 % of all per FailbackAfter/10. 0: 10 s; negative: at once.
	FailbackAfter time.Duration
	// SlowStart is how long a new endpoint takes to reach its full weight, from
	// 10 %. 0: 30 s; negative: none.
	SlowStart time.Duration
	// Store keeps load state across balancers. nil: one of its own.
	Store *Store
	// Outlier watches the chosen endpoints and ejects those that fail more than the
	// others. Give all balancers of a service the same one. nil: none is ejected,
	// but by Store.Eject.
	Outlier *resilience.Outlier
	// Gate is entered for each attempt once its endpoint was chosen, with Info.Cloud
	// known, and may wait; its refusal counts against the endpoint as its outcome
	// says. A gRPC connection needs GateUnary and GateStream too. nil: none.
	Gate resilience.Gate
	// Observe is told of the end of each attempt and how long it took; it must not
	// block. nil: nobody.
	Observe func(n *Node, o resilience.Outcome, took time.Duration)
	// OnShift is told when panic and failover begin and end, in order and never twice at
	// a time; no call waits for it. It must not call Close. nil: nobody.
	OnShift func(Shift)
}

// withDefaults checks c and fills in what zero means.
func (c Config) withDefaults() (Config, error) {
	if c.Policy == nil {
		c.Policy = PeakEWMA{}
	}
	if p, ok := c.Policy.(interface{ check() error }); ok {
		if err := p.check(); err != nil {
			return c, err
		}
	}
	seen := map[string]bool{}
	for i, cloud := range c.CloudOrder {
		if cloud == "" || seen[cloud] {
			return c, fmt.Errorf("balancer: Config.CloudOrder[%d] is %q, which is empty or named twice", i, cloud)
		}
		seen[cloud] = true
	}
	if c.ConnectTimeout < 0 {
		return c, fmt.Errorf("balancer: Config.ConnectTimeout is %v; use 0 for the transport's, or more", c.ConnectTimeout)
	}
	if c.Overprovision == 0 {
		c.Overprovision = 1.4
	}
	if !(c.Overprovision >= 1) || math.IsInf(c.Overprovision, 0) {
		return c, fmt.Errorf("balancer: Config.Overprovision is %v; use at least 1, or 0 for 1.4", c.Overprovision)
	}
	if c.PanicBelow == 0 {
		c.PanicBelow = 0.5
	}
	if math.IsNaN(c.PanicBelow) || c.PanicBelow > 1 {
		return c, fmt.Errorf("balancer: Config.PanicBelow is %v; use at most 1, 0 for 0.5, or a negative value for never", c.PanicBelow)
	}
	if c.SubsetSize == 0 {
		c.SubsetSize = 16
	}
	if c.SubsetKey == "" {
		c.SubsetKey = strconv.FormatUint(rand.Uint64(), 36)
	}
	switch {
	case c.WarmConns == 0:
		c.WarmConns = 2
	case c.WarmConns < 0:
		c.WarmConns = 0
	}
	if c.FailbackAfter == 0 {
		c.FailbackAfter = 10 * time.Second
	}
	if c.SlowStart == 0 {
		c.SlowStart = 30 * time.Second
	}
	if c.Store == nil {
		c.Store = &Store{}
	}
	return c, nil
}

// Fixed delays. They are chosen to work together: a replaced node stays
// connected (lingerAfter) longer than it takes to find out that the node that
// came back for it is still dead (benchAfter).
const (
	publishEvery = 5 * time.Millisecond   // at most this often, unless it is urgent
	warmAfter    = 250 * time.Millisecond // warm connections wait for the first tier at most this long
	lostGrace    = time.Second            // a lost connection counts as healthy while it is remade
	lingerAfter  = 10 * time.Second       // a node that is no longer chosen stays connected
	benchAfter   = 5 * time.Second        // a node that cannot be connected yields its place
	benchAlone   = time.Second            // the same, while no node of its tier is ready; doubles each time,
	maxAlone     = 30 * time.Second       // up to this
	benchFor     = time.Minute            // how long it is not chosen again
	maxBench     = 256                    // benched endpoints per tier; beyond, start over
	rampSteps    = 20                     // weight changes of one slow start
	rampFloor    = 0.1                    // its first weight (Envoy min_weight_percent)
)
