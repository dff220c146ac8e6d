package mesh

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/resolver/consul"
)

// A Join that can get no identity ends, also if nobody bounds it.
func TestJoinWithoutAnIdentityEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		// Nothing listens there: each attempt fails at once, and the next one waits.
		_, err := Join(context.Background(), Config{
			Service: "pay", SnapshotDir: "off",
			Clouds: []consul.Config{{Name: "aws", Address: "unix:///nonexistent/consul.sock"}},
		})
		var me *Error
		if !errors.As(err, &me) || me.Op != "join" || !strings.Contains(err.Error(), "no identity within 30s") {
			t.Errorf("error %v", err)
		}
		if took := time.Since(start); took < 30*time.Second || took > time.Minute {
			t.Errorf("Join took %v", took)
		}
	})
}
