package mesh

import (
	"net/http"

	"github.com/weft-mesh/weft/resilience"
)

// openHTTP is the HTTP face of a way around transport: gates, loop, attempt.
func (w *way) openHTTP(transport http.RoundTripper) http.RoundTripper {
	loop := w.loop
	survive, err := resilience.NewHTTPClient(transport, resilience.HTTPClientConfig{
		LoopFor: func(string) *resilience.Loop { return loop },
	})
	if err != nil {
		return refuses{err} // it has no field that could be wrong
	}
	if len(w.gates) > 0 {
		return resilience.NewHTTPClientGates(survive, w.gates...)
	}
	return survive
}

// refuses fails each request.
type refuses struct{ err error }

func (r refuses) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return nil, r.err
}
