// Package resilience says what became of an attempt, once, for everyone who
// needs to know: the balancer's load, retries, breakers and metrics all read the
// same [Outcome].
//
// [FromGRPC] and [FromHTTP] make the Outcome from a transport's reply. A
// caller's own cancel or deadline and our own refusals are [Neutral]: they say
// nothing about the endpoint.
package resilience
