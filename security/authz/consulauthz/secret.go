package consulauthz

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/security/authz"
)

// shown is the configuration as it may be printed: API holds a token.
type shown struct {
	Service, CacheDir string
	Default           authz.Action
	Wait, MaxBackoff  time.Duration
	Hold              time.Duration
}

func (c Config) shown() shown {
	return shown{c.Service, c.CacheDir, c.Default, c.Wait, c.MaxBackoff, c.Hold}
}

// Format implements fmt.Formatter, so that no verb prints the token.
func (c Config) Format(f fmt.State, verb rune) { fmt.Fprintf(f, fmt.FormatString(f, verb), c.shown()) }

// MarshalJSON implements json.Marshaler, without the token.
func (c Config) MarshalJSON() ([]byte, error) { return json.Marshal(c.shown()) }

// Format implements fmt.Formatter: what is within holds a token.
func (s *Source) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "consulauthz.Source(%s)", s.cfg.Service)
}
