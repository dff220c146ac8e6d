package consulca

import (
	"encoding/json"
	"fmt"
)

// shown stands for a secret where a value is printed.
const shown = "***"

// redacted is the configuration as it may be shown.
func (c Config) redacted() Config {
	if c.Token != "" {
		c.Token = shown
	}
	c.Client, c.GRPCTLS, c.ExtraBundles, c.Logger = nil, nil, nil, nil // they say nothing, or too much
	return c
}

// Format implements fmt.Formatter, so that no verb prints Token.
func (c Config) Format(f fmt.State, verb rune) {
	type plain Config
	fmt.Fprintf(f, fmt.FormatString(f, verb), plain(c.redacted()))
}

// MarshalJSON implements json.Marshaler, without Token.
func (c Config) MarshalJSON() ([]byte, error) {
	type plain Config
	return json.Marshal(plain(c.redacted()))
}

// Format implements fmt.Formatter: what is within holds a token and a private key.
func (s *Source) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "consulca.Source(%s)", s.cfg.Service)
}
