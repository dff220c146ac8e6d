package balancer

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestDead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &Store{}
		r := newRig(t, Config{Store: store})
		list := eps(aws, "a", 2)
		r.Update(snapshotOf(list))
		r.connectAll()
		nodes := r.open()
		r.SetState(nodes[0], Failed, errRefused)
		time.Sleep(4 * time.Second)
		if store.Dead(nodes[0].ID) {
			t.Error("dead after 4 s")
		}
		time.Sleep(2 * time.Second)
		r.SetState(nodes[0], Failed, errRefused) // another attempt does not begin the time anew
		if !store.Dead(nodes[0].ID) || store.Dead(nodes[1].ID) || store.Dead(eps(gcp, "g", 1)[0].ID) {
			t.Error("only the endpoint that refuses for 6 s is dead")
		}
		r.SetState(nodes[0], Ready, nil)
		if store.Dead(nodes[0].ID) {
			t.Error("dead and connected")
		}
	})
}
