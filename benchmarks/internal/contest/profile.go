package contest

import (
	"errors"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
)

// EnvProfile names a folder for the profiles of all processes. GODEBUG=memprofilerate=1
// makes those of allocations exact, and slow.
const EnvProfile = "WEFT_CONTEST_PROFILE"

// profile writes ROLE-NAME.cpu and ROLE-NAME.allocs when stop is called.
func profile(role, name string) (stop func() error, err error) {
	dir := os.Getenv(EnvProfile)
	if dir == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	base := filepath.Join(dir, role+"-"+strings.NewReplacer(" ", "-", "/", "-").Replace(name))
	cpu, err := os.Create(base + ".cpu")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(err, cpu.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		err := cpu.Close()
		allocs, err2 := os.Create(base + ".allocs")
		if err2 == nil {
			err2 = errors.Join(pprof.Lookup("allocs").WriteTo(allocs, 0), allocs.Close())
		}
		return errors.Join(err, err2)
	}, nil
}
