package mesh

import (
	"errors"

	"go.opentelemetry.io/otel/attribute"

	"github.com/weft-mesh/weft/mesh/internal/telemetry"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/security"
)

// observe tells of the repeats to each service, and of its breakers.
func (d *destinations) observe(emit telemetry.Emit) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, to := range d.made {
		if to.seen == nil {
			continue
		}
		svc := attribute.String(telemetry.AttrService, to.seen.service)
		st := to.way.loop.Status()
		emit(telemetry.Retries, float64(st.Retries), svc)
		emit(telemetry.Hedges, float64(st.Hedges), svc)
		emit(telemetry.BudgetExhausted, float64(st.Exhausted), svc)
		emit(telemetry.BudgetRemaining, float64(st.Budget.Left), svc)
		for _, cloud := range to.seen.places.Clouds() {
			if _, told := d.watch.breakers.Load([2]string{to.seen.service, cloud}); !told { // it never opened
				emit(telemetry.BreakerState, 0, svc, attribute.String(telemetry.AttrPeerCloud, cloud))
			}
		}
	}
	d.watch.breakers.Range(func(k, v any) bool {
		of := k.([2]string)
		state := 0.0
		switch v.(resilience.BreakerState) {
		case resilience.BreakerHalfOpen:
			state = 1
		case resilience.BreakerOpen:
			state = 2
		}
		emit(telemetry.BreakerState, state, attribute.String(telemetry.AttrService, of[0]), attribute.String(telemetry.AttrPeerCloud, of[1]))
		return true
	})
}

// refusal is why a handshake was refused, in a word for a metric.
func refusal(err error) string {
	for cause, word := range map[error]string{
		security.ErrNoIdentity:         "no_identity",
		security.ErrBadSVID:            "bad_svid",
		security.ErrUnknownTrustDomain: "unknown_trust_domain",
		security.ErrExpired:            "expired",
		security.ErrUntrusted:          "untrusted",
		security.ErrUnexpectedPeer:     "unexpected_peer",
		security.ErrDenied:             "denied",
	} {
		if errors.Is(err, cause) {
			return word
		}
	}
	return telemetry.Other
}
