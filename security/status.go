package security

import "time"

// Status is what a Source of this repository knows of itself, for health checks
// and debug pages. It holds no secret.
type Status struct {
	// ID is the SPIFFE ID of the newest SVID; empty if there is none.
	ID string
	// NotBefore and NotAfter bound its validity.
	NotBefore, NotAfter time.Time
	// TrustDomains are the trust domains with a bundle, sorted.
	TrustDomains []string
	// UpdatedAt is when the SVID or a bundle last changed.
	UpdatedAt time.Time
	// Err is why the last attempt to update failed; nil if it did not. The
	// identity from before stays in use until it expires.
	Err error
}
