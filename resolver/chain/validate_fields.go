package chain

import (
	"fmt"
	"strconv"
	"strings"
)

func checkMeta(e Entry, meta map[string]string) error {
	if len(meta) > maxMetaPairs {
		return entryWrong(e, "Meta", "%d keys, over %d", len(meta), maxMetaPairs)
	}
	for _, k := range sortedKeys(meta) {
		if len(k) > maxMetaKey {
			return entryWrong(e, "Meta", "key %q has %d bytes, over %d", clip(k), len(k), maxMetaKey)
		}
		if len(meta[k]) > maxMetaValue {
			return entryWrong(e, fmt.Sprintf("Meta[%q]", k), "has %d bytes, over %d", len(meta[k]), maxMetaValue)
		}
	}
	return nil
}

func checkMutualTLS(e Entry, mode string) error {
	switch mode {
	case "", "strict":
		return nil
	case "permissive":
		return entryWrong(e, "MutualTLSMode", `"permissive" would accept plaintext, which never is; leave it empty`)
	}
	return entryWrong(e, "MutualTLSMode", "%q is not one of strict and empty", clip(mode))
}

func checkGatewayMode(e Entry, field string, m MeshGateway) error {
	switch m.Mode {
	case "", "none", "local", "remote":
		return nil
	}
	return entryWrong(e, field, "%q is not one of none, local, remote and empty", clip(m.Mode))
}

func checkBalance(e Entry, field, v string) error {
	if v != "" && v != "exact_balance" {
		return entryWrong(e, field, "%q is not one of exact_balance and empty", clip(v))
	}
	return nil
}

func checkLocality(e Entry, p *PrioritizeByLocality) error {
	if p != nil && p.Mode != "" {
		return entryWrong(e, "PrioritizeByLocality", "needs Consul Enterprise; leave it out")
	}
	return nil
}

// knownProtocol reports whether p is one that a service can speak.
func knownProtocol(p string) bool { return p == "tcp" || httpLike(p) }

// httpLike reports whether requests of the protocol can be routed and split.
func httpLike(p string) bool { return p == "http" || p == "http2" || p == "grpc" }

// protocol is what Config says; empty: nothing.
func (e *ProxyDefaults) protocol() string {
	for _, k := range sortedKeys(e.Config) {
		if !strings.EqualFold(k, "protocol") {
			continue
		}
		switch v := e.Config[k].(type) {
		case string:
			return v
		case bool:
			if v {
				return "1"
			}
			return "0"
		case float64:
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
	}
	return ""
}
