package resilience

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// idempotency knows which gRPC methods are idempotent: those that a policy
// lists, and those whose option idempotency_level says so.
type idempotency struct {
	methods  map[string]bool // "/pay.Pay/Get"
	services map[string]bool // "/pay.Pay/"

	options sync.Map // method to bool, of the option
	cached  atomic.Int32
}

// newIdempotency takes full methods, "/pay.Pay/Get", and whole services, "/pay.Pay/".
func newIdempotency(names []string) (*idempotency, error) {
	m := &idempotency{methods: map[string]bool{}, services: map[string]bool{}}
	for _, name := range names {
		service, method, ok := splitMethod(name)
		if !ok {
			return nil, fmt.Errorf("resilience: GRPCClientConfig.Idempotent has %q: write a method as /package.Service/Method, a whole service as /package.Service/", name)
		}
		if method == "" {
			m.services["/"+service+"/"] = true
		} else {
			m.methods[name] = true
		}
	}
	return m, nil
}

func splitMethod(name string) (service, method string, ok bool) {
	rest, ok := strings.CutPrefix(name, "/")
	if !ok {
		return "", "", false
	}
	service, method, ok = strings.Cut(rest, "/")
	return service, method, ok && service != "" && !strings.Contains(method, "/")
}

func (m *idempotency) of(method string) bool {
	if m.methods[method] {
		return true
	}
	if len(m.services) > 0 {
		if i := strings.LastIndexByte(method, '/'); i > 0 && m.services[method[:i+1]] {
			return true
		}
	}
	if v, ok := m.options.Load(method); ok {
		return v.(bool)
	}
	yes := false
	if d := describe(method); d != nil {
		o, _ := d.Options().(*descriptorpb.MethodOptions)
		yes = o.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
	}
	if m.cached.Load() < maxMethods {
		m.cached.Add(1)
		m.options.Store(method, yes)
	}
	return yes
}

// describe finds a method among the protobuf files that the program has linked.
func describe(method string) protoreflect.MethodDescriptor {
	service, name, ok := splitMethod(method)
	if !ok {
		return nil
	}
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service + "." + name))
	if err != nil {
		return nil
	}
	md, _ := d.(protoreflect.MethodDescriptor)
	return md
}
