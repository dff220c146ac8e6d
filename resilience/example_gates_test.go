package resilience_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/weft-mesh/weft/resilience"
)

// A breaker opens when half of at least 20 calls failed.
func ExampleBreaker() {
	b, err := resilience.NewBreaker("payments", "gcp", resilience.BreakerConfig{})
	if err != nil {
		panic(err)
	}
	call := &resilience.Info{Service: "payments", Cloud: "gcp"}
	for range 20 {
		done, err := b.Enter(context.Background(), call)
		if err != nil {
			panic(err)
		}
		done(resilience.Outcome{Class: resilience.Failure})
	}
	_, err = b.Enter(context.Background(), call)
	fmt.Println(b.State(), errors.Is(err, resilience.ErrOpen))
	// Output: open true
}
