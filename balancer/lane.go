package balancer

import "time"

// Lane is one of several ways in which the calls to a service are balanced: to a
// subset of it, or by another policy. All lanes see the same snapshots; Config.Rank
// says which endpoints are a lane's. A call takes the lane that Call.Lane names.
type Lane struct {
	// Name is unique among the lanes of a service. Empty: that of calls that name none.
	Name string
	// Config is how the lane balances; another pointer than before is another
	// configuration. nil: the zero value.
	Config *Config
	// ConnectTimeout takes the place of Config's. Another one than before holds from the next
	// attempt to connect on, and costs no connection. 0: Config's.
	ConnectTimeout time.Duration
}
