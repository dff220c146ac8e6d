package drills

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/mesh"
)

// D15: the issuer is dead until certificates have expired, and then it is back.
func TestIssuerDead(t *testing.T) {
	t.Parallel()
	for _, dead := range []time.Duration{time.Second, 20 * time.Second, 2 * time.Minute} {
		t.Run(dead.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newRotation(t, -1, nil) // connections of any age: expiry ends them
				defer w.close()
				synctest.Wait()
				expires := time.Now().Add(svidLife - time.Second)
				ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
				defer cancel()
				w.must(visit(ctx, w.caller, "http://"+web+"/"))
				pass(time.Until(expires) - 2*time.Second)
				open := w.openTwo(ctx, w.caller, w.rpc)
				pass(time.Second)
				for _, end := range open {
					if end.at.Load() != 0 {
						t.Errorf("%s ended before the certificates did", end.what)
					}
				}
				pass(6 * time.Second)
				for _, end := range open {
					if end.at.Load() == 0 {
						t.Errorf("%s is open 5 s after the certificates have expired", end.what)
					}
				}
				// Callers try all the time.
				back := time.Now().Add(dead)
				for time.Now().Before(back) {
					short, cancel := context.WithTimeout(ctx, time.Second)
					_, rpc := w.rpc.UnaryCall(short, &grpc_testing.SimpleRequest{})
					web := visit(short, w.caller, "http://"+web+"/")
					cancel()
					if rpc == nil || web == nil {
						t.Fatal("a call was made with expired certificates")
					}
					pass(200 * time.Millisecond)
				}
				w.own.renew(t, w.ca) // the caller first: its next attempt is refused yet
				pass(500 * time.Millisecond)
				w.renew(w.members)
				began := time.Now()
				for name, call := range map[string]func(context.Context) error{
					"gRPC": func(ctx context.Context) error {
						_, err := w.rpc.UnaryCall(ctx, &grpc_testing.SimpleRequest{}, grpc.WaitForReady(true))
						return err
					},
					"HTTP": func(ctx context.Context) error { return visit(ctx, w.caller, "http://"+web+"/") },
				} {
					var err error
					for time.Since(began) < time.Minute {
						if err = call(ctx); err == nil {
							break
						}
						pass(50 * time.Millisecond)
					}
					took := time.Since(began)
					t.Logf("%s is back after %v (promised: 2 s)", name, took)
					if err != nil || took > 2*time.Second {
						t.Errorf("%s: back after %v, %v", name, took, err)
					}
					began = time.Now().Add(-took)
				}
			})
		})
	}
}

// openTwo opens a stream and a response that do not end by themselves.
func (w *rotation) openTwo(ctx context.Context, m *mesh.Mesh, rpc grpc_testing.TestServiceClient) []*end {
	var ends []*end
	wait := func(what string, f func() error) {
		e := &end{what: what}
		ends = append(ends, e)
		go func() {
			for f() == nil {
			}
			e.at.Store(int64(w.ledger.Now()))
		}()
	}
	st, err := rpc.FullDuplexCall(ctx, grpc.WaitForReady(true))
	w.must(err)
	w.must(st.Send(&grpc_testing.StreamingOutputCallRequest{}))
	_, err = st.Recv()
	w.must(err)
	wait("the stream of "+m.Service(), func() error { _, err := st.Recv(); return err })
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+web+"/open", nil)
	w.must(err)
	resp, err := m.HTTPClient().Do(req)
	w.must(err)
	w.closers = append(w.closers, func() { _ = resp.Body.Close() })
	wait("the response to "+m.Service(), func() error { _, err := resp.Body.Read(make([]byte, 1)); return err })
	return ends
}
