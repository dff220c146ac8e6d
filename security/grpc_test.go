package security_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/authz"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/security"
)

type idKey struct{}

func idAttr(a *attributes.Attributes) string {
	id, _ := a.Value(idKey{}).(string) // nil attributes have no values
	return id
}

// A channel's addresses have identities of their own.
func TestIdentityPerAddress(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	var calls atomic.Int64
	addr := grpcServer(t, security.ServerCredentials(p.server, nil), &calls)
	for name, tt := range map[string]struct{ id, want string }{
		"right":       {serverID, ""},
		"wrong":       {clientID, "security: peer is " + serverID + ", expected " + clientID},
		"none":        {"", "no expected SPIFFE ID"},
		"malformed":   {"payments", "scheme is missing"},
		"only domain": {"spiffe://" + tdA, "the path is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			r := manual.NewBuilderWithScheme("test")
			r.InitialState(resolver.State{Endpoints: []resolver.Endpoint{{Addresses: []resolver.Address{
				{Addr: addr, Attributes: attributes.New(idKey{}, tt.id)},
			}}}})
			conn, err := grpc.NewClient("test:///payments", grpc.WithResolvers(r),
				grpc.WithTransportCredentials(security.ClientCredentials(p.client, idAttr)))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			before := calls.Load()
			_, err = healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), tt.want) || calls.Load() != before {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// deaf is a connection that must not be written to.
type deaf struct {
	net.Conn
	written atomic.Int64
}

func (d *deaf) Write(b []byte) (int, error) { d.written.Add(int64(len(b))); return d.Conn.Write(b) }

func TestFailsClosedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for name, creds := range map[string]credentials.TransportCredentials{
		"no source":       security.ClientCredentials(nil, expectID(serverID)),
		"no function":     security.ClientCredentials(p.client, nil),
		"no ID":           security.ClientCredentials(p.client, expectID("")),
		"server's creds":  security.ServerCredentials(p.server, nil),
		"cloned no ID":    security.ClientCredentials(p.client, expectID("")).Clone(),
		"malformed ID":    security.ClientCredentials(p.client, expectID("x")),
		"server's clones": security.ServerCredentials(p.server, nil).Clone(),
	} {
		a, b := net.Pipe()
		raw := &deaf{Conn: a}
		if _, _, err := creds.ClientHandshake(t.Context(), "payments", raw); err == nil || raw.written.Load() > 0 {
			t.Errorf("%s: %v, %d bytes sent", name, err, raw.written.Load())
		}
		if name == "no ID" {
			if _, _, err := creds.ClientHandshake(t.Context(), "payments", raw); !errors.Is(err, security.ErrNoExpectedID) {
				t.Errorf("%v, want ErrNoExpectedID", err)
			}
		}
		if _, _, err := security.ServerCredentials(nil, nil).ServerHandshake(b); err == nil {
			t.Error("a server without a source shook hands")
		}
		_, _ = a.Close(), b.Close()
	}
	if _, err := security.ClientTLS(nil, serverID); err == nil {
		t.Error("ClientTLS without a source")
	}
	if _, err := security.ServerTLS(nil, nil); err == nil {
		t.Error("ServerTLS without a source")
	}
	if _, err := security.DialTLS(p.client, nil, nil); err == nil {
		t.Error("DialTLS without identities")
	}
}

func TestAuthorityMayBeAnything(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	var calls atomic.Int64
	addr := grpcServer(t, security.ServerCredentials(p.server, nil), &calls)
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithAuthority("payments"),
		grpc.WithTransportCredentials(security.ClientCredentials(p.client, expectID(serverID))))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}, grpc.CallAuthority("other")); err != nil {
		t.Error(err)
	}
}

