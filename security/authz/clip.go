package authz

import "github.com/weft-mesh/weft/security/internal/foreign"

// clip makes text from outside safe to print.
func clip(s string) string { return foreign.Clip(s) }
