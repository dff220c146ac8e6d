//go:build !unix

package consultest

import (
	"context"
	"io"
	"os"
)

// lockFile does nothing where there are no advisory locks: parallel processes
// build twice, and the atomic rename keeps either result whole.
func lockFile(context.Context, string, io.Writer) (func(), error) { return func() {}, nil }

// tryLock does nothing either: parallel processes may choose the same ports, and
// those whose agents find them taken choose others.
func tryLock(string) (*os.File, bool) { return nil, true }
