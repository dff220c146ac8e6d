package security_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/weft-mesh/weft/security"
)

// A review closes the connections of the callers that it refuses, and no others; a
// client's connections are not asked about.
func TestReview(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var reasons []*security.HandshakeError
		server := live(t, w.server, security.LiveConfig{Closed: func(e *security.HandshakeError) { reasons = append(reasons, e) }})
		client := live(t, w.client, security.LiveConfig{})
		c, s := held(t, client, server)
		defer c.Close()
		defer s.Close()
		var asked []string
		gone := errors.New("not any more")
		refuse := func(p security.PeerID) error { asked = append(asked, p.String()); return gone }
		if n := server.Review(nil) + server.Review(func(security.PeerID) error { return nil }) + client.Review(refuse); n != 0 || len(asked) != 0 || server.Open() != 1 {
			t.Fatalf("%d connections closed, asked about %v", n, asked)
		}
		if n := server.Review(refuse); n != 1 || server.Open() != 0 {
			t.Errorf("closed %d, open %d; want 1, 0", n, server.Open())
		}
		if len(asked) != 1 || asked[0] != clientID {
			t.Errorf("asked about %v, want %s", asked, clientID)
		}
		if len(reasons) != 1 || !errors.Is(reasons[0], security.ErrDenied) || !errors.Is(reasons[0], gone) || reasons[0].Got != clientID {
			t.Errorf("reasons %v", reasons)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("the caller can still read")
		}
	})
}
