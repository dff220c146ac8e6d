package drills

import (
	"context"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/drill"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resilience"
)

// perTry is the policy of drills that give each attempt a part of the call's time.
var perTry = mesh.ServicePolicy{Retry: resilience.Retry{AttemptTimeout: 300 * time.Millisecond}}

const warm = 3 * time.Second

// within is an error unless d is at most most; negative is never.
func (s *scene) within(what string, d, most time.Duration) {
	s.t.Helper()
	s.t.Logf("%s: %v (promised: %v)", what, d, most)
	if d < 0 || d > most {
		s.t.Errorf("%s took %v, at most %v is promised; negative is never", what, d, most)
	}
}

func (s *scene) succeed(when string, reqs []drill.Request, share float64) {
	s.t.Helper()
	s.t.Logf("%s: %.3f %% of %d (promised: %.3f %%)", when, 100*drill.Success(reqs), len(reqs), 100*share)
	if err := drill.CheckSuccess(when, reqs, share); err != nil {
		s.t.Error(err)
	}
}

// lose breaks the cloud azure.
func (s *scene) lose(f drill.Fault) {
	for _, n := range s.cloud("azure") {
		s.net.Break(n.name, f)
	}
}

func inAzure(host string) bool { return cloudOf(host) == "azure" }

// movedOff is how long after at the first second begins in which 99 % of the
// attempts keep off the hosts.
func (s *scene) movedOff(at time.Duration, is func(string) bool) time.Duration {
	reqs := s.ledger.Requests(nil)
	for from := at; from+time.Second <= s.ledger.Now(); from += 250 * time.Millisecond {
		if drill.Share(reqs, from, from+time.Second, is) <= 0.01 {
			return from - at
		}
	}
	return -1
}

// idleStream opens a stream to an endpoint of azure, and returns how long it lasts.
func (s *scene) idleStream() <-chan time.Duration {
	ended := make(chan time.Duration, 1)
	for range 100 {
		ctx, cancel := context.WithCancel(context.Background())
		st, err := s.client.FullDuplexCall(ctx)
		s.must(err)
		m, err := st.Recv()
		s.must(err)
		if cloudOf(string(m.GetPayload().GetBody())) != "azure" {
			cancel()
			continue
		}
		go func() {
			defer cancel()
			_, err := st.Recv()
			if err != nil {
				ended <- s.ledger.Now()
			}
		}()
		return ended
	}
	s.t.Fatal("no stream goes to azure")
	return nil
}

// D6 and D9: a cloud is a black hole; a cloud hears and cannot answer.
func TestCloudBlackHoled(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		fault drill.Fault
	}{{"D6 black hole", drill.BlackHole}, {"D9 answers lost", drill.Deaf}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			run(t, setup{policy: perTry, http: true}, func(s *scene) {
				ended := s.idleStream()
				from := s.ledger.Now() + warm
				s.at(warm, func() { s.lose(tc.fault) })
				// An endpoint is found by what is sent to it, and HTTP has a part of the load.
				s.load(300, warm+14*time.Second)
				s.succeed("in the first 5 s", s.safe(from, from+5*time.Second), 0.995)
				s.succeed("after", s.safe(from+5*time.Second, s.ledger.Now()), 0.9999)
				s.within("99 % of picks off", s.movedOff(from, inAzure), 3*time.Second)
				select {
				case at := <-ended:
					s.within("idle stream broken", at-from, 14*time.Second)
				default:
					t.Error("an idle stream into the black hole lives on")
				}
				if tc.fault == drill.Deaf {
					s.worked(from, inAzure)
				}
				s.lose(0)
			})
		})
	}
}

// worked asserts that requests were done by hosts whose answers were lost: else
// nothing is shown by none of them being done twice.
func (s *scene) worked(from time.Duration, is func(string) bool) {
	s.t.Helper()
	n := 0
	for _, r := range s.ledger.Requests(nil) {
		for _, a := range r.Got {
			if a.At >= from && is(a.Host) {
				n++
			}
		}
	}
	s.t.Logf("%d requests were done there after all", n)
	if n == 0 {
		s.t.Error("the hosts that cannot answer did nothing")
	}
}
