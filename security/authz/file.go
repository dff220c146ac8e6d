package authz

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// FileConfig says where local rules are. Path is required.
type FileConfig struct {
	// Path of a YAML or JSON file, see [ParseRules]. Empty is refused.
	Path string
	// Every is how often the file is looked at. 0: 1 s; negative: never again.
	Every time.Duration
	// Logger is told of changes. nil: nobody is.
	Logger *slog.Logger
}

// File is a Source: rules in a file that may change. A version that cannot be read as
// a whole leaves the last one in force.
type File struct {
	cfg   FileConfig
	first Rules
	sum   [sha256.Size]byte
}

// OpenFile reads the file once.
func OpenFile(cfg FileConfig) (*File, error) {
	if cfg.Every == 0 {
		cfg.Every = time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	f := &File{cfg: cfg}
	data, err := readBounded(cfg.Path, maxRules)
	if err != nil {
		return nil, fmt.Errorf("authz: rules: %w", err)
	}
	if f.first, err = ParseRules(data); err != nil {
		return nil, fmt.Errorf("authz: rules in %s: %w", cfg.Path, err)
	}
	f.sum = sha256.Sum256(data)
	return f, nil
}

// Watch implements Source.
func (f *File) Watch(ctx context.Context, set func(Rules)) error {
	set(f.first)
	if f.cfg.Every < 0 {
		return nil
	}
	tick := time.NewTicker(f.cfg.Every)
	defer tick.Stop()
	sum, failed := f.sum, ""
	var info os.FileInfo
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := os.Stat(f.cfg.Path)
		if err == nil && info != nil && now.ModTime().Equal(info.ModTime()) && now.Size() == info.Size() && time.Since(now.ModTime()) > 2*time.Second {
			continue
		}
		var data []byte
		if err == nil {
			data, err = readBounded(f.cfg.Path, maxRules)
		}
		if next := sha256.Sum256(data); err == nil && next != sum {
			var rules Rules
			if rules, err = ParseRules(data); err == nil {
				sum = next
				set(rules)
			}
		}
		if err == nil {
			info, failed = now, ""
		} else if err.Error() != failed {
			failed = err.Error()
			f.cfg.Logger.Error("authz.file_refused", "path", f.cfg.Path, "detail", "the last rules stay in force", "error", clip(failed))
		}
	}
}

// ParseRules reads local rules: one or more YAML or JSON documents, each a
// service-intentions entry, a jwt-provider entry, or {kind: default-policy, action:
// allow|deny}. Names of fields are Consul's, in its JSON's or its HCL's spelling
// (PathPrefix, path_prefix). A permission may have a condition (CEL), a source an id.
// What cannot be honoured in an entry denies, as everywhere; a document that is no
// entry at all is an error.
func ParseRules(data []byte) (Rules, error) {
	if len(data) > maxRules {
		return Rules{}, fmt.Errorf("authz: rules of %d bytes, the limit is %d", len(data), maxRules)
	}
	sum := sha256.Sum256(data)
	rules := Rules{Version: "file " + hex.EncodeToString(sum[:4])}
	docs := yaml.NewDecoder(bytes.NewReader(data))
	for n := 1; ; n++ {
		var node yaml.Node
		err := docs.Decode(&node)
		if errors.Is(err, io.EOF) {
			return rules, nil
		}
		if err != nil {
			return Rules{}, fmt.Errorf("authz: document %d: %s", n, clip(err.Error()))
		}
		if err := rules.add(&node); err != nil {
			return Rules{}, fmt.Errorf("authz: document %d: %w", n, err)
		}
	}
}

func (r *Rules) add(node *yaml.Node) error {
	budget := 100_000
	v, err := plain(node, true, 0, &budget)
	if err != nil {
		return err
	}
	if v == nil {
		return nil // an empty document
	}
	doc, ok := v.(map[string]any)
	if !ok {
		return errors.New("not a config entry")
	}
	data, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	switch kind, _ := doc["kind"].(string); kind {
	case KindIntentions:
		list, err := DecodeEntry(data)
		if err != nil {
			return err
		}
		r.Intentions = append(r.Intentions, list...)
	case KindProvider:
		p, err := DecodeProvider(data)
		if err != nil {
			return err
		}
		r.Providers = append(r.Providers, p)
	case "default-policy":
		var d struct {
			Kind   string
			Action Action
		}
		if err := strict(data, &d); err != nil || d.Action != Allow && d.Action != Deny {
			return fmt.Errorf("default-policy: want action: %s or %s, and nothing else", Allow, Deny)
		}
		r.Default = d.Action
	default:
		return fmt.Errorf("kind %q, want %s, %s or default-policy", clip(kind), KindIntentions, KindProvider)
	}
	return nil
}

// plain makes JSON of YAML, with fields in one spelling: lower case and without
// underscores. Keys that are not fields keep theirs.
func plain(n *yaml.Node, fields bool, depth int, budget *int) (any, error) {
	if *budget--; depth > maxDepth || *budget < 0 {
		return nil, errors.New("too deep or too large")
	}
	switch n.Kind {
	case 0:
		return nil, nil
	case yaml.DocumentNode:
		if len(n.Content) == 0 {
			return nil, nil
		}
		return plain(n.Content[0], fields, depth, budget)
	case yaml.AliasNode:
		return nil, fmt.Errorf("line %d: an alias", n.Line)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			v, err := plain(c, fields, depth+1, budget)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if n.Content[i].Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("line %d: a key that is no text", n.Content[i].Line)
			}
			if fields {
				key = strings.ReplaceAll(strings.ToLower(key), "_", "")
			}
			if _, twice := m[key]; twice {
				return nil, fmt.Errorf("line %d: key %q is there twice", n.Content[i].Line, clip(key))
			}
			v, err := plain(n.Content[i+1], fields && key != "meta", depth+1, budget)
			if err != nil {
				return nil, err
			}
			m[key] = v
		}
		return m, nil
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, fmt.Errorf("line %d: %s", n.Line, clip(err.Error()))
	}
	switch v.(type) {
	case nil, bool, string, int, int64, uint64, float64:
		return v, nil
	}
	return n.Value, nil // a date, for example, is text
}
