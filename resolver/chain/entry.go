package chain

import (
	"cmp"
	"fmt"
	"strings"
)

// The kinds of an [Entry].
const (
	KindServiceRouter   = "service-router"
	KindServiceSplitter = "service-splitter"
	KindServiceResolver = "service-resolver"
	KindServiceDefaults = "service-defaults"
	KindProxyDefaults   = "proxy-defaults"
)

// Entry is one of Consul's config entries: a *[ServiceRouter], *[ServiceSplitter],
// *[ServiceResolver], *[ServiceDefaults] or *[ProxyDefaults].
type Entry interface {
	EntryKind() string
	EntryName() string
}

// EntryError says why an entry cannot be used. It names the entry and the field
// that is to be changed.
type EntryError struct {
	// Kind and Name are those of the entry; Source is its file, or empty.
	Kind   string
	Name   string
	Source string
	// Field is a path like "Splits[1].Weight", or empty for the whole entry.
	Field string
	// Why says what is wrong, and what would be right.
	Why string
}

// Error names the entry and the field.
func (e *EntryError) Error() string {
	where := place(e.Source, e.Kind, e.Name, e.Field)
	if where != "" {
		where += ": "
	}
	return "resolver/chain: " + where + e.Why
}

func place(source, kind, name, field string) string {
	var parts []string
	if source != "" {
		parts = append(parts, source)
	}
	if kind != "" || name != "" {
		parts = append(parts, fmt.Sprintf("%s %q", cmp.Or(clip(kind), "entry"), clip(name)))
	}
	if field != "" {
		parts = append(parts, clip(field))
	}
	return strings.Join(parts, ": ")
}

// wrong is an error of an entry that is being looked at.
func entryWrong(e Entry, field, format string, args ...any) *EntryError {
	return &EntryError{Kind: e.EntryKind(), Name: e.EntryName(), Field: field, Why: fmt.Sprintf(format, args...)}
}

// EntryKind implements [Entry].
func (*ServiceRouter) EntryKind() string { return KindServiceRouter }

// EntryName implements [Entry].
func (e *ServiceRouter) EntryName() string { return e.Name }

// EntryKind implements [Entry].
func (*ServiceSplitter) EntryKind() string { return KindServiceSplitter }

// EntryName implements [Entry].
func (e *ServiceSplitter) EntryName() string { return e.Name }

// EntryKind implements [Entry].
func (*ServiceResolver) EntryKind() string { return KindServiceResolver }

// EntryName implements [Entry].
func (e *ServiceResolver) EntryName() string { return e.Name }

// EntryKind implements [Entry].
func (*ServiceDefaults) EntryKind() string { return KindServiceDefaults }

// EntryName implements [Entry].
func (e *ServiceDefaults) EntryName() string { return e.Name }

// EntryKind implements [Entry].
func (*ProxyDefaults) EntryKind() string { return KindProxyDefaults }

// EntryName implements [Entry].
func (e *ProxyDefaults) EntryName() string { return e.Name }
