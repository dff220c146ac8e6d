package authz

import (
	"net/textproto"
	"reflect"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// headerMap is request.headers: a map whose entries are made when they are asked for,
// because most conditions ask for one of many.
type headerMap struct {
	headers Headers // nil: none
	all     traits.Mapper
}

// everyHeader is what request.headers needs of Headers that it can list.
type everyHeader interface {
	Headers
	each(func(name string, values []string))
}

// whole is the map with all entries: the headers by lower-case name.
func (h *headerMap) whole() traits.Mapper {
	if h.all == nil {
		m := map[string][]string{}
		if e, ok := h.headers.(everyHeader); ok {
			e.each(func(name string, values []string) { m[name] = values })
		}
		h.all = types.DefaultTypeAdapter.NativeToValue(m).(traits.Mapper)
	}
	return h.all
}

// Find implements traits.Mapper.
func (h *headerMap) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	e, listed := h.headers.(everyHeader)
	if !ok || !listed {
		return h.whole().Find(key)
	}
	if lowerASCII(string(name)) != string(name) {
		return nil, false
	}
	values := e.Values(textproto.CanonicalMIMEHeaderKey(string(name)))
	if len(values) == 0 {
		return nil, false
	}
	if len(values) > maxHeaderValues {
		return types.NewErr("too many values"), false
	}
	return types.NewStringList(types.DefaultTypeAdapter, values), true
}

// Contains implements traits.Container.
func (h *headerMap) Contains(key ref.Val) ref.Val {
	v, found := h.Find(key)
	if v != nil && types.IsUnknownOrError(v) {
		return v
	}
	return types.Bool(found)
}

// Get implements traits.Indexer.
func (h *headerMap) Get(key ref.Val) ref.Val {
	v, found := h.Find(key)
	if !found {
		return types.ValOrErr(v, "no such header")
	}
	return v
}

// Iterator implements traits.Iterable.
func (h *headerMap) Iterator() traits.Iterator { return h.whole().Iterator() }

// Size implements traits.Sizer.
func (h *headerMap) Size() ref.Val { return h.whole().Size() }

// ConvertToNative implements ref.Val.
func (h *headerMap) ConvertToNative(t reflect.Type) (any, error) { return h.whole().ConvertToNative(t) }

// ConvertToType implements ref.Val.
func (h *headerMap) ConvertToType(t ref.Type) ref.Val { return h.whole().ConvertToType(t) }

// Equal implements ref.Val.
func (h *headerMap) Equal(other ref.Val) ref.Val {
	if o, ok := other.(*headerMap); ok {
		other = o.whole()
	}
	return h.whole().Equal(other)
}

// Type implements ref.Val.
func (h *headerMap) Type() ref.Type { return types.MapType }

// Value implements ref.Val.
func (h *headerMap) Value() any { return h.whole().Value() }

// AggregateSize implements types.AggregateSizeVisitor, for the cost of a condition.
func (h *headerMap) AggregateSize(sizer types.AggregateSizer) uint32 {
	return sizer.AggregateSize(h.whole())
}
