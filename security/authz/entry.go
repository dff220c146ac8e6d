package authz

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Entry is a service-intentions config entry: the callers of one service.
type Entry struct {
	// Kind is "service-intentions".
	Kind string
	// Name is the service that is called, or "*". Required.
	Name string
	// Namespace and Partition of the service; empty: the default ones.
	Namespace, Partition string
	// Sources are its callers, each one at most once.
	Sources []EntrySource
	// JWT is a token that every caller must show as well. nil: none.
	JWT *JWTRequirement
}

// EntrySource is one caller of an Entry.
type EntrySource struct {
	// Name is the calling service, or "*". Required unless ID is set.
	Name string
	// ID is the caller's exact SPIFFE ID, for identities that are not Consul's;
	// Consul has no such field. Empty: by name.
	ID string
	// Namespace, Partition, Peer, SamenessGroup and Type are as in [Intention].
	Namespace, Partition, Peer, SamenessGroup, Type string
	// Action or Permissions decide, as in [Intention].
	Action      Action
	Permissions []Permission
}

// Intentions are the rules of an entry in the form of [Intention].
func (e *Entry) Intentions() []Intention {
	out := make([]Intention, 0, len(e.Sources))
	for _, s := range e.Sources {
		out = append(out, Intention{
			SourceName: s.Name, SourceID: s.ID, SourceNS: s.Namespace, SourcePartition: s.Partition, SourcePeer: s.Peer,
			SourceSamenessGroup: s.SamenessGroup, SourceType: s.Type,
			DestinationName: e.Name, DestinationNS: e.Namespace, DestinationPartition: e.Partition,
			Action: s.Action, Permissions: s.Permissions, JWT: e.JWT,
		})
	}
	return out
}

// wireEntry is an entry with every field that Consul gives or takes.
type wireEntry struct {
	Kind, Name, Namespace, Partition string
	Sources                          []json.RawMessage
	JWT                              *JWTRequirement
	Meta                             map[string]string
	Hash, CreateIndex, ModifyIndex   uint64
}

type wireSource struct {
	EntrySource
	Precedence                         int
	Description, LegacyID              string
	LegacyMeta                         map[string]string
	LegacyCreateTime, LegacyUpdateTime *time.Time
}

// DecodeEntry reads the JSON of a service-intentions config entry, as
// /v1/config/service-intentions/NAME gives it, and returns its rules. What cannot
// be read in one source makes that source deny; what cannot be read beside the
// sources makes them all deny. It fails if the entry does not even name its service.
func DecodeEntry(data []byte) ([]Intention, error) {
	if len(data) > maxRules {
		return nil, fmt.Errorf("authz: the entry has %d bytes, the limit is %d", len(data), maxRules)
	}
	var w wireEntry
	whole := strict(data, &w)
	if whole != nil {
		w = wireEntry{}
		if err := json.Unmarshal(data, &w); err != nil {
			return nil, fmt.Errorf("authz: the config entry cannot be read: %s", clip(err.Error()))
		}
	}
	if w.Kind != "" && w.Kind != KindIntentions {
		return nil, fmt.Errorf("authz: config entry of kind %q, want %q", clip(w.Kind), KindIntentions)
	}
	if w.Name == "" {
		return nil, errors.New("authz: the config entry has no Name")
	}
	e := Entry{Name: w.Name, Namespace: w.Namespace, Partition: w.Partition, JWT: w.JWT}
	bad := make([]error, len(w.Sources))
	for i, raw := range w.Sources {
		var s wireSource
		if bad[i] = strict(raw, &s); bad[i] != nil {
			s = wireSource{}
			if unambiguous(raw) != nil || json.Unmarshal(raw, &s) != nil {
				s = wireSource{}
			}
		}
		if whole != nil {
			bad[i] = whole
		}
		e.Sources = append(e.Sources, s.EntrySource)
	}
	if len(e.Sources) == 0 && whole != nil {
		e.Sources, bad = []EntrySource{{}}, []error{whole}
	}
	out := e.Intentions()
	for i := range out {
		if bad[i] != nil {
			out[i].Unreadable = clip(bad[i].Error())
		}
	}
	return out, nil
}

// KindIntentions is the kind of config entries that hold intentions.
const KindIntentions = "service-intentions"
