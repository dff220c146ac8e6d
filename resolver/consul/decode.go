package consul

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/weft-mesh/weft/resolver"
)

// entry is one element of /v1/health/service/:name and of /v1/health/connect/:name, as
// far as we read it.
// Consul's own client drops some of these fields.
type entry struct {
	Node struct {
		Node, Datacenter, Address string
		TaggedAddresses           map[string]string
		Meta                      map[string]string
		Locality                  *locality
	}
	Service struct {
		ID, Service, Kind, Address string
		Port                       int
		TaggedAddresses            map[string]taggedAddress
		Tags                       []string
		Meta                       map[string]string
		Weights                    *struct{ Passing, Warning int }
		Locality                   *locality
		Connect                    struct{ Native bool }
		Proxy                      struct {
			DestinationServiceName string
			Config                 struct {
				Protocol any `json:"protocol"` // anything: users write this
			}
		}
	}
	Checks []struct{ Status string }
}

type locality struct{ Region, Zone string }

type taggedAddress struct {
	Address string
	Port    int
}

// list is a decoded answer: instances sorted by ID, without duplicates.
type list struct {
	instances []instance
	records   records
	plain     int // instances that are neither native nor a sidecar
	sidecars  int
	skipped   int
	reasons   []string // the first few, also of metadata that was cut
}

// instance is an endpoint without its identity, which needs the trust domain.
type instance struct {
	resolver.Endpoint
	path   string  // of the SPIFFE ID; empty if no identity is expected
	record *record // nil: none is kept
}

const maxReasons = 8

func (l *list) note(format string, args ...any) {
	if len(l.reasons) < maxReasons {
		l.reasons = append(l.reasons, fmt.Sprintf(format, args...))
	}
}

func (l *list) skip(format string, args ...any) {
	l.skipped++
	l.note(format, args...)
}

// decode reads an answer entry by entry: an entry of the wrong shape is skipped,
// JSON that is broken refuses the whole answer.
func (m mapping) decode(r io.Reader) (*list, error) {
	d := json.NewDecoder(r)
	t, err := d.Token()
	if err != nil {
		return nil, truncated(err)
	}
	l := &list{records: m.records}
	if t == nil { // null: Go's way to say none
		return l, nil
	}
	if t != json.Delim('[') {
		return nil, fmt.Errorf("want a JSON list, got %q", clip(fmt.Sprint(t)))
	}
	for n := 0; d.More(); n++ {
		var e entry
		raw, err := m.entry(d, &e)
		if err != nil {
			var wrong *json.UnmarshalTypeError
			if !errors.As(err, &wrong) {
				return nil, truncated(err)
			}
			l.skip("entry %d (%q): field %s cannot hold %s", n, clip(e.Service.ID), clip(wrong.Field), clip(wrong.Value))
			continue
		}
		in, err := m.instance(&e, l)
		if err != nil {
			l.skip("entry %d (node %q, service id %q): %v", n, clip(e.Node.Node), clip(e.Service.ID), err)
			continue
		}
		if raw != nil {
			if in.record, err = newRecord(raw); err != nil {
				l.note("node %q, service id %q: filters cannot be decided: %v", clip(e.Node.Node), clip(e.Service.ID), err)
			}
		}
		if in.path == "" {
			l.plain++
		}
		if e.Service.Kind == kindSidecar {
			l.sidecars++
		}
		l.instances = append(l.instances, in)
	}
	if _, err := d.Token(); err != nil { // the closing bracket
		return nil, truncated(err)
	}
	l.dedupe()
	return l, nil
}

// entry decodes the next entry. raw is its text, if records are kept.
func (m mapping) entry(d *json.Decoder, e *entry) (raw json.RawMessage, err error) {
	if m.records == noRecords {
		return nil, d.Decode(e)
	}
	if err := d.Decode(&raw); err != nil {
		return nil, err
	}
	return raw, json.Unmarshal(raw, e)
}

func newRecord(raw []byte) (*record, error) {
	r := &record{}
	if err := json.Unmarshal(raw, &r.Instance); err != nil {
		return nil, err
	}
	var index struct{ Service struct{ ModifyIndex uint64 } }
	err := json.Unmarshal(raw, &index)
	r.modified = index.Service.ModifyIndex
	return r, err
}

func truncated(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// dedupe sorts by ID and keeps the first of equal IDs.
func (l *list) dedupe() {
	slices.SortStableFunc(l.instances, func(a, b instance) int { return a.ID.Compare(b.ID) })
	l.instances = slices.CompactFunc(l.instances, func(a, b instance) bool {
		if a.ID != b.ID {
			return false
		}
		l.skip("node %q, service id %q: listed twice", clip(a.ID.Node), clip(a.ID.Instance))
		return true
	})
}

// jsonInto decodes a whole answer.
func jsonInto(v any) func(io.Reader) error {
	return func(r io.Reader) error { return json.NewDecoder(r).Decode(v) }
}
