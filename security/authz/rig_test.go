package authz

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/security"
)

const domain = "mesh.example"

// peerID is a caller.
func peerID(t testing.TB, id string) security.PeerID {
	t.Helper()
	got, err := spiffeid.FromString(id)
	if err != nil {
		t.Fatal(err)
	}
	return security.PeerID{ID: got}
}

// svc is a service of our own trust domain.
func svc(t testing.TB, name string) security.PeerID {
	t.Helper()
	return peerID(t, "spiffe://"+domain+"/ns/default/dc/eu/svc/"+name)
}

func scope() Scope {
	return Scope{Service: "api", TrustDomain: domain, Peers: map[string]string{"partner": "partner.example"}}
}

// start makes an authorizer that is closed when the test ends.
func start(t testing.TB, cfg Config) *Authorizer {
	t.Helper()
	if cfg.Service == "" {
		cfg.Scope = scope()
	}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return a
}

// get is an HTTP request.
func get(caller security.PeerID, path string, headers ...string) *Request {
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Add(headers[i], headers[i+1])
	}
	return &Request{Caller: caller, Protocol: "http", Method: "GET", Path: path, Headers: httpHeaders(h)}
}

// l4 is an intention without permissions, for the service api.
func l4(source string, action Action) Intention {
	return Intention{SourceName: source, DestinationName: "api", Action: action}
}

// l7 is an intention with permissions, for the service api.
func l7(source string, perms ...Permission) Intention {
	return Intention{SourceName: source, DestinationName: "api", Permissions: perms}
}

func prefix(a Action, p string) Permission {
	return Permission{Action: a, HTTP: &HTTPPermission{PathPrefix: p}}
}

// changing is a Source whose rules a test changes.
type changing struct{ next chan Rules }

func newChanging() *changing { return &changing{next: make(chan Rules)} }

func (c *changing) Watch(ctx context.Context, set func(Rules)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-c.next:
			set(r)
		}
	}
}

// logged is a log that can be read while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(io.Writer(l), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
