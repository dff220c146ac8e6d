package workload_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/internal/workloadtest"
	source "github.com/weft-mesh/weft/security/workload"
)

// TestSecretsAreNotShown: neither the SVID's private key nor a JWT-SVID is in what the
// source logs, answers or prints, while it is served, denied, and sent nonsense.
func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	base := workloadtest.New(t)
	base.Stop()
	a := &jwtAgent{Agent: base, key: signer, life: time.Hour}
	base.ServeAs(a)
	ca, other := testpki.New(t, "a.example"), testpki.New(t, "a.example")
	svid := ca.SVID(t, web)
	a.Set(nil, []*testpki.CA{ca}, nil, svid)
	var mu sync.Mutex
	var seen bytes.Buffer
	show := func(values ...any) {
		mu.Lock()
		defer mu.Unlock()
		for _, v := range values {
			text, err := json.Marshal(v)
			fmt.Fprintf(&seen, "%v\n%+v\n%#v\n%s %v\n", v, v, v, text, err)
		}
	}
	cfg := source.Config{Addr: a.Addr, Logger: slog.New(slog.NewJSONHandler(&locked{&mu, &seen}, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	s := open(t, cfg)
	known := testpki.Secrets{}
	known.Key(t, "the SVID's key", svid.PrivateKey)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	token, err := s.JWT(ctx, "payments")
	if err != nil {
		t.Fatal(err)
	}
	known.Token("the JWT-SVID", token.Marshal())
	known.Token("its signature", token.Marshal()[strings.LastIndexByte(token.Marshal(), '.')+1:])
	show(cfg, s, s.Status(), token.ID, token.Claims)

	// Tokens that are refused.
	for _, bad := range []string{token.Marshal() + "x", "x" + token.Marshal(), token.Marshal()} {
		if _, err := s.ValidateJWT(ctx, bad, "orders"); err == nil {
			t.Error("accepted")
		} else {
			show(err.Error(), err)
		}
	}
	// SVIDs that are, with the key of the good one, and an agent that says no.
	expired := ca.SVID(t, web, func(s *testpki.Spec) { s.Template.NotAfter = time.Now().Add(-time.Second) })
	strange := other.SVID(t, web)
	known.Key(t, "the expired SVID's key", expired.PrivateKey)
	known.Key(t, "the strange SVID's key", strange.PrivateKey)
	mixed := *svid
	mixed.PrivateKey = strange.PrivateKey
	reason := ""
	news := func() bool {
		st := s.Status()
		if st.Err == nil || st.Err.Error() == reason {
			return false
		}
		reason = st.Err.Error()
		show(st, st.Err)
		return true
	}
	a.Set(nil, []*testpki.CA{ca}, nil, expired)
	until(t, news)
	a.Set(nil, []*testpki.CA{ca}, nil, strange)
	until(t, news)
	a.Set(nil, []*testpki.CA{ca}, nil, &mixed) // go-spiffe refuses the pair
	until(t, news)
	a.Set(status.Error(codes.PermissionDenied, "not registered"), []*testpki.CA{ca}, nil)
	until(t, news)
	a.gone.Store(true)
	if _, err := s.JWT(ctx, "new"); err == nil {
		t.Error("a token without the agent")
	} else {
		show(err.Error(), errors.Unwrap(err))
	}
	_ = s.Close()

	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{"svid.rotated", "identity.lost", "not registered"} {
		if !strings.Contains(seen.String(), want) {
			t.Errorf("what was collected lacks %q: the test sees nothing", want)
		}
	}
	if found := known.Find(seen.String()); found != "" {
		t.Error(found)
	}
	fmt.Fprintf(&seen, "%+v", token) // go-spiffe's own type holds it
	if known.Find(seen.String()) == "" {
		t.Error("a planted token is not found")
	}
}

type locked struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
