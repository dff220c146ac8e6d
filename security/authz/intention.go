package authz

// Action is what a rule does.
type Action string

// The actions. The empty Action of an intention means that its Permissions decide.
const (
	Allow Action = "allow"
	Deny  Action = "deny"
)

// wildcard stands for every name.
const wildcard = "*"

// Intention is one rule for callers of one kind, in the form of Consul's
// /v1/connect/intentions/match. It has an Action (L4) or Permissions (L7).
type Intention struct {
	// SourceName is the calling service, or "*". Required.
	SourceName string
	// SourceNS is its namespace; empty: "default".
	SourceNS string
	// SourcePartition is its partition; empty: the default one.
	SourcePartition string
	// SourcePeer is the cluster peering that the caller comes by; empty: none, it is
	// of our own trust domain.
	SourcePeer string
	// SourceSamenessGroup is Consul Enterprise's; what it stands for cannot be
	// known here, so an intention with one denies.
	SourceSamenessGroup string
	// SourceType is "consul" or empty; any other denies.
	SourceType string
	// SourceID is the exact SPIFFE ID of the caller, instead of a name; for
	// identities that are not Consul's. Consul has no such field. Empty: by name.
	SourceID string `json:"-"`

	// DestinationName is the service that is called, or "*". Required.
	DestinationName string
	// DestinationNS is its namespace; empty: "default".
	DestinationNS string
	// DestinationPartition is its partition; empty: the default one.
	DestinationPartition string

	// Action decides if there are no Permissions; any but Allow denies.
	Action Action
	// Permissions decide in this order, the first that matches; if none does, the
	// default policy. Empty: Action decides.
	Permissions []Permission
	// JWT is a token that the caller must show as well. nil: none.
	JWT *JWTRequirement
	// Precedence is Consul's; it is computed anew. 0: not said.
	Precedence int
	// Unreadable says why the intention cannot be honoured: it then denies its
	// source, or, if that is unknown as well, everybody. Empty: it can be.
	Unreadable string `json:"-"`
}

// Permission is one L7 rule of an intention.
type Permission struct {
	// Action is Allow; any other denies.
	Action Action
	// HTTP is what it applies to. nil: everything, which needs a Condition.
	HTTP *HTTPPermission
	// JWT is a token that must be shown with a request that is to be allowed. nil: none.
	JWT *JWTRequirement
	// Condition is a CEL expression that must be true for the permission to match;
	// see [Config] for its variables. Consul has no such field. Empty: none.
	Condition string
}

// HTTPPermission says which requests a permission is for. What is set must all
// match. A gRPC call is a POST to /package.Service/Method.
type HTTPPermission struct {
	// PathExact, PathPrefix and PathRegex (of the whole path) exclude each other;
	// all empty: any path.
	PathExact  string
	PathPrefix string
	PathRegex  string
	// Header are conditions on headers; empty: none.
	Header []HeaderPermission
	// Methods are HTTP methods; empty: any.
	Methods []string
}

// HeaderPermission is a condition on one header. Exactly one of Present, Exact,
// Prefix, Suffix, Contains and Regex (of the whole value) is set.
type HeaderPermission struct {
	// Name of the header, in any case.
	Name string
	// Present, Exact, Prefix, Suffix, Contains and Regex are what must be so.
	Present  bool
	Exact    string
	Prefix   string
	Suffix   string
	Contains string
	Regex    string
	// Invert turns the condition around.
	Invert bool
	// IgnoreCase compares ASCII letters without case.
	IgnoreCase bool
}

// JWTRequirement is met by a token of any one of its providers.
type JWTRequirement struct {
	// Providers that are accepted; none: the requirement cannot be met.
	Providers []JWTProviderRequirement
}

// JWTProviderRequirement is a token of one provider with certain claims.
type JWTProviderRequirement struct {
	// Name is the provider's, see [Provider].
	Name string
	// VerifyClaims are claims that the token must have; empty: none.
	VerifyClaims []ClaimVerification
}

// ClaimVerification is met if the claim at Path is the string Value, or a list
// that holds it.
type ClaimVerification struct {
	// Path leads to the claim, one object's key after the other.
	Path []string
	// Value is what it must be.
	Value string
}

// Rules are what a [Source] knows for one service. The zero value allows nothing.
type Rules struct {
	// Intentions in any order; those for other destinations are left out.
	Intentions []Intention
	// Providers of tokens that the intentions name; empty: none.
	Providers []Provider
	// Default decides where no intention matches; any but Allow denies. It covers
	// members of the own trust domain only.
	Default Action
	// Version names this state of the rules in the audit log; empty is allowed.
	Version string
}

// exact counts the names that are no wildcards, as Consul does: nothing exact
// follows a wildcard namespace.
func exact(ns, name string) int {
	switch {
	case ns == wildcard:
		return 0
	case name == wildcard:
		return 1
	}
	return 2
}

// precedence is Consul's: 9 is the highest.
func (in *Intention) precedence() int {
	return 3*(exact(in.DestinationNS, in.DestinationName)+1) - (2 - exact(in.SourceNS, in.SourceName))
}

// before is the order in which intentions are asked.
func before(a, b *Intention) bool {
	if pa, pb := a.precedence(), b.precedence(); pa != pb {
		return pa > pb
	}
	for _, p := range [][2]string{
		{a.SourceSamenessGroup, b.SourceSamenessGroup},
		{a.SourcePeer, b.SourcePeer},
		{a.SourcePartition, b.SourcePartition},
		{a.SourceNS, b.SourceNS},
		{a.SourceName, b.SourceName},
		{a.DestinationPartition, b.DestinationPartition},
		{a.DestinationNS, b.DestinationNS},
		{a.DestinationName, b.DestinationName},
	} {
		if p[0] != p[1] {
			return p[0] < p[1]
		}
	}
	return false
}
