package consulauthz

import (
	"encoding/json"
	"fmt"

	"github.com/hashicorp/consul/api"
)

// shown is the configuration as it may be printed: API holds a token.
func (c Config) shown() Config {
	if c.API != nil {
		c.API = &api.Config{Scheme: c.API.Scheme, Datacenter: c.API.Datacenter, TokenFile: c.API.TokenFile}
	}
	c.Logger = nil
	return c
}

// Format implements fmt.Formatter, so that no verb prints the token.
func (c Config) Format(f fmt.State, verb rune) {
	type plain Config
	fmt.Fprintf(f, fmt.FormatString(f, verb), plain(c.shown()))
}

// MarshalJSON implements json.Marshaler, without the token.
func (c Config) MarshalJSON() ([]byte, error) {
	type plain Config
	return json.Marshal(plain(c.shown()))
}

// Format implements fmt.Formatter: what is within holds a token.
func (s *Source) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "consulauthz.Source(%s)", s.cfg.Service)
}
