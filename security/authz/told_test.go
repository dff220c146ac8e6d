package authz

import (
	"fmt"
	"slices"
	"testing"
)

// OnDecision hears of each request once, with what became of it and by which rule.
func TestOnDecision(t *testing.T) {
	t.Parallel()
	rules := Rules{Intentions: []Intention{l7("web", prefix(Allow, "/ok"))}}
	for name, tt := range map[string]struct {
		dry  bool
		path string
		want string
	}{
		"allowed":           {false, "/ok", "allow default/web => default/api, permission 1"},
		"denied":            {false, "/no", "deny default/web => default/api"},
		"in a dry run":      {true, "/no", "would_deny default/web => default/api"},
		"dry and allowed":   {true, "/ok", "allow default/web => default/api, permission 1"},
		"nobody's business": {false, "", ""},
	} {
		var heard []string
		a := start(t, Config{Scope: scope(), DryRun: tt.dry, Sources: []Source{Static(rules)},
			OnDecision: func(r Result, rule string) { heard = append(heard, fmt.Sprint(r, " ", rule)) }})
		var want []string
		if tt.path != "" {
			a.Admit(t.Context(), get(svc(t, "web"), tt.path))
			want = []string{tt.want}
		} else {
			a.Decide(get(svc(t, "web"), "/ok")) // a question, not a request
			_ = a.Peer(svc(t, "web"))
		}
		if !slices.Equal(heard, want) {
			t.Errorf("%s: heard %q, want %q", name, heard, want)
		}
	}
}

// A request that lasts and loses its right is told as revoked, once.
func TestOnDecisionRevoked(t *testing.T) {
	t.Parallel()
	src := newChanging()
	heard := make(chan Result, 9)
	a := start(t, Config{Scope: scope(), Sources: []Source{src}, OnDecision: func(r Result, _ string) { heard <- r }})
	src.next <- Rules{Intentions: []Intention{l4("web", Allow)}}
	if err := a.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := get(svc(t, "web"), "/x")
	if d := a.Admit(t.Context(), r); !d.Allowed {
		t.Fatal(d)
	}
	ended := make(chan struct{})
	live := a.Track(r, func(Decision) { close(ended) })
	defer live.Done()
	src.next <- Rules{Intentions: []Intention{l4("web", Deny)}}
	<-ended
	src.next <- Rules{} // the same again, which is no news
	src.next <- Rules{}
	if got := []Result{<-heard, <-heard}; !slices.Equal(got, []Result{Allowed, Revoked}) || len(heard) > 0 {
		t.Errorf("heard %v and %d more", got, len(heard))
	}
}