// Policies of grpc/authz must see the identity: an AuthInfo that hides it makes
// their DENY rules silent.
func TestAuthzPoliciesSeeThePeer(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for name, tt := range map[string]struct {
		policy string
		want   codes.Code
	}{
		"denied":           {`{"name":"x","deny_rules":[{"name":"d","source":{"principals":["` + clientID + `"]}}],"allow_rules":[{"name":"a"}]}`, codes.PermissionDenied},
		"another denied":   {`{"name":"x","deny_rules":[{"name":"d","source":{"principals":["spiffe://a.example/other"]}}],"allow_rules":[{"name":"a"}]}`, codes.OK},
		"allowed":          {`{"name":"x","allow_rules":[{"name":"a","source":{"principals":["` + clientID + `"]}}]}`, codes.OK},
		"another allowed":  {`{"name":"x","allow_rules":[{"name":"a","source":{"principals":["spiffe://a.example/other"]}}]}`, codes.PermissionDenied},
		"denied by prefix": {`{"name":"x","deny_rules":[{"name":"d","source":{"principals":["spiffe://a.example/*"]}}],"allow_rules":[{"name":"a"}]}`, codes.PermissionDenied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			policy, err := authz.NewStatic(tt.policy)
			if err != nil {
				t.Fatal(err)
			}
			var calls atomic.Int64
			addr := grpcServer(t, security.ServerCredentials(p.server, nil), &calls, grpc.UnaryInterceptor(policy.UnaryInterceptor))
			if err := grpcCall(t, security.ClientCredentials(p.client, expectID(serverID)), addr); status.Code(err) != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestALPN(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	ccfg := must[*tls.Config](t)(security.ClientTLS(p.client, serverID))
	scfg := must[*tls.Config](t)(security.ServerTLS(p.server, nil))
	for name, tt := range map[string]struct {
		protos []string
		ok     bool
	}{
		"h2":               {[]string{"h2"}, true},
		"none":             {nil, true}, // Consul's built-in proxy
		"h2 among others":  {[]string{"http/1.1", "h2"}, true},
		"http/1.1 only":    {[]string{"http/1.1"}, false},
		"another protocol": {[]string{"mqtt"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for role, shake := range map[string]func(client, server net.Conn) (error, error){
				"our server": func(client, server net.Conn) (error, error) {
					cfg := ccfg.Clone()
					cfg.NextProtos = tt.protos
					return both(func() error { return tls.Client(client, cfg).Handshake() }, func() error {
						_, _, err := security.ServerCredentials(p.server, nil).ServerHandshake(server)
						return err
					})
				},
				"our client": func(client, server net.Conn) (error, error) {
					cfg := scfg.Clone()
					cfg.NextProtos = tt.protos
					return both(func() error {
						_, _, err := security.ClientCredentials(p.client, expectID(serverID)).ClientHandshake(t.Context(), "payments", client)
						return err
					}, func() error { return tls.Server(server, cfg).Handshake() })
				},
			} {
				a, b := netPipe(t)
				cerr, serr := shake(a, b)
				if ok := cerr == nil && serr == nil; ok != tt.ok {
					t.Errorf("%s: client %v, server %v, want ok %v", role, cerr, serr, tt.ok)
				}
				_, _ = a.Close(), b.Close()
			}
		})
	}
}

// both runs the two ends at once.
func both(client, server func() error) (cerr, serr error) {
	var wg sync.WaitGroup
	wg.Go(func() { serr = server() })
	cerr = client()
	wg.Wait()
	return cerr, serr
}

func TestHandshakeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		go func() { _, _ = b.Read(make([]byte, 1<<16)) }() // takes the ClientHello and says nothing
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		_, _, err := security.ClientCredentials(p.client, expectID(serverID)).ClientHandshake(ctx, "payments", a)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestPeerFromContextWithoutMTLS(t *testing.T) {
	t.Parallel()
	if id, ok := security.PeerFromContext(t.Context()); ok {
		t.Errorf("got %v", id)
	}
	if id, ok := security.PeerFromRequest(nil); ok {
		t.Errorf("got %v", id)
	}
}

func TestAuthorizers(t *testing.T) {
	t.Parallel()
	td := spiffeid.RequireTrustDomainFromString(tdA)
	peer := security.PeerID{ID: spiffeid.RequireFromString(clientID)}
	for name, tt := range map[string]struct {
		authorize security.Authorizer
		ok        bool
	}{
		"member":           {security.AuthorizeMemberOf(td), true},
		"other domain":     {security.AuthorizeMemberOf(spiffeid.RequireTrustDomainFromString("b.example")), false},
		"longer domain":    {security.AuthorizeMemberOf(spiffeid.RequireTrustDomainFromString("x.a.example")), false},
		"no domain":        {security.AuthorizeMemberOf(spiffeid.TrustDomain{}), false},
		"its ID":           {security.AuthorizeIDs(spiffeid.RequireFromString(serverID), peer.ID), true},
		"other ID":         {security.AuthorizeIDs(spiffeid.RequireFromString(serverID)), false},
		"no ID":            {security.AuthorizeIDs(), false},
		"the zero ID only": {security.AuthorizeIDs(spiffeid.ID{}), false},
	} {
		if err := tt.authorize(peer); (err == nil) != tt.ok {
			t.Errorf("%s: %v, want ok %v", name, err, tt.ok)
		}
		if err := tt.authorize(security.PeerID{}); err == nil {
			t.Errorf("%s: accepts the zero peer", name)
		}
	}
}
