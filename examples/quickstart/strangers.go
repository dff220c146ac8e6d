package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/security"
)

// strangersRefused tries what must not work: TLS without a client certificate,
// and with an identity of another CA that claims the same name.
func strangersRefused(ctx context.Context, c *cloud) error {
	other, err := mesh.NewEmbedded(nil)
	if err != nil {
		return err
	}
	stranger, err := other.CA.Source("checkout")
	if err != nil {
		return err
	}
	defer stranger.Close()
	for service, addrs := range c.addrs {
		anonymous := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
		if err := refused(ctx, addrs[0], anonymous); err != nil {
			return fmt.Errorf("%s, no identity: %w", service, err)
		}
		svid, err := stranger.GetX509SVID()
		if err != nil {
			return err
		}
		forged := anonymous.Clone()
		forged.Certificates = []tls.Certificate{{Certificate: [][]byte{svid.Certificates[0].Raw}, PrivateKey: svid.PrivateKey}}
		if err := refused(ctx, addrs[0], forged); err != nil {
			return fmt.Errorf("%s, identity of another CA: %w", service, err)
		}
		// The other way round: the stranger's client meets a server it does not know.
		id := svid.ID.String()
		cfg, err := security.ClientTLS(stranger, id)
		if err != nil {
			return err
		}
		if err := refused(ctx, addrs[0], cfg); err != nil {
			return fmt.Errorf("%s, unknown server: %w", service, err)
		}
	}
	return nil
}

// refused returns nil if the connection is refused in the handshake or, as TLS 1.3
// has it, on the first read after it.
func refused(ctx context.Context, addr string, cfg *tls.Config) error {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 2 * time.Second}, Config: cfg}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	_, err = conn.Read(make([]byte, 1))
	var alert tls.AlertError
	if errors.As(err, &alert) || err != nil && !errors.Is(err, context.DeadlineExceeded) {
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			return errors.New("the server kept the connection open")
		}
		return nil
	}
	return errors.New("the server answered")
}
