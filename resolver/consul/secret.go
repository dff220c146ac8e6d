package consul

import (
	"encoding/json"
	"fmt"
	"strings"
)

// shown stands for a secret where a value is printed.
const shown = "***"

// redacted is the configuration as it may be shown.
func (c Config) redacted() Config {
	for _, s := range []*string{&c.Token, &c.HTTPAuth} {
		if *s != "" {
			*s = shown
		}
	}
	c.Address = redactAddress(c.Address)
	return c
}

// Format implements fmt.Formatter, so that no verb prints Token or HTTPAuth.
func (c Config) Format(f fmt.State, verb rune) {
	type plain Config
	fmt.Fprintf(f, fmt.FormatString(f, verb), plain(c.redacted()))
}

// MarshalJSON implements json.Marshaler, without Token and HTTPAuth.
func (c Config) MarshalJSON() ([]byte, error) {
	type plain Config
	return json.Marshal(plain(c.redacted()))
}

// Format implements fmt.Formatter: the configuration within holds secrets.
func (c *Catalog) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "resolver/consul.Catalog(%s)", c.Name())
}

// redactAddress leaves out a user, a password and a query.
func redactAddress(addr string) string {
	addr, _, _ = strings.Cut(addr, "?")
	at := strings.LastIndexByte(addr, '@')
	if at < 0 {
		return addr
	}
	scheme, _, ok := strings.Cut(addr, "://")
	if !ok {
		return shown + addr[at:]
	}
	return scheme + "://" + shown + addr[at:]
}
