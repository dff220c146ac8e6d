package chain

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
)

// customizationHash names the overrides that made a difference; empty: none did.
// It is Consul's, byte for byte: a structure hash of the three overrides.
func (c *chainCompiler) customizationHash() string {
	if c.customized == (struct{ gateway, protocol, timeout bool }{}) {
		return ""
	}
	var mode, protocol string
	var timeout int64
	if c.customized.gateway {
		mode = c.cfg.OverrideMeshGateway.Mode
	}
	if c.customized.protocol {
		protocol = c.cfg.OverrideProtocol
	}
	if c.customized.timeout {
		timeout = int64(c.cfg.OverrideConnectTimeout)
	}
	gateway := hashBytes([]byte("MeshGatewayConfig")) ^ hashField("Mode", hashBytes([]byte(mode)))
	sum := hashBytes(nil) ^
		hashField("OverrideMeshGateway", gateway) ^
		hashField("OverrideProtocol", hashBytes([]byte(protocol))) ^
		hashField("OverrideConnectTimeout", hashBytes(binary.LittleEndian.AppendUint64(nil, uint64(timeout))))
	text := fmt.Sprintf("%x", sum)
	return text[:min(8, len(text))]
}

func hashBytes(b []byte) uint64 {
	h := fnv.New64()
	_, _ = h.Write(b) // a hash takes all
	return h.Sum64()
}

func hashField(name string, value uint64) uint64 {
	b := binary.LittleEndian.AppendUint64(nil, hashBytes([]byte(name)))
	return hashBytes(binary.LittleEndian.AppendUint64(b, value))
}
