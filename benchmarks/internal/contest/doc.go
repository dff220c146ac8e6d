// Package contest measures stacks against each other on the same echo: each has a
// server process and a client process of its own, and all take turns in short
// slices, so that a noisy machine slows each of them.
//
// A program names its Contenders and calls Worker first: that is what a child
// process does. The parent starts Pairs, and asks them for slices.
package contest
