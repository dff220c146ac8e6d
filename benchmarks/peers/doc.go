// Package peers holds the peers that the benchmark overhead compares with, one
// program each: what they need is heavy, and nothing else shall need it. They are
// run by overhead only, which builds them.
package peers
