package authz

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Bounds of one condition.
const (
	maxCondition     = 4 << 10 // bytes of its source
	maxConditionCost = 10_000  // CEL's units, roughly one per step and ten bytes of text
	maxHeaderValues  = 1000    // of one header; a condition over one that has more denies
)

// conditions compiles the conditions of one service.
type conditions struct {
	env   *cel.Env
	err   error
	zones zones
	// What is the same for each request, as values of CEL.
	service, tags, metadata ref.Val
}

// condition is one compiled expression; it is safe for concurrent use.
type condition struct {
	program cel.Program
	of      *conditions
}

func newConditions(s Scope) *conditions {
	c := &conditions{service: types.String(s.Service)}
	tags := s.Tags
	if tags == nil {
		tags = []string{}
	}
	meta := s.Metadata
	if meta == nil {
		meta = map[string]string{}
	}
	c.tags = types.DefaultTypeAdapter.NativeToValue(tags)
	c.metadata = types.DefaultTypeAdapter.NativeToValue(meta)
	return c
}

// variables are what conditions can use.
func variables() []cel.EnvOption {
	text := []string{
		"caller.id", "caller.trust_domain", "caller.partition", "caller.namespace", "caller.datacenter", "caller.service",
		"caller.cloud", "caller.region", "caller.zone",
		"request.protocol", "request.method", "request.path", "request.authority",
		"grpc.service", "grpc.method", "service.name",
	}
	options := []cel.EnvOption{
		cel.Variable("request.headers", cel.MapType(cel.StringType, cel.ListType(cel.StringType))),
		cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("now", cel.TimestampType),
		cel.Variable("service.tags", cel.ListType(cel.StringType)),
		cel.Variable("service.metadata", cel.MapType(cel.StringType, cel.StringType)),
		cel.ParserRecursionLimit(64),
		cel.ParserExpressionSizeLimit(maxCondition),
		cel.DefaultUTCTimeZone(true),
	}
	for _, name := range text {
		options = append(options, cel.Variable(name, cel.StringType))
	}
	return options
}

// compile parses and checks an expression once. Its result must be true or false.
func (c *conditions) compile(source string) (*condition, error) {
	if len(source) > maxCondition {
		return nil, fmt.Errorf("%d bytes, the limit is %d", len(source), maxCondition)
	}
	if c.env == nil && c.err == nil {
		c.env, c.err = cel.NewEnv(append(c.zones.accessors(), variables()...)...)
	}
	if c.err != nil {
		return nil, c.err
	}
	ast, issues := c.env.Compile(source)
	if issues != nil && issues.Err() != nil {
		first, _, _ := strings.Cut(issues.Err().Error(), "\n")
		return nil, errors.New(clip(first))
	}
	if out := ast.OutputType(); !out.IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("its result is of type %s, want bool", out)
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if !c.bounded(ast) {
		options = append(options, cel.CostLimit(maxConditionCost))
	}
	program, err := c.env.Program(ast, options...)
	if err != nil {
		return nil, errors.New(clip(err.Error()))
	}
	return &condition{program, c}, nil
}

// eval says whether the condition holds. An error says that it cannot be told.
func (c *condition) eval(p *Policy, r *Request, claims map[string]any) (bool, error) {
	out, _, err := c.program.Eval(&activation{c: c.of, p: p, r: r, claims: claims})
	if err != nil {
		// CEL's text may quote values of the request, a token's claims among them.
		if strings.Contains(err.Error(), "cost limit") {
			return false, errors.New("the condition costs too much for this request")
		}
		return false, errors.New("the condition cannot be told for this request")
	}
	b, ok := out.(types.Bool)
	if !ok {
		return false, errors.New("the condition is neither true nor false for this request")
	}
	return bool(b), nil
}

// activation gives an expression the values that it asks for.
type activation struct {
	c       *conditions
	p       *Policy
	r       *Request
	claims  map[string]any
	key     caller
	parsed  bool
	headers headerMap
}

// Parent implements cel.Activation.
func (*activation) Parent() cel.Activation { return nil }

// ResolveName implements cel.Activation.
func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case "claims":
		if a.claims == nil {
			return map[string]any{}, true
		}
		return a.claims, true
	case "now":
		t := a.r.Time
		if t.IsZero() {
			t = time.Now()
		}
		return types.Timestamp{Time: t.UTC()}, true
	case "service.name":
		return a.c.service, true
	case "service.tags":
		return a.c.tags, true
	case "service.metadata":
		return a.c.metadata, true
	case "request.protocol":
		return types.String(a.r.Protocol), true
	case "request.method":
		return types.String(a.r.Method), true
	case "request.path":
		return types.String(a.r.Path), true
	case "request.authority":
		return types.String(lowerASCII(a.r.Authority)), true
	case "request.headers":
		a.headers.headers = a.r.Headers
		return &a.headers, true
	case "grpc.service", "grpc.method":
		service, method := "", ""
		if a.r.Protocol == "grpc" {
			service, method, _ = strings.Cut(strings.TrimPrefix(a.r.Path, "/"), "/")
		}
		if name == "grpc.service" {
			return types.String(service), true
		}
		return types.String(method), true
	}
	return a.caller(name)
}

func (a *activation) caller(name string) (any, bool) {
	if !a.parsed {
		a.key, _ = source(a.r.Caller)
		a.parsed = true
	}
	switch name {
	case "caller.id":
		return types.String(a.r.Caller.String()), true
	case "caller.trust_domain":
		return types.String(a.key.domain), true
	case "caller.partition":
		return types.String(a.key.partition), true
	case "caller.namespace":
		return types.String(a.key.namespace), true
	case "caller.datacenter":
		return types.String(a.key.datacenter), true
	case "caller.service":
		return types.String(a.key.name), true
	case "caller.cloud", "caller.region", "caller.zone":
		l, ok := a.p.scope.Localities[a.key.datacenter]
		if !ok {
			l = Locality{Cloud: a.key.datacenter}
		}
		switch name {
		case "caller.cloud":
			return types.String(l.Cloud), true
		case "caller.region":
			return types.String(l.Region), true
		}
		return types.String(l.Zone), true
	}
	return nil, false
}
