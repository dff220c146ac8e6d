package authz

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// wireIntention is an intention as Consul's API gives it, with every field that it
// may have.
type wireIntention struct {
	Intention
	ID, Description      string
	DefaultAddr          string
	DefaultPort          int
	Meta                 map[string]string
	CreatedAt, UpdatedAt *time.Time
	Hash                 json.RawMessage
	CreateIndex          uint64
	ModifyIndex          uint64
}

// DecodeMatch reads the answer of Consul's /v1/connect/intentions/match for one
// destination. It fails if the answer as a whole cannot be read. An intention in it
// that cannot is returned as one that denies, see [Intention].Unreadable.
func DecodeMatch(data []byte, destination string) ([]Intention, error) {
	if len(data) > maxRules {
		return nil, fmt.Errorf("authz: the answer has %d bytes, the limit is %d", len(data), maxRules)
	}
	var answer map[string][]json.RawMessage
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, fmt.Errorf("authz: the answer is no list of intentions: %s", clip(err.Error()))
	}
	list, ok := answer[destination]
	if !ok || len(answer) != 1 {
		return nil, fmt.Errorf("authz: the answer has %d destinations, want %q alone", len(answer), clip(destination))
	}
	out := make([]Intention, 0, len(list))
	for _, raw := range list {
		out = append(out, decodeIntention(raw))
	}
	return out, nil
}

func decodeIntention(raw []byte) Intention {
	var w wireIntention
	err := strict(raw, &w)
	for _, p := range w.Permissions {
		if p.Condition != "" && err == nil {
			err = errors.New("unknown field \"Condition\"")
		}
	}
	if err == nil {
		return w.Intention
	}
	// Whom it is for is all that is kept; if even that is in doubt, it is for everybody.
	var who struct {
		SourceNS, SourceName, SourcePeer, SourcePartition, SourceSamenessGroup, SourceType string
		DestinationNS, DestinationName, DestinationPartition                               string
	}
	in := Intention{Unreadable: clip(err.Error())}
	if unambiguous(raw) == nil && json.Unmarshal(raw, &who) == nil {
		in.SourceNS, in.SourceName, in.SourcePeer = who.SourceNS, who.SourceName, who.SourcePeer
		in.SourcePartition, in.SourceSamenessGroup, in.SourceType = who.SourcePartition, who.SourceSamenessGroup, who.SourceType
		in.DestinationNS, in.DestinationName, in.DestinationPartition = who.DestinationNS, who.DestinationName, who.DestinationPartition
	}
	return in
}
