package resilience_test

import (
	"context"
	"errors"
	"fmt"
	"time"

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

// A limit sheds the lowest class first.
func ExampleConcurrencyLimit() {
	l, err := resilience.NewConcurrencyLimit(resilience.ConcurrencyConfig{Limit: 10})
	if err != nil {
		panic(err)
	}
	for _, p := range []resilience.Priority{resilience.Sheddable, resilience.Critical, resilience.CriticalPlus} {
		n := 0
		for {
			if _, err := l.Enter(context.Background(), &resilience.Info{Priority: p}); err != nil {
				break
			}
			n++
		}
		fmt.Println(p, n)
	}
	// Output:
	// sheddable 8
	// critical 2
	// critical_plus 10
}

// Each caller may make two calls per second.
func ExampleRateLimit() {
	l, err := resilience.NewRateLimit(resilience.RateConfig{PerSecond: 2, ByCaller: true})
	if err != nil {
		panic(err)
	}
	for _, caller := range []string{"spiffe://a/web", "spiffe://a/web", "spiffe://a/web", "spiffe://a/job"} {
		_, err := l.Enter(context.Background(), &resilience.Info{Caller: caller})
		fmt.Println(caller, errors.Is(err, resilience.ErrRate))
	}
	// Output:
	// spiffe://a/web false
	// spiffe://a/web false
	// spiffe://a/web true
	// spiffe://a/job false
}

// A fault hits the calls that its rules match, until it is killed.
func ExampleFault() {
	f, err := resilience.NewFault(resilience.FaultConfig{
		Rules: []resilience.FaultRule{{Service: "payments", Cloud: "gcp", Percent: 100, Code: 14}},
	})
	if err != nil {
		panic(err)
	}
	call := &resilience.Info{Service: "payments", Cloud: "gcp"}
	_, err = f.Enter(context.Background(), call)
	fmt.Println(err)
	f.Kill()
	_, err = f.Enter(context.Background(), call)
	fmt.Println(err)
	// Output:
	// resilience: injected fault for service "payments" in cloud "gcp"
	// <nil>
}

// A throttle holds calls back while the service refuses most of them.
func ExampleThrottle() {
	t, err := resilience.NewThrottle(resilience.ThrottleConfig{Rand: func() float64 { return 0.5 }})
	if err != nil {
		panic(err)
	}
	held := 0
	for range 100 {
		done, err := t.Enter(context.Background(), &resilience.Info{Service: "payments"})
		if err != nil {
			held++
			continue
		}
		done(resilience.Outcome{Class: resilience.Throttled})
	}
	fmt.Println(held)
	// Output: 95
}

// printEjections is an Ejector; package balancer has a real one.
type printEjections struct{}

func (printEjections) Eject(until time.Time) { fmt.Println("out:", !until.IsZero()) }
func (printEjections) Degrade(time.Time)     {}

// Five failures in a row eject an endpoint of a pool.
func ExampleOutlier() {
	o, err := resilience.NewOutlier(resilience.OutlierConfig{
		OnEvent: func(e resilience.OutlierEvent) { fmt.Println(e.Kind, e.Endpoint, "-", e.Reason) },
	})
	if err != nil {
		panic(err)
	}
	defer o.Close()
	a := o.Host("a", "eu-a", printEjections{})
	defer a.Leave()
	b := o.Host("b", "eu-a", printEjections{})
	defer b.Leave()
	for range 5 {
		a.Observe(resilience.Outcome{Class: resilience.Retryable})
	}
	// Output:
	// out: true
	// ejected a - 5 failures in a row
}
