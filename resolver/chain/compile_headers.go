package chain

import (
	"maps"
	"slices"
)

// mergeSplit is the inner split of a splitter that an outer split leads to, with
// the header edits of both: the inner ones go before on requests, which come to
// it last, the outer ones on responses.
func mergeSplit(outer, inner *ServiceSplit) *ServiceSplit {
	s := cloneSplit(inner)
	s.RequestHeaders = mergeHeaders(outer.RequestHeaders, inner.RequestHeaders)
	s.ResponseHeaders = mergeHeaders(inner.ResponseHeaders, outer.ResponseHeaders)
	return s
}

// mergeHeaders is base with the edits of over, which win.
func mergeHeaders(base, over *HeaderModifiers) *HeaderModifiers {
	if base.empty() {
		return cloneHeaders(over)
	}
	m := cloneHeaders(base)
	if over.empty() {
		return m
	}
	m.Add = mergeMaps(m.Add, over.Add)
	m.Set = mergeMaps(m.Set, over.Set)
	for _, name := range over.Remove {
		if !slices.Contains(base.Remove, name) {
			m.Remove = append(m.Remove, name)
		}
	}
	return m
}

func mergeMaps(base, over map[string]string) map[string]string {
	if base == nil {
		return maps.Clone(over)
	}
	maps.Copy(base, over)
	return base
}

func (h *HeaderModifiers) empty() bool {
	return h == nil || len(h.Add) == 0 && len(h.Set) == 0 && len(h.Remove) == 0
}

func cloneHeaders(h *HeaderModifiers) *HeaderModifiers {
	if h == nil {
		return nil
	}
	return &HeaderModifiers{Add: maps.Clone(h.Add), Set: maps.Clone(h.Set), Remove: slices.Clone(h.Remove)}
}

func cloneSplit(s *ServiceSplit) *ServiceSplit {
	c := *s
	c.RequestHeaders, c.ResponseHeaders = cloneHeaders(s.RequestHeaders), cloneHeaders(s.ResponseHeaders)
	return &c
}
