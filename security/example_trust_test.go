package security_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"sync"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/devca"
)

// partnerBundle is a bundle that comes from somewhere, and may change or end.
type partnerBundle struct {
	mu      sync.Mutex
	bundle  *x509bundle.Bundle
	changed chan struct{}
}

func (p *partnerBundle) Bundle() *x509bundle.Bundle {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bundle
}

func (p *partnerBundle) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

func (p *partnerBundle) set(b *x509bundle.Bundle) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bundle = b
	close(p.changed)
	p.changed = make(chan struct{})
}

// Workloads of a partner's trust domain can prove who they are while we have its bundle.
// Packages bundleendpoint and consulca bring such bundles.
func ExampleFederate() {
	ours, err := devca.New(devca.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	own, err := ours.Source("web")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer own.Close()
	partner := spiffeid.RequireTrustDomainFromString("partner.example")
	theirs := &partnerBundle{changed: make(chan struct{})}
	src, err := security.Federate(own, theirs)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer src.Close()
	known := func() bool {
		_, err := src.GetX509BundleForTrustDomain(partner)
		return err == nil
	}
	fmt.Println("at first:", known())
	changed := src.Changed()
	theirs.set(x509bundle.New(partner)) // in a program with their CA certificates
	<-changed
	fmt.Println("with the bundle:", known())
	theirs.set(nil)
	fmt.Println("without:", known())
	// Output:
	// at first: false
	// with the bundle: true
	// without: false
}

// A connection is closed when its caller may not connect any more.
func ExampleLive_Review() {
	ca, err := devca.New(devca.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	web, err := ca.Source("web")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer web.Close()
	payments, err := ca.Source("payments")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer payments.Close()
	live, err := security.NewLive(payments, security.LiveConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer live.Close()
	serverTLS, err := security.ServerTLS(live, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	clientTLS, err := security.ClientTLS(web, payments.ID().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	go func() { // in a program: http.Server.Serve(live.Listener(l, serverTLS)), or gRPC with security.ServerCredentials
		conn, err := live.Listener(l, serverTLS).Accept()
		if err != nil {
			return
		}
		_, _ = conn.Write([]byte("hello"))
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	conn := tls.Client(raw, clientTLS)
	defer conn.Close()
	greeting := make([]byte, 5)
	if _, err := conn.Read(greeting); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s, %d open\n", greeting, live.Open())
	fmt.Println("closed:", live.Review(security.AuthorizeIDs( /* nobody */ )))
	_, err = conn.Read(greeting)
	fmt.Println("the client can still read:", err == nil)
	// Output:
	// hello, 1 open
	// closed: 1
	// the client can still read: false
}

// What was observed becomes the least intentions that allow it, for a human to apply.
func ExampleSuggest() {
	list, err := security.Suggest([]security.Edge{
		{Caller: "web", Service: "orders", Method: "GET", Path: "/orders/4711", Count: 90},
		{Caller: "web", Service: "orders", Method: "GET", Path: "/orders/4712", Count: 10},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := json.MarshalIndent(list[0].Sources[0].Permissions[0], "", "  ")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(list[0].Name, list[0].Sources[0].Name, list[0].Sources[0].Description)
	fmt.Println(string(text))
	// Output:
	// orders web observed 100 calls
	// {
	//   "Action": "allow",
	//   "HTTP": {
	//     "PathRegex": "/orders/[^/]+",
	//     "Methods": [
	//       "GET"
	//     ]
	//   }
	// }
}

func ExampleAuthorizeIDs() {
	may := security.AuthorizeIDs(spiffeid.RequireFromString("spiffe://mesh.example/ns/default/dc/eu/svc/order"))
	for _, id := range []string{"spiffe://mesh.example/ns/default/dc/eu/svc/order", "spiffe://mesh.example/ns/default/dc/eu/svc/web"} {
		fmt.Println(may(security.PeerID{ID: spiffeid.RequireFromString(id)}))
	}
	// Output:
	// <nil>
	// not one of the 1 SPIFFE IDs that may connect
}

func ExampleParseServiceID() {
	id, err := security.ParseServiceID("spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/eu/svc/order")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(id.Service, id.Datacenter, id.SNI())
	// Output: order eu order.default.eu.internal.11111111-2222-3333-4444-555555555555.consul
}

// A server that also takes callers without TLS, until a date.
func ExamplePermissive() {
	ca, err := devca.New(devca.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	src, err := ca.Source("payments")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer src.Close()
	creds := security.ServerCredentials(src, nil)
	creds = security.PermissiveCredentials(creds, security.Permissive{
		Seen: func(remote net.Addr, accepted bool) { fmt.Println("plaintext from", remote, accepted) },
	})
	fmt.Println(creds.Info().SecurityProtocol) // for grpc.Creds
	// Output: tls
}
