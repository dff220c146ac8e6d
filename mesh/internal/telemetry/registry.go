package telemetry

import (
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/weft-mesh/weft/resolver"
)

// Config says whose calls are counted and how many names are kept apart.
type Config struct {
	// Service is this process's own, Locality where it runs; empty: not known.
	Service  string
	Locality resolver.Locality
	// MaxMethods is how many methods of one service are kept apart; 0: 200.
	MaxMethods int
	// EndpointLabels counts attempts by endpoint too; false: by place only.
	EndpointLabels bool
	// Slow finds the p99 of each method, for retroactive spans; false: not.
	Slow bool
}

// DefaultMaxMethods is the default of Config.MaxMethods.
const DefaultMaxMethods = 200

// maxCells bounds the methods of all services together.
const maxCells = 4096

// Registry holds all cells of a member.
type Registry struct {
	cfg      Config
	start    time.Time
	cells    atomic.Int64
	overflow atomic.Uint64
	counts   counts

	mu        sync.Mutex
	durations map[string][]func(func(*Series)) // by name of the metric
	observers []Observer
}

// Observer tells the values of the moment. It is called at each collection, and
// never twice at the same time by one Registry.
type Observer func(emit Emit)

// Emit takes one value of a metric in Instruments.
type Emit func(name string, value float64, attrs ...attribute.KeyValue)

// NewRegistry makes an empty Registry.
func NewRegistry(cfg Config) *Registry {
	if cfg.MaxMethods <= 0 {
		cfg.MaxMethods = DefaultMaxMethods
	}
	r := &Registry{cfg: cfg, start: time.Now(), durations: map[string][]func(func(*Series)){}}
	r.counts.by.Store(&map[countKey]*count{})
	return r
}

// room takes the place of one more cell, if there is one.
func (r *Registry) room() bool {
	if r.cells.Add(1) <= maxCells {
		return true
	}
	r.cells.Add(-1)
	return false
}

// Observe adds an Observer.
func (r *Registry) Observe(o Observer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.observers = append(r.observers, o)
}

func (r *Registry) add(metric string, series func(func(*Series))) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.durations[metric] = append(r.durations[metric], series)
}

// Places makes the cells of the attempts at a service. Make them once.
func (r *Registry) Places(service string) *Places {
	p := &Places{r: r, service: service}
	p.list.Store(&[]*place{})
	r.add(Attempts, p.series)
	return p
}

// Member is the attribute of the scope of this member's series.
func (r *Registry) Member() attribute.Set {
	return attribute.NewSet(attribute.String(AttrMember, r.cfg.Service))
}

// Start is when counting began.
func (r *Registry) Start() time.Time { return r.start }

// Value is a value of a gauge or a counter.
type Value struct {
	Attrs attribute.Set
	Value float64
}

// Metric is what was counted under one name.
type Metric struct {
	Instrument
	Values []Value   // of a Gauge or Counter
	Series []*Series // of Durations
}

// Collect reads everything. Metrics without a value are left out.
func (r *Registry) Collect() []Metric {
	r.mu.Lock()
	defer r.mu.Unlock()
	values := map[string][]Value{}
	emit := func(name string, v float64, attrs ...attribute.KeyValue) {
		values[name] = append(values[name], Value{attribute.NewSet(attrs...), v})
	}
	for _, o := range r.observers {
		o(emit)
	}
	r.counts.each(emit)
	emit(SeriesOverflow, float64(r.overflow.Load()))
	l := r.cfg.Locality
	emit(Member, 1, attribute.String(AttrService, r.cfg.Service), attribute.String(AttrCloud, l.Cloud),
		attribute.String(AttrRegion, l.Region), attribute.String(AttrZone, l.Zone))
	var all []Metric
	for _, in := range Instruments {
		m := Metric{Instrument: in, Values: values[in.Name]}
		for _, each := range r.durations[in.Name] {
			each(func(s *Series) { m.Series = append(m.Series, s) })
		}
		if len(m.Values)+len(m.Series) > 0 {
			all = append(all, m)
		}
	}
	return all
}
