package telemetry

import (
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

// maxPlaces bounds the places of one service, or its endpoints if those are asked for.
const maxPlaces = 64

// Places counts the attempts at a service by where they went and what they came to.
// Attempts know their place only after the pick, so they are not in a Cell.
type Places struct {
	r       *Registry
	service string
	list    atomic.Pointer[[]*place] // replaced, never written
	mu      sync.Mutex
}

type place struct {
	at   resolver.Locality
	addr string // if the registry has labels for endpoints
	cell *Cell
}

var otherPlace = resolver.Locality{Cloud: Other}

// Record counts an attempt. It takes no lock, and looks through a few places.
func (p *Places) Record(ep *resolver.Endpoint, o resilience.Outcome, d time.Duration) {
	addr := ""
	if p.r.cfg.EndpointLabels {
		addr = ep.Addr
	}
	p.at(ep.Locality, addr).cell.Record(int(min(o.Class, resilience.Throttled)), d, drawOf(d))
}

func (p *Places) at(at resolver.Locality, addr string) *place {
	for _, c := range *p.list.Load() {
		if c.at == at && c.addr == addr {
			return c
		}
	}
	return p.open(at, addr)
}

func (p *Places) open(at resolver.Locality, addr string) *place {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := *p.list.Load()
	if len(old) >= maxPlaces {
		at, addr = otherPlace, ""
		p.r.overflow.Add(1)
	}
	for _, c := range old {
		if c.at == at && c.addr == addr {
			return c
		}
	}
	c := &place{at: at, addr: addr}
	c.cell = newCell(int(resilience.Throttled)+1, false, func(end int) []attribute.KeyValue {
		return p.attrs(at, addr, resilience.Class(end))
	})
	next := append(old[:len(old):len(old)], c)
	p.list.Store(&next)
	return c
}

func (p *Places) attrs(at resolver.Locality, addr string, class resilience.Class) []attribute.KeyValue {
	own := p.r.cfg.Locality
	attrs := []attribute.KeyValue{
		attribute.String(AttrService, p.service),
		attribute.String(AttrCloud, own.Cloud),
		attribute.String(AttrZone, own.Zone),
		attribute.String(AttrPeerCloud, at.Cloud),
		attribute.String(AttrPeerZone, at.Zone),
		attribute.String(AttrOutcome, class.String()),
	}
	if addr != "" {
		attrs = append(attrs, attribute.String(AttrPeerEnd, addr))
	}
	return attrs
}

// Clouds are those that attempts went to.
func (p *Places) Clouds() []string {
	var clouds []string
	for _, c := range *p.list.Load() {
		known := false
		for _, have := range clouds {
			known = known || have == c.at.Cloud
		}
		if !known {
			clouds = append(clouds, c.at.Cloud)
		}
	}
	return clouds
}

func (p *Places) series(visit func(*Series)) {
	for _, c := range *p.list.Load() {
		c.cell.series(visit)
	}
}
