package drills

import (
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/drill"
	"github.com/weft-mesh/weft/mesh"
)

// The twin of D6: without outliers and breakers, attempts go on into the black
// hole until keepalive finds it.
func TestCloudBlackHoledTwin(t *testing.T) {
	t.Parallel()
	p := perTry
	p.NoOutlier, p.NoBreaker = true, true
	run(t, setup{policy: p, balancing: roundRobin}, func(s *scene) {
		from := s.ledger.Now() + warm
		s.at(warm, func() { s.lose(drill.BlackHole) })
		s.load(60, warm+6*time.Second)
		s.broken("99 % of picks off in 3 s", s.movedOff(from, inAzure), 3*time.Second)
		s.lose(0)
	})
}

// D6 without an attempt timeout, as the default policy has it: a call that goes
// into the black hole is lost, and once the first ones are, a second later, hardly
// any goes there.
// At home, with nobody else being called, it is no different.
func TestCloudBlackHoledByDefault(t *testing.T) {
	t.Parallel()
	for _, home := range []string{"", "azure"} {
		t.Run("at home in "+home, func(t *testing.T) {
			t.Parallel()
			run(t, setup{home: home, policy: mesh.ServicePolicy{}}, func(s *scene) {
				from := s.ledger.Now() + warm
				s.at(warm, func() { s.lose(drill.BlackHole) })
				s.load(100, warm+9*time.Second)
				s.within("99 % of picks off", s.movedOff(from, inAzure), 3*time.Second)
				s.succeed("from 1.5 s on", s.safe(from+1500*time.Millisecond, from+5*time.Second), 0.99)
				s.lose(0)
			})
		})
	}
	t.Run("twin", func(t *testing.T) {
		t.Parallel()
		run(t, setup{home: "azure", policy: mesh.ServicePolicy{NoOutlier: true}}, func(s *scene) {
			from := s.ledger.Now() + warm
			s.at(warm, func() { s.lose(drill.BlackHole) })
			s.load(60, warm+6*time.Second)
			s.broken("99 % of picks off in 3 s", s.movedOff(from, inAzure), 3*time.Second)
			s.lose(0)
		})
	})
}

// D7: the processes of a cloud are killed.
func TestCloudKilled(t *testing.T) {
	t.Parallel()
	run(t, setup{policy: perTry, http: true, strangers: true}, func(s *scene) {
		from := s.ledger.Now() + warm
		s.at(warm, func() {
			for _, n := range s.cloud("azure") {
				s.net.Kill(n.name)
			}
		})
		s.intrude(warm + 5*time.Second)
		s.load(200, warm+6*time.Second)
		s.succeed("from the kill on", s.safe(from, s.ledger.Now()), 0.9995)
		s.within("99 % of picks off", s.movedOff(from, inAzure), time.Second)
		s.lose(0)
	})
}
