package chain

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// formatOf tells the format by how the name of a file ends.
func formatOf(path string) (Format, bool) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".json":
		return JSON, true
	case ".yaml", ".yml":
		return YAML, true
	case ".hcl":
		return HCL, true
	}
	return "", false
}

// entryFiles are the files that paths stand for, in order.
func entryFiles(paths []string) ([]string, error) {
	if len(paths) == 0 {
		return nil, errors.New("resolver/chain: no file or folder of entries is named")
	}
	var files []string
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("resolver/chain: %w", err)
		}
		if !info.IsDir() {
			if _, ok := formatOf(p); !ok {
				return nil, fmt.Errorf("resolver/chain: %s: the name must end in .json, .yaml, .yml or .hcl", p)
			}
			files = append(files, p)
			continue
		}
		inside, err := os.ReadDir(p)
		if err != nil {
			return nil, fmt.Errorf("resolver/chain: %w", err)
		}
		n := len(files)
		for _, f := range inside {
			name := filepath.Join(p, f.Name())
			if _, ok := formatOf(name); !ok || strings.HasPrefix(f.Name(), ".") {
				continue
			}
			if info, err := os.Stat(name); err != nil {
				return nil, fmt.Errorf("resolver/chain: %w", err)
			} else if !info.IsDir() {
				files = append(files, name)
			}
		}
		if len(files) == n {
			return nil, fmt.Errorf("resolver/chain: %s has no file that ends in .json, .yaml, .yml or .hcl; for no entries, write [] into one", p)
		}
	}
	if len(files) > maxFiles {
		return nil, fmt.Errorf("resolver/chain: %d files of entries, over %d", len(files), maxFiles)
	}
	return files, nil
}

func readEntryFile(path string) ([]byte, error) {
	// Opening a pipe would wait for a writer.
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("resolver/chain: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("resolver/chain: %s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("resolver/chain: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, maxEntryBytes+1))
	if err != nil {
		return nil, fmt.Errorf("resolver/chain: %w", err)
	}
	return data, nil // one byte too many is for DecodeEntries to refuse
}

// stamp tells a state of files from others.
type stamp struct {
	path string
	info os.FileInfo
}

func stampOf(paths []string) []stamp {
	files, err := entryFiles(paths)
	if err != nil {
		return nil
	}
	out := make([]stamp, len(files))
	for i, f := range files {
		if out[i].info, err = os.Stat(f); err != nil {
			return nil
		}
		out[i].path = f
	}
	return out
}

func sameStamps(a, b []stamp) bool {
	return a != nil && slices.EqualFunc(a, b, func(x, y stamp) bool {
		return x.path == y.path && os.SameFile(x.info, y.info) && x.info.Size() == y.info.Size() && x.info.ModTime().Equal(y.info.ModTime())
	})
}
