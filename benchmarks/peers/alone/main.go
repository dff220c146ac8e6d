// Alone is bare grpc-go with mutual TLS in a program that links nothing else: what
// overhead's bare, which is in one program with the mesh, does not show.
package main

import (
	"github.com/weft-mesh/weft/benchmarks/internal/contest"
	"github.com/weft-mesh/weft/benchmarks/internal/stock"
)

func main() {
	contest.Peer(contest.Contender{Name: "alone", Serve: stock.Serve(), Dial: stock.Dial(),
		About: "bare in a program that links nothing of the mesh"})
}
