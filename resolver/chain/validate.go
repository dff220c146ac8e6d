package chain

import (
	"fmt"
	"maps"
	"slices"
)

// Consul's bounds of Meta.
const (
	maxMetaPairs = 64
	maxMetaKey   = 128
	maxMetaValue = 512
)

// Validate checks an entry by itself, with the rules of Consul's community
// edition. The error is an [EntryError]. Whether entries go together, for example
// whether all services of a chain speak one protocol, is for [NewEntrySet] to say.
func Validate(e Entry) error {
	if err := checkPresent(e); err != nil {
		return err
	}
	e = normalized(e)
	if err := checkName(e); err != nil {
		return err
	}
	switch e := e.(type) {
	case *ServiceRouter:
		return firstError(checkMeta(e, e.Meta), validateRouter(e))
	case *ServiceSplitter:
		return firstError(checkMeta(e, e.Meta), validateSplitter(e))
	case *ServiceResolver:
		return firstError(checkMeta(e, e.Meta), validateResolver(e))
	case *ServiceDefaults:
		return firstError(checkMeta(e, e.Meta), validateServiceDefaults(e))
	case *ProxyDefaults:
		return firstError(checkMeta(e, e.Meta), validateProxyDefaults(e))
	}
	return nil
}

// present refuses nil, and entries that are no entries.
func checkPresent(e Entry) error {
	ok := false
	switch e := e.(type) {
	case *ServiceRouter:
		ok = e != nil
	case *ServiceSplitter:
		ok = e != nil
	case *ServiceResolver:
		ok = e != nil
	case *ServiceDefaults:
		ok = e != nil
	case *ProxyDefaults:
		ok = e != nil
	}
	if !ok {
		return &EntryError{Why: fmt.Sprintf("%T is nil, or of a type that is no config entry", e)}
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
