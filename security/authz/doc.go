// Package authz decides what a proven caller may do: by Consul's intentions, L4 and
// L7, with Consul's precedence; by local rules of the same model, which may also
// hold conditions in CEL; by tokens (JWT); and by an engine of your own.
//
//	rules, err := authz.ReadFile("policy.yaml")
//	if err != nil { … }
//	a, err := authz.New(authz.Config{Service: "payments", TrustDomain: "mesh.example", Sources: []authz.Source{rules}})
//	if err != nil { … }
//	defer a.Close(ctx)
//	h := authz.HTTPHandler(a, mux)                            // net/http
//	srv := grpc.NewServer(authz.GRPCServerOptions(a)...)      // gRPC
//
// Rules that come from several sources must all allow. What cannot be read denies:
// a field that is not known, a provider that is missing, a condition that fails, an
// answer that is not there yet. A source that goes away leaves its last rules in
// force.
//
// A request is judged before its body is read, on the one spelling of its path
// that the router then gets ([Normalize]); spellings that two parsers could read
// differently are refused. A caller is told that it may not, never why: that is
// in the audit log.
//
// Where this differs from Envoy as Consul configures it, it is stricter: a deny
// permission looks at each value of a repeated header, and holds whatever token is
// shown; an intention that wants a token is never passed without one; the default
// policy covers the members of the own trust domain only.
//
// It does not verify certificates: package security does, and hands over the
// caller's SPIFFE ID.
package authz
