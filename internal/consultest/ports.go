package consultest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are the loopback ports of one agent.
type ports struct{ http, grpc, grpcTLS, server, serfLAN, serfWAN int }

// The ports lie below the range from which systems choose the local port of
// outgoing connections: while an agent is down nobody else's connection may
// take its port, and a client that dials it cannot connect to itself.
const (
	portMin = 15000
	portMax = 32000
)

// freePorts finds six distinct ports that are free now for TCP and UDP. Someone
// may still take one before the agent does; Start then tries others.
func freePorts() (ports, error) {
	var p ports
	var held []interface{ Close() error }
	defer func() {
		for _, h := range held {
			h.Close()
		}
	}()
	for _, dst := range []*int{&p.http, &p.grpc, &p.grpcTLS, &p.server, &p.serfLAN, &p.serfWAN} {
		for try := 0; *dst == 0; try++ {
			if try == 1000 {
				return p, errors.New("consultest: no free loopback port found")
			}
			addr := fmt.Sprintf("127.0.0.1:%d", portMin+rand.IntN(portMax-portMin))
			l, err := net.Listen("tcp", addr)
			if err != nil {
				continue
			}
			held = append(held, l)
			u, err := net.ListenPacket("udp", addr)
			if err != nil {
				continue
			}
			held = append(held, u)
			*dst = l.Addr().(*net.TCPAddr).Port
		}
	}
	return p, nil
}
