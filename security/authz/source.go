package authz

import (
	"context"
)

// Source gives rules and what becomes of them.
type Source interface {
	// Watch calls set with the rules once they are known and each time they
	// change, until ctx ends or they will not change any more. It does not call
	// set while the rules cannot be had: the last ones stay in force. An error
	// that it returns is logged.
	Watch(ctx context.Context, set func(Rules)) error
}

// Static are rules that do not change.
type Static Rules

// Watch implements Source.
func (s Static) Watch(_ context.Context, set func(Rules)) error {
	set(Rules(s))
	return nil
}
