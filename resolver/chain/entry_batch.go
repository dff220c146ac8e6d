package chain

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/weft-mesh/weft/resolver"
)

// batch collects what became of the entries of a document.
type batch struct {
	entries  []Entry
	problems []Problem
	errs     []error
}

func (b *batch) add(i, of int, item any) {
	at := ""
	if of > 1 {
		at = fmt.Sprintf("entry %d of %d: ", i+1, of)
	}
	m, ok := item.(map[string]any)
	if !ok {
		b.errs = append(b.errs, &EntryError{Why: at + describeTree(item) + " where an entry is needed"})
		return
	}
	kind, _ := lookUp(m, "kind").(string)
	name, _ := lookUp(m, "name").(string)
	refuse := func(field, why string) {
		b.errs = append(b.errs, &EntryError{Kind: kind, Name: name, Field: field, Why: why})
	}
	e := newEntry(kind)
	switch {
	case e == nil && otherKind(kind):
		b.problems = append(b.problems, Problem{Kind: kind, Name: name, Why: "is left out: entries of this kind are no part of a chain"})
		return
	case e == nil && lookUp(m, "apiversion") != nil:
		refuse("", at+"is a Kubernetes resource; write the entry as Consul's API takes it, with kind and name at the top")
		return
	case e == nil && kind == "":
		refuse("", at+"has no kind; it needs one of service-router, service-splitter, service-resolver, service-defaults, proxy-defaults")
		return
	case e == nil:
		refuse("", at+"this kind is not known; use service-router, service-splitter, service-resolver, service-defaults or proxy-defaults")
		return
	}
	for _, key := range []string{"Namespace", "Partition"} {
		v := lookUp(m, strings.ToLower(key))
		if s, ok := v.(string); v != nil && (!ok || s != "" && s != "default") {
			refuse(key, "only \"default\" is possible: others need Consul Enterprise, and would be other services")
			return
		}
	}
	d := treeDecoder{kind: kind, name: name}
	err := d.value("", m, reflect.ValueOf(e).Elem())
	if err == nil {
		normalize(e)
		err = Validate(e)
	}
	if err != nil {
		b.errs = append(b.errs, err)
		return
	}
	d.extra(e)
	if d.more > 0 {
		d.problems = append(d.problems, Problem{Kind: kind, Name: name, Why: fmt.Sprintf("%d more fields have problems", d.more)})
	}
	b.entries = append(b.entries, e)
	b.problems = append(b.problems, d.problems...)
}

// extra reports what only the whole entry shows.
func (d *treeDecoder) extra(e Entry) {
	p, ok := e.(*ProxyDefaults)
	if !ok {
		return
	}
	for _, key := range sortedKeys(p.Config) {
		if !strings.EqualFold(key, "protocol") {
			d.report(fmt.Sprintf("Config[%q]", key), "has no effect: it is a setting of the sidecar")
		}
	}
	if proto := p.protocol(); proto != "" && !knownProtocol(strings.ToLower(proto)) {
		d.report("Config.protocol", fmt.Sprintf("%q is taken for tcp; known are tcp, http, http2 and grpc", clip(proto)))
	}
}

// checkName refuses names that no service can have.
func checkName(e Entry) error {
	if e.EntryName() == "" {
		return entryWrong(e, "Name", "is empty; an entry belongs to a service")
	}
	if err := resolver.CheckService(e.EntryName()); err != nil {
		return entryWrong(e, "Name", "%s", strings.TrimPrefix(err.Error(), "resolver: "))
	}
	return nil
}

// joinErrors is one error of many, or nil.
func joinErrors(errs []error) error {
	if len(errs) > maxErrors {
		errs = append(errs[:maxErrors:maxErrors], fmt.Errorf("resolver/chain: and %d more entries", len(errs)-maxErrors))
	}
	return errors.Join(errs...)
}
