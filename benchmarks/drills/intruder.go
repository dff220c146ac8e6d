package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/drill"
)

// The caller may call everything but this method: an intention in Consul says so.
const forbidden = "/grpc.testing.TestService/CacheableUnaryCall"

// intrusion is added to the numbers of forbidden requests on their way.
const intrusion = 1 << 30

func (s *stage) service() string { return "drill-" + s.name }

// forbid writes the intention, to the first datacenter, and waits until the others have
// copied it, which takes a new federation seconds at times: until then their endpoints
// allow it, for that is what their Consul says.
func (s *stage) forbid(ctx context.Context) error {
	entries := s.agents[0].Client().ConfigEntries()
	for _, e := range []api.ConfigEntry{
		&api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: s.service(), Protocol: "grpc"},
		&api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: s.service(), Sources: []*api.SourceIntention{{
			Name: "caller", Permissions: []*api.IntentionPermission{
				{Action: api.IntentionActionDeny, HTTP: &api.IntentionHTTPPermission{PathExact: forbidden}},
				{Action: api.IntentionActionAllow, HTTP: &api.IntentionHTTPPermission{PathPrefix: "/"}},
			},
		}}},
	} {
		if _, _, err := entries.Set(e, nil); err != nil {
			return fmt.Errorf("%s: %w", e.GetKind(), err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	match := &api.IntentionMatch{By: api.IntentionMatchDestination, Names: []string{s.service()}}
	for i, a := range s.agents {
		for {
			found, _, err := a.Client().Connect().IntentionMatch(match, (&api.QueryOptions{}).WithContext(ctx))
			if err == nil && len(found[s.service()]) > 0 {
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("datacenter %s has no copy of the intention after a minute: %w", clouds[i], errors.Join(err, ctx.Err()))
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

// awaitForbidden waits until the intention is in force where calls go.
func (s *stage) awaitForbidden(ctx context.Context) error {
	for denied := 0; denied < 30; denied++ {
		if ctx.Err() != nil {
			return errors.New("the intention is not in force after 20 s")
		}
		if _, err := s.client.CacheableUnaryCall(ctx, &grpc_testing.SimpleRequest{}); status.Code(err) != codes.PermissionDenied {
			denied = -1
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}

// intrude makes forbidden requests for a while.
func (s *stage) intrude(length time.Duration) {
	drill.Open(s.ctx, s.intrusions, drill.Load{Rate: 5, Length: length, Do: func(ctx context.Context, r *drill.Request) error {
		_, err := s.client.CacheableUnaryCall(metadata.AppendToOutgoingContext(ctx, idKey, strconv.Itoa(intrusion+r.ID)), &grpc_testing.SimpleRequest{})
		return err
	}})
}

// got notes that a handler has a request.
func (s *stage) got(id int, name string, at time.Time) {
	if id >= intrusion {
		s.intrusions.GotAt(id-intrusion, name, at)
		return
	}
	s.ledger.GotAt(id, name, at)
}

// checkDenied is I4 with at least one request that was denied.
func (s *stage) checkDenied() error {
	reqs := s.intrusions.Requests(nil)
	if len(reqs) == 0 {
		return errors.New("I4: no forbidden request was made, so nothing is shown")
	}
	return drill.CheckDenied(reqs)
}

// watchSets notes how many endpoints the caller knows, every few milliseconds.
func (s *stage) watchSets() (stop func() []int) {
	var sizes []int
	var wg sync.WaitGroup
	end := make(chan struct{})
	wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			n := 0
			for _, src := range s.caller.Status() {
				if src.Service == s.service() {
					n += src.Endpoints
				}
			}
			if len(sizes) == 0 || sizes[len(sizes)-1] != n {
				sizes = append(sizes, n)
			}
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	})
	return func() []int { close(end); wg.Wait(); return sizes }
}
