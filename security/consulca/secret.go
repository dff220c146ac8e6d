package consulca

import (
	"encoding/json"
	"fmt"
	"time"
)

// shown is the configuration as it may be printed: Token is a secret, and Client has one.
type shown struct {
	Service, GRPCAddr                string
	Token, TokenFile                 string
	Datacenter, Namespace, Partition string
	Wait, MaxBackoff                 time.Duration
	CacheDir                         string
}

func (c Config) shown() shown {
	if c.Token != "" {
		c.Token = "***"
	}
	return shown{c.Service, c.GRPCAddr, c.Token, c.TokenFile, c.Datacenter, c.Namespace, c.Partition, c.Wait, c.MaxBackoff, c.CacheDir}
}

// Format implements fmt.Formatter, so that no verb prints Token.
func (c Config) Format(f fmt.State, verb rune) { fmt.Fprintf(f, fmt.FormatString(f, verb), c.shown()) }

// MarshalJSON implements json.Marshaler, without Token.
func (c Config) MarshalJSON() ([]byte, error) { return json.Marshal(c.shown()) }

// Format implements fmt.Formatter: what is within holds a token and a private key.
func (s *Source) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "consulca.Source(%s)", s.cfg.Service)
}
