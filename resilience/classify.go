package resilience

// Ended is an attempt that has ended, as a [Classifier] sees it.
type Ended struct {
	// Method is the full gRPC method, "/pay.Pay/Charge", or the HTTP method, "GET".
	Method string
	// Path is the HTTP path, "/items/7"; empty for gRPC.
	Path string
	// Code is the gRPC status code as a number; 0 is OK, and all that HTTP has.
	Code uint32
	// Status is the HTTP status; 0 if none came, and for gRPC.
	Status int
	// Err is gRPC's status, or why there is no HTTP response or not all of it; nil:
	// none.
	Err error
}

// Classifier says what an attempt counts as where a service means something else
// by its answers than others do: o is what [FromGRPC] or [FromHTTP] made of it.
// What it returns is the one Outcome of the attempt: retries, budget, breaker,
// outlier detection and the balancer's load all go by it. It runs at the end of
// each attempt, on any goroutine, once, and must not block; of a stream it may be
// asked twice, because a stream may end here before it ends at the balancer.
//
// It is not asked about what is Neutral: that a caller left, or that we refused,
// says nothing about the endpoint, whatever the service.
type Classifier func(e Ended, o Outcome) Outcome

// Judge is o, or what c makes of it; c may be nil.
func (c Classifier) Judge(e Ended, o Outcome) Outcome {
	if c == nil || o.Class == Neutral {
		return o
	}
	return c(e, o)
}
