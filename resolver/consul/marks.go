package consul

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/internal/bexpr"
)

// marker is a filter that the endpoints of a service are marked by.
type marker struct {
	expr   string
	filter *bexpr.Filter
}

// records says what is kept of an answer's entries, for filters.
type records uint8

const (
	noRecords     records = iota
	mergedRecords         // as read, with the central configuration merged into proxies
	asRegistered          // with proxies as they were registered, which is what Consul filters
)

// need is what filters read.
func need(marks []marker) records {
	n := noRecords
	for _, m := range marks {
		n = max(n, mergedRecords)
		if m.filter.Reads(merges) {
			return asRegistered
		}
	}
	return n
}

// merges reports whether merge-central-config changes a field. The others of a proxy
// are about its own instance.
func merges(field string) bool {
	return strings.HasPrefix(field, "Service.Proxy.") &&
		!strings.HasPrefix(field, "Service.Proxy.Destination") && !strings.HasPrefix(field, "Service.Proxy.LocalService")
}

// Mark implements [resolver.Marker]: filters are in Consul's language, as ?filter= and
// the subsets of a service-resolver are, and are decided as Consul decides them, on the
// whole entry that it has of an instance. Endpoints that are known are marked at once if
// the service has had filters, and after one read from Consul if it had none.
func (c *Catalog) Mark(service string, filters []string) error {
	var marks []marker
	for _, expr := range filters {
		if f, err := bexpr.Compile(expr); err == nil {
			marks = append(marks, marker{expr, f})
		}
	}
	slices.SortFunc(marks, func(a, b marker) int { return strings.Compare(a.expr, b.expr) })
	marks = slices.CompactFunc(marks, sameMarker)
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.EqualFunc(c.marks[service], marks, sameMarker) {
		return nil
	}
	if len(marks) == 0 {
		delete(c.marks, service)
	} else {
		c.marks[service] = marks
	}
	for w := range c.watches {
		if w.service == service && w.view.mark(marks) {
			w.interrupt()
		}
	}
	return nil
}

func sameMarker(a, b marker) bool { return a.expr == b.expr }

// interrupt ends what the watch waits for, so that it reads the list again.
func (w *watch) interrupt() {
	if cancel := w.cancel.Load(); cancel != nil {
		(*cancel)()
	}
}

// mark replaces the filters. It reports whether the list must be read again for them.
func (v *view) mark(marks []marker) (again bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.marks, v.made = marks, nil
	if v.list == nil {
		return true // an answer that is under way has no records
	}
	if v.list.records < need(marks) {
		return true
	}
	if len(marks) == 0 {
		v.list.forget()
	}
	s := *v.snap
	if s.Endpoints = v.build(); !sameSlice(s.Endpoints, v.snap.Endpoints) {
		v.emit(&s)
	}
	return false
}

// need is what a list must have for the filters, and whether the view's own has it.
func (v *view) need() (n records, has bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n = need(v.marks)
	return n, v.list == nil || v.list.records >= n
}

// marksOf are the marks of an instance. Instances with the same ones share them.
func (v *view) marksOf(r *record) *resolver.Marks {
	if len(v.marks) == 0 || r == nil {
		return nil
	}
	outcome := make([]byte, len(v.marks))
	for i, m := range v.marks {
		if m.filter.Match(&r.Instance) {
			outcome[i] = 1
		}
	}
	if made := v.made[string(outcome)]; made != nil {
		return made
	}
	made := &resolver.Marks{}
	for i, m := range v.marks {
		if outcome[i] == 1 {
			made.In = append(made.In, m.expr)
		} else {
			made.Out = append(made.Out, m.expr)
		}
	}
	if v.made == nil {
		v.made = map[string]*resolver.Marks{}
	}
	v.made[string(outcome)] = made
	return made
}

// record is an entry as filters read it.
type record struct {
	bexpr.Instance
	modified uint64 // the index of the service's last change
}

// forget drops the records of a list that nobody filters.
func (l *list) forget() {
	l.records = noRecords
	for i := range l.instances {
		l.instances[i].record = nil
	}
}

// mergeTries is how often the list is read again because a proxy changed meanwhile.
const mergeTries = 3

// registered gives the proxies of an answer that filters need so the configuration
// that they were registered with: one more read, of the list without central
// configuration. A service's index of change tells whether both are of one moment.
func (w *watch) registered(ctx context.Context, a answer) (answer, error) {
	for range mergeTries {
		if n, _ := w.view.need(); n < asRegistered || a.list.records < mergedRecords {
			return a, nil
		}
		if a.list.sidecars > 0 {
			plain, err := w.askPlain(ctx)
			if err != nil {
				return a, fmt.Errorf("reading proxies as registered: %w", err)
			}
			if !a.list.adopt(plain.list) {
				if a, err = w.query(ctx, 0, ""); err == nil {
					a, err = w.believe(ctx, a)
				}
				if err != nil {
					return a, err
				}
				continue
			}
		}
		a.list.records = asRegistered
		return a, nil
	}
	return a, fmt.Errorf("%w: proxies change faster than they are read", ErrImplausible)
}

// translated notes that filters see other addresses of another datacenter than Consul's
// do, which decides before its agent translates them.
func (w *watch) translated(a answer) {
	if !a.moved || w.c.cfg.Datacenter == "" {
		return
	}
	w.view.mu.Lock()
	defer w.view.mu.Unlock()
	for _, m := range w.view.marks {
		if m.filter.Reads(addresses) {
			a.list.note("the agent has translate_wan_addrs: filters on addresses, such as %s, see the translated ones", clip(m.expr))
			return
		}
	}
}

// addresses reports whether an agent translates a field.
func addresses(field string) bool {
	return field == "Service.Address" || field == "Service.Port" || field == "Node.Address"
}

// adopt takes the proxies of a list without central configuration; false if a service
// is not the same one in both.
func (l *list) adopt(plain *list) bool {
	for i, j := 0, 0; i < len(l.instances); i++ {
		in := &l.instances[i]
		for j < len(plain.instances) && plain.instances[j].ID.Compare(in.ID) < 0 {
			j++
		}
		if j == len(plain.instances) || plain.instances[j].ID != in.ID {
			return false
		}
		from := plain.instances[j].record
		if in.record == nil || from == nil {
			continue
		}
		if in.record.modified != from.modified {
			return false
		}
		in.record.Service.Proxy = from.Service.Proxy
	}
	return true
}
