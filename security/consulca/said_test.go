package consulca_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
)

// errSaid is why a context of untilSaid ended.
var errSaid = errors.New("the log says what the test waits for")

// untilSaid is a context that ends, because of errSaid, once the log has words in one
// event: however long the answer that they come from takes.
func untilSaid(t *testing.T, words string) (context.Context, *slog.Logger) {
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	return ctx, slog.New(slog.NewTextHandler(listener(func(event []byte) {
		if bytes.Contains(event, []byte(words)) {
			cancel(errSaid)
		}
	}), nil))
}

// listener hears each event of a log.
type listener func([]byte)

func (l listener) Write(p []byte) (int, error) { l(p); return len(p), nil }
