package resolver

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

type marking struct{ got []string }

func (*marking) Watch(context.Context, string, func(*Snapshot)) error { return nil }

func (m *marking) Mark(service string, filters []string) error {
	m.got = append(m.got, service+": "+strings.Join(filters, ","))
	return nil
}

type plainCatalog struct{}

func (plainCatalog) Watch(context.Context, string, func(*Snapshot)) error { return nil }

// A request for marks reaches each source that can make them, and says which cannot.
func TestMarkReachesSources(t *testing.T) {
	t.Parallel()
	src := &marking{}
	cache, err := NewCache(src, CacheConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Filter(cache, func(*Endpoint) bool { return true }).(Marker).Mark("web", []string{"a", "b"}); err != nil {
		t.Error(err)
	}
	both, err := Merge(Source{Name: "aws", Catalog: cache}, Source{Name: "files", Catalog: plainCatalog{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := both.Mark("web", nil); !errors.Is(err, ErrNoMarks) || !strings.Contains(err.Error(), `"files"`) || strings.Contains(err.Error(), `"aws"`) {
		t.Errorf("got %v", err)
	}
	if want := []string{"web: a,b", "web: "}; !slices.Equal(src.got, want) {
		t.Errorf("got %q, want %q", src.got, want)
	}
}

// Marks are a part of an endpoint, also on disk.
func TestMarksOfEndpoint(t *testing.T) {
	t.Parallel()
	ep := func(m *Marks) *Endpoint {
		return &Endpoint{ID: ID{Source: "aws", Node: "n", Instance: "1"}, Service: "web", Addr: "10.0.0.1:80", Weight: 1, Marks: m}
	}
	e := ep(&Marks{In: []string{"a"}, Out: []string{"b"}})
	for filter, want := range map[string][2]bool{"a": {true, true}, "b": {false, true}, "c": {false, false}} {
		if in, ok := e.Marked(filter); in != want[0] || ok != want[1] {
			t.Errorf("%s: %v, %v", filter, in, ok)
		}
	}
	if _, ok := ep(nil).Marked("a"); ok {
		t.Error("an endpoint without marks has one")
	}
	if !e.Equal(ep(&Marks{In: []string{"a"}, Out: []string{"b"}})) || e.Equal(ep(nil)) || ep(nil).Equal(e) || e.Equal(ep(&Marks{Out: []string{"a", "b"}})) {
		t.Error("Equal does not look at marks")
	}
	data, err := encodeDisk("aws", "web", []*Endpoint{e}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if list, _, err := decodeDisk(data, "aws", "web"); err != nil || len(list) != 1 || !list[0].Equal(e) {
		t.Errorf("from disk: %v, %v", list, err)
	}
}
