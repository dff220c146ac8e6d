package consultest

import (
	"fmt"
	"net"
	"testing"
)

// TestPortsHaveOneOwner: two processes never have the same port, nor do two agents of
// one, until it is given back; a port that somebody listens on is left out.
func TestPortsHaveOneOwner(t *testing.T) {
	t.Parallel()
	const n = portBlock + 10
	var pools [2]portPool
	owner := map[int]int{}
	take := func(i int) int {
		t.Helper()
		port, err := pools[i].take()
		if err != nil {
			t.Fatal(err)
		}
		return port
	}
	for i := range pools {
		defer func() {
			for _, l := range pools[i].locks {
				if l != nil {
					_ = l.Close()
				}
			}
		}()
		for range n {
			port := take(i)
			if who, taken := owner[port]; taken || port < portMin || port >= portMax {
				t.Fatalf("%d got port %d, which %d has", i, port, who)
			}
			owner[port] = i
		}
	}
	for port := range owner {
		delete(owner, port)
		pools[0].give(port)
		for next := take(0); next != port; next = take(0) {
			if _, taken := owner[next]; taken {
				t.Fatalf("port %d, which is taken, came again", next)
			}
			owner[next] = 0
		}
		break
	}
	p := portPool{free: []int{take(0), take(0), take(0)}}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p.free[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", p.free[1]))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	want := p.free[2]
	if got, err := p.take(); err != nil || got != want {
		t.Errorf("port %d, %v, want %d, on which nobody listens", got, err, want)
	}
}
