package resolver

import "context"

// Instance is what a server tells a catalog about itself.
type Instance struct {
	// Service is the name others call.
	Service string
	// ID is unique among the instances of the node. Empty: Service and the port,
	// joined by "-".
	ID string
	// Host and Port are where others reach it. Host must not be unspecified.
	Host string
	Port int
	// Locality is announced with the instance; an empty Region and Zone are left out.
	Locality Locality
	// Protocol is "grpc", "http", "http2" or "tcp"; empty announces none.
	Protocol string
	// Weight is the passing weight, 1 to MaxWeight; 0 means 1.
	Weight uint32
	// Tags and Metadata are announced as they are.
	Tags     []string
	Metadata map[string]string
}

// Registrar announces instances in a catalog.
//
// Register returns when the catalog has accepted the instance as passing. The
// registration is kept alive, and repeated if the catalog lost it, until
// deregister is called. deregister removes the instance, waits for the answer
// within ctx, and ends everything that Register started; it is idempotent.
type Registrar interface {
	Register(ctx context.Context, in Instance) (deregister func(ctx context.Context) error, err error)
}
