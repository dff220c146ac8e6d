package mesh

import (
	"io"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"
)

// TestPermissiveMigration: plaintext callers are let in, counted and named while
// the date lasts, refused and counted after it, and refused by default.
func TestPermissiveMigration(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		until time.Time
		ok    bool
		seen  [2]uint64
	}{
		"off":  {},
		"on":   {time.Now().Add(time.Hour), true, [2]uint64{2, 0}},
		"over": {time.Now().Add(-time.Hour), false, [2]uint64{0, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := embedded(t)
			m := member(t, Config{Service: "pay", Embedded: e, Permissive: tt.until})
			gaddr, _ := serve(t, m, grpcServer(m, &echo{}))
			haddr, _ := serve(t, m, httpServerOf(t, m, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello") }))
			conn, err := grpc.NewClient("passthrough:///"+gaddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := grpc_testing.NewTestServiceClient(conn).EmptyCall(bound(t), &grpc_testing.Empty{}); (err == nil) != tt.ok {
				t.Errorf("gRPC in plaintext: %v, want ok %v", err, tt.ok)
			}
			conn.Close() // it would dial again
			tr := &http.Transport{DisableKeepAlives: true}
			resp, err := (&http.Client{Transport: tr}).Get("http://" + haddr + "/")
			if got := err == nil && resp.StatusCode == http.StatusOK; got != tt.ok {
				t.Errorf("HTTP in plaintext: %v, want ok %v", err, tt.ok)
			}
			if err == nil {
				_ = resp.Body.Close()
			}
			callers := m.PlaintextCallers()
			if tt.seen == [2]uint64{} {
				if len(callers) != 0 {
					t.Errorf("callers %+v", callers)
				}
			} else if len(callers) != 1 || !callers[0].Addr.IsLoopback() || tt.ok != (callers[0].Refused == 0) || callers[0].Accepted+callers[0].Refused < 2 {
				t.Errorf("callers %+v, want one with %v", callers, tt.seen)
			}
			other := member(t, Config{Service: "web", Embedded: e})
			if _, err := dial(t, other, "pay").EmptyCall(bound(t), &grpc_testing.Empty{}); err != nil {
				t.Errorf("mTLS: %v", err)
			}
			if body, err := get(bound(t), other, "http://pay/"); err != nil || body != "hello" {
				t.Errorf("mTLS: %q, %v", body, err)
			}
		})
	}
}
