package resolver

import (
	"context"
	"fmt"
	"time"
)

// Catalog is a source of endpoints.
//
// Watch delivers snapshots of one service until ctx ends, and then returns
// ctx's error. It returns another error only for a request that can never
// succeed, such as an invalid service name; an unreachable source is not an
// error but a Snapshot in state Unknown or Stale.
//
//   - The first delivery comes at once, in state Unknown if nothing is known.
//   - Deliveries are sequential; none comes after Watch returned. While deliver
//     runs, later states replace each other: a slow reader sees the newest, not
//     each one.
//   - A snapshot is immutable and whole.
//   - When Watch has returned, nothing that it started for this caller runs on.
//
// Package resolvertest checks an implementation against this contract.
type Catalog interface {
	Watch(ctx context.Context, service string, deliver func(*Snapshot)) error
}

// State says how much a snapshot can be trusted.
type State uint8

const (
	// Unknown: the source has not answered yet. Endpoints is empty and means nothing.
	Unknown State = iota
	// Known: the source confirmed the list. An empty list means that the service
	// has no endpoints.
	Known
	// Stale: the list was Known, or was loaded from disk, and the source cannot
	// confirm it since StaleSince.
	Stale
)

// String is "unknown", "known" or "stale".
func (s State) String() string {
	switch s {
	case Unknown:
		return "unknown"
	case Known:
		return "known"
	case Stale:
		return "stale"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Snapshot is all endpoints of a service at one moment. It is immutable.
type Snapshot struct {
	// Service is the name that was watched.
	Service string
	// State says what Endpoints means.
	State State
	// Endpoints are sorted by ID, without duplicates.
	Endpoints []*Endpoint
	// AsOf is when the source last confirmed Endpoints; zero when Unknown.
	AsOf time.Time
	// StaleSince is when the source stopped confirming; zero unless Stale.
	StaleSince time.Time
	// Reason is why the snapshot is Unknown or Stale, or nil.
	Reason error
	// Held is a change that the source reported and that is not believed yet, or nil.
	Held *Held
	// Skipped counts entries of the source that were malformed and left out;
	// SkippedReasons names the first few.
	Skipped        int
	SkippedReasons []string
	// Sources is the state of each source of a merged snapshot, in the order of
	// Merge; nil for a single source.
	Sources []SourceStatus
}

// Held describes a quarantined change: the source reported it, Endpoints does
// not show it.
type Held struct {
	// Since is when the source first reported the change.
	Since time.Time
	// Until is when the change is believed if the source keeps saying so.
	Until time.Time
	// Reported and Kept count the endpoints that the source reports and that are kept.
	Reported, Kept int
	// Reason is "empty" or "mass removal", with the numbers, for people.
	Reason string
}

// SourceStatus is what one source contributes to a merged snapshot.
type SourceStatus struct {
	// Source is the name given to Merge.
	Source string
	// Endpoints counts what the source contributes.
	Endpoints int
	// State, AsOf, StaleSince, Reason, Held and Skipped are those of the source's snapshot.
	State      State
	AsOf       time.Time
	StaleSince time.Time
	Reason     error
	Held       *Held
	Skipped    int
}

// MaxServiceName is the longest service name that a catalog accepts, in bytes.
const MaxServiceName = 253

// CheckService reports why name cannot be a service name, or nil. A name has
// letters, digits, '-', '_' and '.', begins with a letter or digit, and is at
// most MaxServiceName bytes.
func CheckService(name string) error {
	if name == "" {
		return fmt.Errorf("resolver: empty service name")
	}
	if len(name) > MaxServiceName {
		return fmt.Errorf("resolver: service name of %d bytes, over %d: %q", len(name), MaxServiceName, clip(name))
	}
	for i, c := range []byte(name) {
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '-' && c != '_' && c != '.') {
			return fmt.Errorf("resolver: byte %q at %d is not allowed in service name %q; use letters, digits, '-', '_' and '.'", c, i, clip(name))
		}
	}
	return nil
}
