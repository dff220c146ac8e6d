package consul_test

import (
	"context"
	"fmt"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/consul"
)

// A datacenter that is read through the local agent. Nobody listens at this
// address: that is not an error but a state.
func Example() {
	gcp, err := consul.New(consul.Config{Address: "127.0.0.1:1", Datacenter: "gcp"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer gcp.Close(ctx)
	_ = gcp.Watch(ctx, "payments", func(s *resolver.Snapshot) {
		fmt.Printf("%s/%s is %s, %d endpoints\n", gcp.Name(), s.Service, s.State, len(s.Endpoints))
		cancel()
	})
	// Output: gcp/payments is unknown, 0 endpoints
}
