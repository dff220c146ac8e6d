package chain

import (
	"encoding/json"
	"reflect"
	"strings"
)

// notHere are the fields of Consul's entries that have no struct field, by kind
// of entry and key without "_" in lower case, and why.
func notHere(t reflect.Type, key string) string {
	const sidecar = "has no effect: there is no sidecar"
	switch t {
	case reflect.TypeFor[ServiceDefaults](), reflect.TypeFor[ProxyDefaults]():
		switch key {
		case "mode", "transparentproxy":
			return "has no effect: traffic is not captured"
		case "expose":
			return "has no effect: a service opens its paths itself"
		case "envoyextensions":
			return "has no effect: there is no Envoy to extend"
		case "accesslogs":
			return sidecar + " that would write them"
		}
	case reflect.TypeFor[Upstream]():
		switch key {
		case "envoylistenerjson", "envoyclusterjson":
			return "has no effect: there is no Envoy to configure"
		case "namespace", "partition":
			return "needs Consul Enterprise"
		}
	}
	return ""
}

// unknown says what is with a key that has no field; empty: nothing.
func (d *treeDecoder) unknown(t reflect.Type, key string, v any) string {
	bare := strings.ToLower(strings.ReplaceAll(key, "_", ""))
	if isEntry(t) {
		switch bare {
		case "kind", "createindex", "modifyindex", "hash":
			return ""
		case "namespace", "partition": // checked before
			return ""
		}
	}
	if why := notHere(t, bare); why != "" {
		if emptyTree(v) {
			return ""
		}
		return why
	}
	return "is not a known field"
}

func isEntry(t reflect.Type) bool { return reflect.PointerTo(t).Implements(reflect.TypeFor[Entry]()) }

// emptyTree reports whether nothing is set in v.
func emptyTree(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case json.Number:
		return v == "0"
	case []any:
		for _, item := range v {
			if !emptyTree(item) {
				return false
			}
		}
	case map[string]any:
		for _, item := range v {
			if !emptyTree(item) {
				return false
			}
		}
	}
	return true
}

// newEntry is an empty entry of a kind; nil: the kind is none of the chain's.
func newEntry(kind string) Entry {
	switch kind {
	case KindServiceRouter:
		return &ServiceRouter{}
	case KindServiceSplitter:
		return &ServiceSplitter{}
	case KindServiceResolver:
		return &ServiceResolver{}
	case KindServiceDefaults:
		return &ServiceDefaults{}
	case KindProxyDefaults:
		return &ProxyDefaults{}
	}
	return nil
}

// otherKind are the kinds of Consul that are no part of a chain.
func otherKind(kind string) bool {
	switch kind {
	case "ingress-gateway", "terminating-gateway", "service-intentions", "mesh", "exported-services",
		"sameness-group", "api-gateway", "bound-api-gateway", "http-route", "tcp-route",
		"file-system-certificate", "inline-certificate", "control-plane-request-limit", "jwt-provider",
		"rate-limit":
		return true
	}
	return false
}
