package telemetry

// Flags say why a call went as it did.
type Flags uint8

// The flags.
const (
	NoAttempt Flags = 1 << iota // no endpoint could be tried
	Retried                     // more than one attempt was made
	Failover                    // the last attempt went to another cloud
	Timeout                     // its time was over
	Canceled                    // its caller left
	Refused                     // a limit, breaker or fault of this process refused it
	Slow                        // it took longer than 99 % of its method's calls
)

var flagNames = [...]string{"no_attempt", "retried", "failover", "timeout", "canceled", "refused", "slow"}

// String is the flags' names with commas between them.
func (f Flags) String() string {
	s := ""
	for i, name := range flagNames {
		if f>>i&1 == 1 {
			if s != "" {
				s += ","
			}
			s += name
		}
	}
	return s
}
