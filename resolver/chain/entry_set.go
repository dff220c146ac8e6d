package chain

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// EntrySet is a set of config entries that go together. It never changes; the zero
// value has no entries. As in Consul, letter case does not tell names apart.
type EntrySet struct {
	entries  map[entryKey]Entry
	problems []Problem
}

type entryKey struct{ kind, name string }

func keyOf(e Entry) entryKey { return entryKey{e.EntryKind(), strings.ToLower(e.EntryName())} }

// NewEntrySet makes a set of entries. It fails if one of them is not valid by itself
// (see [Validate]), if two are of one kind and name, or if the chain of a service
// that they speak of cannot be compiled. The entries are copied.
func NewEntrySet(entries ...Entry) (*EntrySet, error) {
	if len(entries) > maxEntries {
		return nil, fmt.Errorf("resolver/chain: %d entries, over %d", len(entries), maxEntries)
	}
	s := &EntrySet{entries: make(map[entryKey]Entry, len(entries))}
	var errs []error
	for _, e := range entries {
		if err := Validate(e); err != nil {
			errs = append(errs, err)
			continue
		}
		e = normalized(e)
		if s.entries[keyOf(e)] != nil {
			errs = append(errs, entryWrong(e, "", "stands twice; there is one entry of a kind for each service"))
			continue
		}
		s.entries[keyOf(e)] = e
	}
	if len(errs) == 0 {
		errs = s.checkAll()
	}
	if len(errs) > 0 {
		return nil, joinErrors(errs)
	}
	return s, nil
}

// checkAll compiles the chain of each service that has one.
func (s *EntrySet) checkAll() (errs []error) {
	seen := map[string]bool{}
	steps := maxSteps
	for _, name := range s.Services() {
		if _, err := s.compile(name, CompileConfig{}, &steps); err != nil && !seen[err.Error()] {
			seen[err.Error()] = true
			errs = append(errs, err)
		}
		if steps < 0 || len(errs) > maxErrors {
			break
		}
	}
	return errs
}

// With is the set with one more entry, which may replace one, as Consul's PUT
// /v1/config: it fails if the entry is not valid by itself, or if it breaks the
// chain of its service or of a service whose entries name that one.
func (s *EntrySet) With(e Entry) (*EntrySet, error) {
	if err := Validate(e); err != nil {
		return nil, err
	}
	e = normalized(e)
	next := s.clone()
	if next.entries[keyOf(e)] == nil && len(next.entries) >= maxEntries {
		return nil, entryWrong(e, "", "is one more than %d entries", maxEntries)
	}
	next.entries[keyOf(e)] = e
	if err := next.checkAround(e); err != nil {
		return nil, err
	}
	return next, nil
}

// Without is the set without an entry, as Consul's DELETE /v1/config: it fails if
// that breaks a chain. The same set is returned if there is no such entry.
func (s *EntrySet) Without(kind, name string) (*EntrySet, error) {
	key := entryKey{kind, strings.ToLower(name)}
	e := s.entry(key)
	if e == nil {
		return s, nil
	}
	next := s.clone()
	delete(next.entries, key)
	if err := next.checkAround(e); err != nil {
		return nil, err
	}
	return next, nil
}

func (s *EntrySet) clone() *EntrySet {
	next := &EntrySet{entries: map[entryKey]Entry{}}
	if s != nil {
		maps.Copy(next.entries, s.entries)
		next.problems = s.problems
	}
	return next
}

// checkAround compiles the chains that a change of e touches.
func (s *EntrySet) checkAround(e Entry) error {
	touched := map[string]bool{}
	_, all := e.(*ProxyDefaults)
	if !all {
		touched[e.EntryName()] = true
	}
	for _, other := range s.entries {
		if names, ok := related(other); ok && (all || slices.Contains(names, e.EntryName())) {
			touched[other.EntryName()] = true
		}
	}
	steps := maxSteps
	for _, name := range sortedKeys(touched) {
		if _, err := s.compile(name, CompileConfig{}, &steps); err != nil {
			return err
		}
	}
	return nil
}
