package chain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// MaxBytes is the longest answer that Decode reads.
const MaxBytes = 8 << 20

// Decode reads Consul's answer to GET /v1/discovery-chain/:service. Fields that it
// does not know, or knows and cannot honour, are problems; JSON that is broken,
// longer than MaxBytes, or of another shape is an error. Whether the chain makes
// sense is for [New] to say.
func Decode(r io.Reader) (*Chain, []Problem, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, nil, fmt.Errorf("resolver/chain: reading a discovery chain: %w", err)
	}
	if len(data) > MaxBytes {
		return nil, nil, fmt.Errorf("resolver/chain: the discovery chain is longer than %d bytes", MaxBytes)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var doc map[string]any
	if err := d.Decode(&doc); err != nil {
		return nil, nil, fmt.Errorf("resolver/chain: the discovery chain is not a JSON object: %w", truncated(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("resolver/chain: something follows the discovery chain's JSON object")
	}
	body, ok := doc["Chain"].(map[string]any)
	if !ok {
		return nil, nil, errors.New(`chain: the answer has no object "Chain": is it from /v1/discovery-chain/:service?`)
	}
	c := &Chain{}
	w := &walk{}
	w.p.seen = map[Problem]bool{}
	w.name, _ = body["ServiceName"].(string)
	if err := w.value("Chain", body, reflect.ValueOf(c).Elem()); err != nil {
		return nil, nil, err
	}
	return c, w.p.list, nil
}

func truncated(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// moot are fields of a chain that say nothing to a client without a sidecar: the
// addresses that a transparent proxy catches, and how it does.
func moot(field string) bool {
	switch field {
	case "AutoVirtualIPs", "ManualVirtualIPs", "TransparentProxy":
		return true
	}
	return false
}

// why tells the reason that a field is not honoured.
func why(field string) string {
	switch field {
	case "EnvoyExtensions":
		return "extensions of Envoy have no meaning without Envoy"
	case "PrioritizeByLocality":
		return "it is not read here: locality is the caller's balancer's, see the key " + KeyLocalityFailover
	case "Regions":
		return "failover by region is not done: targets are tried in their order"
	}
	return "the field is not known, and not honoured"
}
