// Command consulpath prints the path of the Consul binary that tests, examples
// and benchmarks run, and builds it first if there is none yet:
//
//	$(go run ./internal/consultest/consulpath) agent -dev
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/weft-mesh/weft/internal/consultest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	path, err := consultest.Binary(ctx, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(path)
}
