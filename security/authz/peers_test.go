package authz

import (
	"testing"
)

// TestSetPeers: an intention with a peer counts for the trust domain that the peer has
// at the time, and a stream of its caller ends when the peer is gone.
func TestSetPeers(t *testing.T) {
	t.Parallel()
	partner := Intention{SourceName: "web", SourcePeer: "partner", DestinationName: "api", Action: Allow}
	a := start(t, Config{Scope: Scope{Service: "api", TrustDomain: domain}, Sources: []Source{Static{Default: Allow, Intentions: []Intention{partner}}}})
	caller := peerID(t, "spiffe://partner.example/ns/default/dc/eu/svc/web")
	if d := a.Decide(get(caller, "/")); d.Allowed || len(a.Problems()) != 1 {
		t.Errorf("with no peers: %+v, problems %v", d, a.Problems())
	}
	changed := a.Changed()
	peers := map[string]string{"partner": "partner.example"}
	if err := a.SetPeers(peers); err != nil {
		t.Fatal(err)
	}
	<-changed
	peers["partner"] = domain // the map is the caller's
	if d := a.Decide(get(caller, "/")); !d.Allowed || len(a.Problems()) != 0 {
		t.Errorf("with the peer: %+v, problems %v", d, a.Problems())
	}
	for name, bad := range map[string]map[string]string{
		"our own": {"p": domain}, "empty": {"p": ""}, "of two peers": {"p": "x.example", "q": "x.example"},
	} {
		if err := a.SetPeers(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	ended := make(chan Decision, 1)
	l := a.Track(get(caller, "/"), func(d Decision) { ended <- d })
	defer l.Done()
	if err := a.SetPeers(nil); err != nil {
		t.Fatal(err)
	}
	if d := <-ended; d.Allowed {
		t.Errorf("it ended with %+v", d)
	}
}

// TestSetPeersWhileRulesChange: rules that are read meanwhile are compiled with the
// peers that are known in the end.
func TestSetPeersWhileRulesChange(t *testing.T) {
	t.Parallel()
	src := newChanging()
	a := start(t, Config{Scope: Scope{Service: "api", TrustDomain: domain}, Sources: []Source{src}})
	partner := Rules{Default: Deny, Intentions: []Intention{{SourceName: "web", SourcePeer: "partner", DestinationName: "api", Action: Allow}}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 200 {
			src.next <- partner
		}
	}()
	for i := range 200 {
		td := "old.example"
		if i == 199 {
			td = "partner.example"
		}
		if err := a.SetPeers(map[string]string{"partner": td}); err != nil {
			t.Fatal(err)
		}
	}
	<-done
	src.next <- partner // the one before is in force
	src.next <- partner
	if d := a.Decide(get(peerID(t, "spiffe://partner.example/ns/default/dc/eu/svc/web"), "/")); !d.Allowed {
		t.Errorf("%+v", d)
	}
}
