package chain

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// equal reports whether both have the same entries and problems.
func (s *EntrySet) equal(o *EntrySet) bool {
	return reflect.DeepEqual(s.entries, o.entries) && reflect.DeepEqual(s.problems, o.problems)
}

// Entries are the entries, sorted by kind and name. Do not change them.
func (s *EntrySet) Entries() []Entry {
	if s == nil {
		return nil
	}
	return slices.SortedFunc(maps.Values(s.entries), func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.EntryKind(), b.EntryKind()), cmp.Compare(a.EntryName(), b.EntryName()))
	})
}

// Services are the names that have a router, splitter, resolver or defaults, sorted.
func (s *EntrySet) Services() []string {
	names := map[string]bool{}
	for _, e := range s.Entries() {
		if e.EntryKind() != KindProxyDefaults {
			names[e.EntryName()] = true
		}
	}
	return sortedKeys(names)
}

// Problems are what is read but not honoured in the entries, if the set comes
// from [Load] or [Open].
func (s *EntrySet) Problems() []Problem {
	if s == nil {
		return nil
	}
	return s.problems
}

// ServiceDefaults is the entry of a service, or nil. Do not change it.
func (s *EntrySet) ServiceDefaults(name string) *ServiceDefaults {
	e, _ := s.entry(entryKey{KindServiceDefaults, strings.ToLower(name)}).(*ServiceDefaults)
	return e
}

// ProxyDefaults is the entry, or nil. Do not change it.
func (s *EntrySet) ProxyDefaults() *ProxyDefaults {
	e, _ := s.entry(entryKey{KindProxyDefaults, "global"}).(*ProxyDefaults)
	return e
}

func (s *EntrySet) router(name string) *ServiceRouter {
	e, _ := s.entry(entryKey{KindServiceRouter, strings.ToLower(name)}).(*ServiceRouter)
	return e
}

func (s *EntrySet) splitter(name string) *ServiceSplitter {
	e, _ := s.entry(entryKey{KindServiceSplitter, strings.ToLower(name)}).(*ServiceSplitter)
	return e
}

func (s *EntrySet) resolver(name string) *ServiceResolver {
	e, _ := s.entry(entryKey{KindServiceResolver, strings.ToLower(name)}).(*ServiceResolver)
	return e
}

func (s *EntrySet) entry(k entryKey) Entry {
	if s == nil {
		return nil
	}
	return s.entries[k]
}
