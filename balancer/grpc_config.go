package balancer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/serviceconfig"

	"github.com/weft-mesh/weft/resolver"
)

// jsonConfig is Config as a service config writes it. Durations are strings such
// as "10s"; a field that is absent has Config's default.
type jsonConfig struct {
	Policy        string    `json:"policy"`
	Local         *jsonArea `json:"local"`
	CloudOrder    []string  `json:"cloudOrder"`
	SubsetSize    int       `json:"subsetSize"`
	SubsetKey     string    `json:"subsetKey"`
	WarmConns     int       `json:"warmConns"`
	Overprovision float64   `json:"overprovision"`
	PanicBelow    float64   `json:"panicBelow"`
	FailbackAfter duration  `json:"failbackAfter"`
	SlowStart     duration  `json:"slowStart"`
}

type jsonArea struct {
	Cloud  string `json:"cloud"`
	Region string `json:"region"`
	Zone   string `json:"zone"`
}

type duration time.Duration

func (d *duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%s is not a duration; write it as a string such as \"10s\"", clip(string(b)))
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration; write it as \"10s\"", clip(s))
	}
	*d = duration(v)
	return nil
}

// ParseConfig implements grpc's balancer.ConfigParser.
func (builder) ParseConfig(text json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	cfg, err := parseConfig(text)
	if err != nil {
		return nil, err
	}
	return &lbConfig{text: string(text), cfg: cfg}, nil
}

// maxConfig bounds the text of a configuration, which comes from a catalog.
const maxConfig = 64 << 10

func parseConfig(text []byte) (Config, error) {
	if len(text) > maxConfig {
		return Config{}, fmt.Errorf("balancer: config of %q: %d bytes, over %d", Name, len(text), maxConfig)
	}
	var j jsonConfig
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&j); err != nil {
		return Config{}, fmt.Errorf("balancer: config of %q: %s", Name, clip(err.Error()))
	}
	if dec.More() {
		return Config{}, fmt.Errorf("balancer: config of %q: text after the object", Name)
	}
	cfg := Config{
		CloudOrder: j.CloudOrder, SubsetSize: j.SubsetSize, SubsetKey: j.SubsetKey, WarmConns: j.WarmConns,
		Overprovision: j.Overprovision, PanicBelow: j.PanicBelow,
		FailbackAfter: time.Duration(j.FailbackAfter), SlowStart: time.Duration(j.SlowStart),
	}
	if j.Local != nil {
		cfg.Local = resolver.Locality(*j.Local)
	}
	if j.Policy != "" {
		p, ok := namedPolicies()[j.Policy]
		if !ok {
			return Config{}, fmt.Errorf("balancer: config of %q: policy %q is unknown; use one of %s", Name, clip(j.Policy), policyNames())
		}
		cfg.Policy = p
	}
	// New refuses values that are out of range and starts nothing.
	if _, err := New(cfg, Connector{Connect: func(*Node) Conn { return noConn{} }}); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

type noConn struct{}

func (noConn) Close() {}

func policyNames() string {
	var names []string
	for n := range namedPolicies() {
		names = append(names, n)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
