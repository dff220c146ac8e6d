package resilience

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

// configs makes, of a pointer to each configuration there is, what it configures.
func configs() map[any]func(any) error {
	return map[any]func(any) error{
		&Backoff{}: func(c any) error { _, err := NewLoop(LoopConfig{Retry: Retry{Backoff: *c.(*Backoff)}}); return err },
		&Retry{}:   func(c any) error { _, err := NewLoop(LoopConfig{Retry: *c.(*Retry)}); return err },
		&Hedge{Enabled: true}: func(c any) error {
			_, err := NewLoop(LoopConfig{Hedge: *c.(*Hedge)})
			return err
		},
		&LoopConfig{}:        func(c any) error { _, err := NewLoop(*c.(*LoopConfig)); return err },
		&BudgetConfig{}:      func(c any) error { _, err := NewBudget(*c.(*BudgetConfig)); return err },
		&BreakerConfig{}:     func(c any) error { _, err := NewBreaker("", "", *c.(*BreakerConfig)); return err },
		&OutlierConfig{}:     func(c any) error { _, err := NewOutlier(*c.(*OutlierConfig)); return err },
		&ConcurrencyConfig{}: func(c any) error { _, err := NewConcurrencyLimit(*c.(*ConcurrencyConfig)); return err },
		&RateConfig{}:        func(c any) error { _, err := NewRateLimit(*c.(*RateConfig)); return err },
		&ThrottleConfig{}:    func(c any) error { _, err := NewThrottle(*c.(*ThrottleConfig)); return err },
		&DeadlineConfig{}:    func(c any) error { _, err := NewDeadlineGate(*c.(*DeadlineConfig)); return err },
		&FaultConfig{}:       func(c any) error { _, err := NewFault(*c.(*FaultConfig)); return err },
		&FaultRule{}: func(c any) error {
			_, err := NewFault(FaultConfig{Rules: []FaultRule{*c.(*FaultRule)}})
			return err
		},
		&GRPCClientConfig{}: func(c any) error { _, err := NewGRPCClient(*c.(*GRPCClientConfig)); return err },
		&HTTPClientConfig{}: func(c any) error { _, err := NewHTTPClient(nil, *c.(*HTTPClientConfig)); return err },
	}
}

// without are configurations that hold no number.
var without = []string{"GRPCServerConfig", "HTTPServerConfig", "InboundConfig"}

// negative are the fields whose comment gives a meaning to a negative value.
var negative = map[string]bool{
	"OutlierConfig.Consecutive": true, "OutlierConfig.StdevFactor": true, "OutlierConfig.FailurePercent": true,
	"RateConfig.MaxPushback": true,
}

// ratios are the fields that are a part of one.
var ratios = map[string]bool{
	"BudgetConfig.Ratio": true, "BudgetConfig.HedgeRatio": true, "BreakerConfig.FailureRatio": true,
	"BreakerConfig.SlowRatio": true, "OutlierConfig.MaxShare": true,
}

// Every number of every configuration: what makes no sense is refused when it is
// given, with the field's name.
func TestEveryNumberIsChecked(t *testing.T) {
	t.Parallel()
	for zero, make := range configs() {
		if err := make(zero); err != nil {
			t.Errorf("%T: the zero value is refused: %v", zero, err)
		}
		typ := reflect.TypeOf(zero).Elem()
		for i := range typ.NumField() {
			f := typ.Field(i)
			name := typ.Name() + "." + f.Name
			var bad []any
			switch kind := f.Type.Kind(); kind {
			case reflect.Int, reflect.Int64:
				if !negative[name] {
					bad = append(bad, int64(-1), int64(math.MinInt64))
				}
			case reflect.Float64, reflect.Array:
				bad = append(bad, math.NaN(), math.Inf(1))
				if !negative[name] {
					bad = append(bad, -0.001, math.Inf(-1))
				}
				if ratios[name] {
					bad = append(bad, 1.001)
				}
			}
			for _, v := range bad {
				c := reflect.New(typ)
				c.Elem().Set(reflect.ValueOf(zero).Elem())
				to := c.Elem().Field(i)
				if to.Kind() == reflect.Array {
					to = to.Index(0)
				}
				to.Set(reflect.ValueOf(v).Convert(to.Type()))
				err := make(c.Interface())
				if err == nil || !strings.Contains(err.Error(), "."+f.Name+" is ") {
					t.Errorf("%s = %v: error %v, want one that names it", name, v, err)
				}
			}
		}
	}
}

// Bounds that depend on another field.
func TestNumbersThatDisagree(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"MaxOpenFor":  second(NewBreaker("", "", BreakerConfig{OpenFor: time.Minute, MaxOpenFor: time.Second})),
		"MaxEjection": second(NewOutlier(OutlierConfig{BaseEjection: time.Minute, MaxEjection: time.Second})),
		"Max":         second(NewConcurrencyLimit(ConcurrencyConfig{Min: 10, Max: 5})),
		"Initial":     second(NewConcurrencyLimit(ConcurrencyConfig{Initial: 50, Max: 40})),
		"Cap":         second(NewLoop(LoopConfig{Retry: Retry{Backoff: Backoff{Base: 2, Cap: 1}}})),
		"Enabled":     second(NewLoop(LoopConfig{Hedge: Hedge{Delay: 1}})),
	} {
		if err == nil || !strings.Contains(err.Error(), "."+want+" is ") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func second[T any](_ T, err error) error {
	if err == nil {
		return fmt.Errorf("accepted")
	}
	return err
}
