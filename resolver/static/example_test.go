package static_test

import (
	"context"
	"fmt"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
)

func Example() {
	cat := static.New(static.Config{Name: "aws"})
	if err := cat.Set("payments", resolver.Endpoint{Addr: "10.0.0.1:9000"}); err != nil {
		fmt.Println(err)
		return
	}

	// A server of the same process announces itself, and leaves again.
	deregister, err := cat.Register(context.Background(), resolver.Instance{Service: "payments", Host: "10.0.0.2", Port: 9000})
	if err != nil {
		fmt.Println(err)
		return
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_ = cat.Watch(ctx, "payments", func(s *resolver.Snapshot) {
		fmt.Println(s.State, len(s.Endpoints))
		if len(s.Endpoints) == 2 {
			_ = deregister(ctx)
			return
		}
		for _, e := range s.Endpoints {
			fmt.Println(e.ID, e.Addr, e.Locality)
		}
		cancel()
	})
	// Output:
	// known 2
	// known 1
	// aws//10.0.0.1:9000 10.0.0.1:9000 aws/-/-
}
