//go:build !unix

package http1

import "net"

// Wire is a socket that can be asked whether anything has come in, which this system
// has no simple way for.
type Wire struct{ net.Conn }

// NewWire returns nil.
func NewWire(net.Conn, bool) *Wire { return nil }

// Plain returns false.
func Plain(net.Conn) bool { return false }

func (*Wire) probe(bool, func() error) bool { return false }
