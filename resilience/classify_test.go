package resilience

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

func TestVerdict(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, o := range []Outcome{
		{}, {Unsent: true}, {Class: Success}, {Class: Failure}, {Class: Retryable, Unsent: true},
		{Class: Throttled, RetryAfter: time.Second}, {Class: Throttled, RetryAfter: -1}, {Class: Retryable, RetryAfter: MaxRetryAfter},
	} {
		var v Verdict
		v.begin(nil)
		if _, ok := v.take(broken); ok {
			t.Error("an outcome that nobody left")
		}
		if got := v.Judge(Ended{Err: broken}, o); got != o {
			t.Errorf("%+v becomes %+v", o, got)
		}
		if got, ok := v.take(broken); !ok || got != o {
			t.Errorf("%+v is taken as %+v, %v", o, got, ok)
		}
		if _, ok := v.take(nil); ok {
			t.Error("the outcome of an error is taken for a success")
		}
	}
	var v Verdict // sent once is sent, whatever comes after
	v.begin(nil)
	v.Judge(Ended{Err: broken}, Outcome{Class: Retryable})
	v.Judge(Ended{Err: broken}, Outcome{Class: Retryable, Unsent: true})
	if o, _ := v.take(broken); o.Unsent {
		t.Error("the first of two sendings is forgotten")
	}
	var none *Verdict
	none.begin(nil)
	if none.Judge(Ended{}, Outcome{Class: Success}).Class != Success {
		t.Error("no Verdict")
	}
}

// What says nothing about the endpoint is nobody's to judge.
func TestClassifierIsNotAskedAboutNeutral(t *testing.T) {
	t.Parallel()
	c := Classifier(func(Ended, Outcome) Outcome { return Outcome{Class: Failure} })
	if o := c.Judge(Ended{}, Outcome{Unsent: true}); o != (Outcome{Unsent: true}) {
		t.Errorf("a neutral outcome became %+v", o)
	}
	if o := c.Judge(Ended{}, succeeded); o.Class != Failure {
		t.Errorf("a success became %+v", o)
	}
	if o := Classifier(nil).Judge(Ended{}, succeeded); o != succeeded {
		t.Errorf("%+v without a Classifier", o)
	}
}

// locked says that an answer which others take for the caller's fault may be cured.
func locked(e Ended, o Outcome) Outcome {
	if e.Code == uint32(codes.Aborted) || e.Status == http.StatusConflict {
		o.Class = Retryable
	}
	return o
}

// A Loop has its Classifier without any balancer too, over gRPC and HTTP.
func TestClassifierWithStockTransports(t *testing.T) {
	t.Parallel()
	l, err := NewLoop(LoopConfig{Classify: locked})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	s := &pays{unary: func(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		if n++; n == 1 {
			return nil, status.Error(codes.Aborted, "locked")
		}
		return &pb.SimpleResponse{}, nil
	}}
	client := dial(t, s.serve(t), GRPCClientConfig{Loop: l, Idempotent: []string{unaryMethod}})
	if _, err := client.UnaryCall(t.Context(), &pb.SimpleRequest{}); err != nil || n != 2 {
		t.Errorf("grpc: %v after %d attempts", err, n)
	}
	m := 0
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if m++; m == 1 {
			w.WriteHeader(http.StatusConflict)
		}
	}))
	defer web.Close()
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	retrying, err := NewHTTPClient(tr, HTTPClientConfig{LoopFor: func(string) *Loop { return l }})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: retrying}).Get(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _ = resp.Body.Close(); resp.StatusCode != http.StatusOK || m != 2 {
		t.Errorf("http: %d after %d attempts", resp.StatusCode, m)
	}
}

// Attempts that run at the same time do not share a Verdict.
func TestHedgesHaveTheirOwnVerdicts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, err := NewLoop(LoopConfig{Hedge: Hedge{Enabled: true, Delay: time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		ctx := &verdictContext{Context: t.Context()}
		var seen [3]*Verdict
		r := l.Do(ctx, &Info{Idempotent: true}, AttemptFunc(func(ctx context.Context, n int) Outcome {
			_, seen[n] = l.verdict(ctx)
			time.Sleep(time.Duration(3-n) * time.Second)
			return succeeded
		}))
		r.End()
		if seen[1] != &ctx.v || seen[2] == nil || seen[2] == seen[1] {
			t.Errorf("the first has %p, the second %p; that of the call is %p", seen[1], seen[2], &ctx.v)
		}
	})
}
