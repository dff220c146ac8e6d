package balancer

import (
	"fmt"
	"testing"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// order is the tiers in order of preference.
func (r *rig) order() (out []string) {
	for _, t := range r.Status().Tiers {
		out = append(out, t.Locality.String())
	}
	return out
}

func TestTierOrder(t *testing.T) {
	t.Parallel()
	everywhere := snapshotOf(eps(aws, "a", 2), eps(awsB, "b", 2), eps(awsUS, "c", 2), eps(gcp, "d", 2), eps(azure, "e", 2), eps(resolver.Locality{}, "f", 2))
	rtt := func(cloud string) time.Duration { return map[string]time.Duration{"gcp": 9e6, "azure": 3e6}[cloud] }
	for name, c := range map[string]struct {
		cfg  Config
		want []string
	}{
		"all known":         {Config{Local: aws}, []string{"aws/eu/eu-a", "aws/eu/-", "aws/-/-", "azure/-/-", "gcp/-/-", "-/-/-"}},
		"configured":        {Config{Local: aws, CloudOrder: []string{"gcp", "azure"}, RoundTrip: rtt}, []string{"aws/eu/eu-a", "aws/eu/-", "aws/-/-", "gcp/-/-", "azure/-/-", "-/-/-"}},
		"measured":          {Config{Local: resolver.Locality{Cloud: "aws"}, RoundTrip: rtt}, []string{"aws/-/-", "azure/-/-", "gcp/-/-", "-/-/-"}},
		"unknown place":     {Config{RoundTrip: rtt}, []string{"-/-/-"}},
		"unknown, an order": {Config{CloudOrder: []string{"gcp", "aws"}}, []string{"gcp/-/-", "aws/-/-", "azure/-/-", "-/-/-"}},
		"a zone alone":      {Config{Local: resolver.Locality{Zone: "eu-a"}}, []string{"-/-/-"}},
	} {
		r := newRig(t, c.cfg)
		r.Update(everywhere)
		r.connectAll()
		if got := r.order(); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: tiers %v, want %v", name, got, c.want)
		}
	}
}

func TestRoundTripJitter(t *testing.T) {
	t.Parallel()
	rtt := map[string]time.Duration{"gcp": 10e6, "azure": 11e6}
	r := newRig(t, Config{Local: aws, RoundTrip: func(c string) time.Duration { return rtt[c] }})
	s := snapshotOf(eps(aws, "a", 2), eps(gcp, "d", 2), eps(azure, "e", 2))
	r.Update(s)
	for i, want := range []string{"azure/-/-", "azure/-/-", "gcp/-/-", "gcp/-/-", "azure/-/-"} {
		rtt["gcp"] = []time.Duration{10e6, 9e6, 7e6, 12e6, 14e6}[i]
		r.Update(s)
		if got := r.order()[1]; got != want {
			t.Errorf("step %d: second tier is %s, want %s", i, got, want)
		}
	}
}

// The second attempt goes to another node, the third to another place.
func TestAttemptsMoveOn(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{Local: aws})
	r.Update(snapshotOf(eps(aws, "a", 5), eps(awsB, "b", 5), eps(gcp, "d", 5)))
	r.connectAll()
	for range 100 {
		c := &Call{}
		var zones []string
		for range 4 {
			last := c.Last()
			n, err := r.Pick(c)
			if err != nil || n == last {
				t.Fatal(n, err)
			}
			zones = append(zones, n.Endpoint().Locality.Zone)
		}
		if got := fmt.Sprint(zones); got != "[eu-a eu-a eu-b x-a]" {
			t.Fatal(got)
		}
	}
	// With one node a tier, the second attempt goes further rather than twice.
	r.Update(snapshotOf(eps(aws, "a", 1), eps(gcp, "d", 1)))
	c := &Call{}
	for _, want := range []string{"aws", "gcp", "gcp"} {
		if n, err := r.Pick(c); err != nil || byCloud(n) != want {
			t.Error(n.ID, err, want)
		}
	}
}

func TestLocalityChangeKeepsConnection(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{Local: aws})
	list := eps(aws, "a", 3)
	r.Update(snapshotOf(list))
	r.connectAll()
	r.Update(snapshotOf(with(list, func(i int, ep *resolver.Endpoint) { ep.Locality.Zone = "eu-b" })))
	if got := r.order(); fmt.Sprint(got) != "[aws/eu/-]" {
		t.Error(got)
	}
	if n := r.connects.Load(); n != 3 || len(r.open()) != 3 {
		t.Errorf("%d connects, %d open", n, len(r.open()))
	}
	if _, err := r.Pick(&Call{}); err != nil {
		t.Error(err)
	}
}
