package chain

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

const (
	maxFiles      = 4096     // of one Load
	maxTotalBytes = 32 << 20 // of all of them
)

// Load reads a set of entries from files whose names end in .json, .yaml, .yml or
// .hcl, and from the files so named in folders, but not in folders of these. See
// [DecodeEntries] for what is in a file; what is read but not honoured is in
// Problems of the set.
//
// It fails if any of the entries is not valid, or if they do not go together. So
// a test of one's own entries is short:
//
//	set, err := chain.Load("../consul")
func Load(paths ...string) (*EntrySet, error) {
	for range 9 {
		// A file that has gone since its folder was listed is no error.
		if set, err := load(paths); !errors.Is(err, fs.ErrNotExist) {
			return set, err
		}
	}
	return load(paths)
}

func load(paths []string) (*EntrySet, error) {
	files, err := entryFiles(paths)
	if err != nil {
		return nil, err
	}
	return loadFiles(files)
}

func loadFiles(files []string) (*EntrySet, error) {
	var all []Entry
	var problems []Problem
	var errs []error
	total := 0
	from := map[entryKey]string{}
	for _, path := range files {
		data, err := readEntryFile(path)
		if err != nil {
			return nil, err
		}
		if total += len(data); total > maxTotalBytes {
			return nil, fmt.Errorf("resolver/chain: %s: the files have over %d bytes in all", path, maxTotalBytes)
		}
		format, _ := formatOf(path)
		entries, found, err := DecodeEntries(data, format)
		errs = append(errs, withSource(err, func(*EntryError) string { return path })...)
		for _, e := range entries {
			if other, twice := from[keyOf(e)]; twice {
				err := entryWrong(e, "", "stands in %s too; there is one entry of a kind for each service", other)
				err.Source = path
				errs = append(errs, err)
				continue
			}
			from[keyOf(e)] = path
			all = append(all, e)
		}
		for _, p := range found {
			p.Source = path
			problems = append(problems, p)
		}
	}
	if len(errs) > 0 {
		return nil, joinErrors(errs)
	}
	set, err := NewEntrySet(all...)
	if err != nil {
		return nil, joinErrors(withSource(err, func(e *EntryError) string {
			return from[entryKey{e.Kind, strings.ToLower(e.Name)}]
		}))
	}
	set.problems = problems
	return set, nil
}

// withSource is err, taken apart, with the files of its entries.
func withSource(err error, source func(*EntryError) string) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, withSource(e, source)...)
		}
		return out
	}
	var e *EntryError
	if errors.As(err, &e) {
		named := *e
		named.Source = cmp.Or(e.Source, source(e))
		return []error{&named}
	}
	return []error{err}
}
