package authz

import (
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/security"
)

// sourceKey is what intentions tell callers apart by.
type sourceKey struct{ domain, partition, namespace, name string }

// caller is a caller's identity in Consul's terms.
type caller struct {
	sourceKey
	datacenter string // no matter for intentions
}

// checkSource reports what leaves open whom an intention is for.
func checkSource(in *Intention) error {
	partial := func(s string) bool { return s != wildcard && strings.Contains(s, wildcard) }
	switch {
	case in.SourceID != "":
		if in.SourceName != "" || in.SourcePeer != "" || in.SourceSamenessGroup != "" {
			return fmt.Errorf("the source has an ID and a name")
		}
		return nil
	case in.SourceSamenessGroup != "":
		return fmt.Errorf("sameness group %q is not known here", clip(in.SourceSamenessGroup))
	case in.SourceName == "":
		return fmt.Errorf("the source has no name")
	case in.SourceType != "" && in.SourceType != "consul":
		return fmt.Errorf("source of type %q", clip(in.SourceType))
	case partial(in.SourceName) || partial(in.SourceNS):
		return fmt.Errorf("a part of the source's name is a wildcard")
	case in.SourceNS == wildcard && in.SourceName != wildcard:
		return fmt.Errorf("a name in any namespace")
	case strings.Contains(in.SourcePartition, wildcard) || strings.Contains(in.SourcePeer, wildcard):
		return fmt.Errorf("a wildcard partition or peer")
	}
	return nil
}

// String names the intention: "default/web => default/api".
func (in *Intention) String() string {
	src := orDefault(in.SourceNS) + "/" + in.SourceName
	switch {
	case in.SourceID != "":
		src = in.SourceID
	case in.SourcePeer != "":
		src = "peer " + in.SourcePeer + " " + src
	}
	return clip(src + " => " + orDefault(in.DestinationNS) + "/" + in.DestinationName)
}

// source is the caller in the terms of intentions; ok is false for an identity
// that is not of Consul's form.
func source(id security.PeerID) (key caller, ok bool) {
	key.domain = id.TrustDomain().Name()
	path := id.Path()
	if rest, found := strings.CutPrefix(path, "/ap/"); found {
		if key.partition, path, found = cutSegment(rest); !found {
			return key, false
		}
	} else {
		key.partition = "default"
	}
	for _, part := range []struct {
		label string
		into  *string
	}{{"/ns/", &key.namespace}, {"/dc/", &key.datacenter}} {
		rest, found := strings.CutPrefix(path, part.label)
		if !found {
			return key, false
		}
		if *part.into, path, found = cutSegment(rest); !found {
			return key, false
		}
	}
	key.name, ok = strings.CutPrefix(path, "/svc/")
	return key, ok && key.name != "" && !strings.Contains(key.name, "/")
}

// cutSegment splits "a/b" into "a" and "/b".
func cutSegment(s string) (segment, rest string, ok bool) {
	i := strings.IndexByte(s, '/')
	if i <= 0 {
		return "", s, false
	}
	return s[:i], s[i:], true
}
