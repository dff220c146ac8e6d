package consultest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// Ports are the loopback ports of one agent.
type ports struct{ http, grpc, grpcTLS, server, serfLAN, serfWAN int }

func (p ports) all() []int {
	return []int{p.http, p.grpc, p.grpcTLS, p.server, p.serfLAN, p.serfWAN}
}

// The ports lie below the range from which systems choose the local port of
// outgoing connections: while an agent is down nobody else's connection may
// take its port, and a client that dials it cannot connect to itself.
const (
	portMin   = 15000
	portMax   = 32000
	portBlock = 500 // a process takes so many at a time
)

// pool has the ports that this process may give away. Each process has blocks of its
// own, and a port has one owner at a time, so that nobody takes the ports of an agent
// that is down and will be back, or that has not come up yet.
var pool portPool

type portPool struct {
	mu    sync.Mutex
	free  []int // the first is the next; what comes back is last
	locks []*os.File
}

// take finds a port that nobody else listens on, neither for TCP nor for UDP.
func (p *portPool) take() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range 4 * portBlock {
		if len(p.free) == 0 {
			if err := p.grow(); err != nil {
				return 0, err
			}
		}
		port := p.free[0]
		p.free = p.free[1:]
		if unused(port) {
			return port, nil
		}
	}
	return 0, errors.New("consultest: no free loopback port found")
}

func (p *portPool) give(ports ...int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, ports...)
}

// grow takes another block, which is ours until the process ends.
func (p *portPool) grow() error {
	for _, n := range rand.Perm((portMax - portMin) / portBlock) {
		first := portMin + n*portBlock
		lock, ok := tryLock(filepath.Join(os.TempDir(), fmt.Sprintf("consultest-ports-%d.lock", first)))
		if !ok {
			continue
		}
		p.locks = append(p.locks, lock)
		for port := first; port < first+portBlock; port++ {
			p.free = append(p.free, port)
		}
		return nil
	}
	return fmt.Errorf("consultest: all ports from %d to %d are other processes', by the locks in %s", portMin, portMax, os.TempDir())
}

func unused(port int) bool {
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	_ = l.Close()
	u, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	_ = u.Close()
	return true
}

// freePorts finds six ports for an agent, which gives them back when it is stopped.
// A process that is none of ours may still take one before the agent does; Start
// then tries others.
func freePorts() (ports, error) {
	var p ports
	for _, dst := range []*int{&p.http, &p.grpc, &p.grpcTLS, &p.server, &p.serfLAN, &p.serfWAN} {
		var err error
		if *dst, err = pool.take(); err != nil {
			return p, err
		}
	}
	return p, nil
}

// FreePort is a loopback port for a process that cannot choose one itself. It is
// nobody else's until giveBack is called.
func FreePort() (port int, giveBack func(), err error) {
	port, err = pool.take()
	return port, sync.OnceFunc(func() { pool.give(port) }), err
}
