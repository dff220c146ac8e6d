package authz

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// Dial is d's DialContext for hosts that may be called. What an allowed name leads to
// is looked at when it is dialled: an address of this machine or of its link (loopback,
// link-local, unspecified, multicast) is refused with ErrEgress, because who runs a
// name's DNS would reach there what only this machine may. Allow the address, or a
// network with it, to let it pass; localhost may be loopback.
//
// A host that Check refuses is dialled as it is: it is a proxy's, as what goes to it
// was judged before. What d has as Control or ControlContext is replaced.
func (e *Egress) Dial(d net.Dialer) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		d := d // each dial has its own host
		if e.allows(host, port) {
			d.Control, d.ControlContext = nil, func(_ context.Context, _, to string, _ syscall.RawConn) error {
				return e.checkAddress(host, to)
			}
		}
		return d.DialContext(ctx, network, addr)
	}
}

// checkAddress judges what a host has turned out to be.
func (e *Egress) checkAddress(host, to string) error {
	at, err := netip.ParseAddrPort(to)
	if err != nil {
		return fmt.Errorf("authz: call to %s: %w: its address is not readable", clip(host), ErrEgress)
	}
	ip := at.Addr().WithZone("").Unmap()
	inward := ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || ip.IsInterfaceLocalMulticast()
	if !inward || e.allows(ip.String(), fmt.Sprint(at.Port())) {
		return nil
	}
	if name, err := hostName(host); err == nil && name == "localhost" && ip.IsLoopback() {
		return nil
	}
	return e.refuse(host+":"+fmt.Sprint(at.Port()), EgressInward, "the name leads to "+ip.String()+", an address of this machine or its link",
		fmt.Errorf("authz: call to %s: %w: the name leads to %s, an address of this machine or its link; allow that in EgressConfig.Allow", clip(host), ErrEgress, ip))
}
