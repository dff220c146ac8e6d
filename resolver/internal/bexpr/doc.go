// Package bexpr decides about instances of services by filters, as Consul does: in
// Consul's version of the language of bexpr, on the fields of its health results.
//
//	f, err := bexpr.Compile(`"primary" in Service.Tags and Checks.Status != "warning"`)
//	if f.Match(&instance) { … }
//
// An expression that Consul refuses, such as one on a field that there is not, is an
// error of Compile. What a filter may read is [Instance], whoever fills it.
package bexpr
