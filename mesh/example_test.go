//lint:file-ignore SA4006 this is the first screen of the README, which leaves out the checks of err

package mesh_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
)

// checkout is a whole member: it can call payments and inventory, and serves
// until ctx ends.
func checkout(ctx context.Context, listener net.Listener) error {
	m, err := mesh.Join(ctx, mesh.Config{Service: "checkout"}) // Consul and SPIFFE from the environment
	defer m.Leave(ctx)

	conn, err := m.Dial("payments") // *grpc.ClientConn
	web := m.HTTPClient()           // *http.Client: http://inventory/items/7

	srv := m.NewGRPCServer()          // mTLS, health service and limits are in
	err = m.Serve(ctx, srv, listener) // register, serve until ctx ends, drain, deregister

	fmt.Println(conn.Target(), web.Timeout)
	return err
}

func Example() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go cancel() // a service would serve for longer
	fmt.Println(checkout(ctx, listener))
	// Output:
	// mesh:///payments 0s
	// <nil>
}

// Two members of one process, on the embedded defaults: an in-memory catalog and
// a development CA.
func Example_embedded() {
	ctx, cancel := context.WithCancel(context.Background())
	embedded, err := mesh.NewEmbedded(nil)
	if err != nil {
		log.Fatal(err)
	}
	inventory, err := mesh.Join(ctx, mesh.Config{Service: "inventory", Embedded: embedded})
	if err != nil {
		log.Fatal(err)
	}
	srv, err := inventory.NewHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "3 in stock")
	}))
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- inventory.Serve(ctx, srv, listener) }()

	checkout, err := mesh.Join(ctx, mesh.Config{Service: "checkout", Embedded: embedded})
	if err != nil {
		log.Fatal(err)
	}
	ready, found := context.WithCancel(ctx) // Serve announces in its own time
	_ = embedded.Catalog.Watch(ready, "inventory", func(s *resolver.Snapshot) {
		if len(s.Endpoints) > 0 {
			found()
		}
	})
	resp, err := checkout.HTTPClient().Get("http://inventory/items/7")
	if err != nil {
		log.Fatal(err)
	}
	body := make([]byte, 10)
	_, _ = resp.Body.Read(body)
	_ = resp.Body.Close()
	fmt.Println(resp.Status, string(body))

	cancel() // deregister, drain
	fmt.Println(<-served)
	_ = checkout.Leave(context.Background())
	_ = inventory.Leave(context.Background())
	// Output:
	// 200 OK 3 in stock
	// <nil>
}

func ExampleEffective() {
	settings, err := mesh.Effective(mesh.Config{Service: "checkout", DrainTimeout: -1})
	if err != nil {
		log.Fatal(err)
	}
	_ = settings[:1].Print(os.Stdout)
	drain, _ := settings.Get("DrainTimeout")
	fmt.Println(drain.Name, drain.Value, drain.Origin)
	// Output:
	// SETTING  VALUE     FROM    ENVIRONMENT
	// Service  checkout  struct  WEFT_SERVICE
	// DrainTimeout off struct
}
