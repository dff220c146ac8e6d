package resolver

import (
	"errors"
	"fmt"
	"slices"
)

// Marker is a [Catalog] that can tell by more than an [Endpoint] carries whether it is
// of a part of its service: Consul knows checks, proxies and addresses of an instance.
type Marker interface {
	// Mark replaces the filters that the endpoints of a service are marked by, in the
	// source's own language; none ends it. From then on each snapshot that the source
	// makes has [Endpoint.Marks] by all of them, at once and as one. A filter that the
	// source refuses marks nothing. An error says why no endpoints, or not those of all
	// sources, will be marked; it changes nothing for the others.
	//
	// Mark does no I/O and may be called before, during and after a watch.
	Mark(service string, filters []string) error
}

// ErrNoMarks is the error of Mark of a source that cannot mark endpoints.
var ErrNoMarks = errors.New("resolver: the source cannot tell its endpoints apart by filters")

// Marks are the filters that the source of an endpoint has decided about it. They are
// immutable and shared by endpoints.
type Marks struct {
	// In are the filters that select the endpoint, Out those that do not; sorted.
	In, Out []string
}

// Marked reports whether a filter selects the endpoint, as its source sees it; ok is
// false if the source has not said.
func (e *Endpoint) Marked(filter string) (in, ok bool) {
	if e.Marks == nil {
		return false, false
	}
	if slices.Contains(e.Marks.In, filter) {
		return true, true
	}
	return false, slices.Contains(e.Marks.Out, filter)
}

func (m *Marks) equal(o *Marks) bool {
	if m == nil || o == nil || m == o {
		return m == o
	}
	return slices.Equal(m.In, o.In) && slices.Equal(m.Out, o.Out)
}

// mark asks a catalog for marks.
func mark(c Catalog, service string, filters []string) error {
	if m, ok := c.(Marker); ok {
		return m.Mark(service, filters)
	}
	return ErrNoMarks
}

// Mark implements [Marker], if the source does.
func (c *Cache) Mark(service string, filters []string) error {
	return mark(c.src, service, filters)
}

// Mark implements [Marker], for the sources that do.
func (m *Merged) Mark(service string, filters []string) error {
	var all []error
	for _, s := range m.sources {
		if err := mark(s.Catalog, service, filters); err != nil {
			all = append(all, fmt.Errorf("source %q: %w", clip(s.Name), err))
		}
	}
	return errors.Join(all...)
}

// Mark implements [Marker], if the filtered catalog does.
func (f filter) Mark(service string, filters []string) error {
	return mark(f.next, service, filters)
}
