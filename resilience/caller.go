package resilience

import "crypto/x509"

// callerOfCerts is the SPIFFE ID in a peer's certificate, which TLS has verified,
// or empty. A certificate with more than one URI names nobody.
func callerOfCerts(certs []*x509.Certificate) string {
	if len(certs) == 0 || len(certs[0].URIs) != 1 || certs[0].URIs[0].Scheme != "spiffe" {
		return ""
	}
	return certs[0].URIs[0].String()
}

// wants is what gates read of Info that costs an allocation per call.
type wants struct{ headers, caller bool }

func wantsOf(gates []Gate) (w wants) {
	for _, g := range gates {
		switch g := g.(type) {
		case nil, *Breaker, *BreakerSet, *ConcurrencyLimit, *Throttle, *DeadlineGate:
		case *RateLimit:
			w.caller = w.caller || g.cfg.ByCaller
		case *Chain:
			in := wantsOf(g.gates)
			w.headers, w.caller = w.headers || in.headers, w.caller || in.caller
		default:
			return wants{true, true}
		}
	}
	return w
}
