package telemetry

import (
	"go.opentelemetry.io/otel/attribute"
)

// HTTPClient makes the cells of the requests to a service, by method. Make them once.
func (r *Registry) HTTPClient(service string) *Group[string] {
	g := newGroup(r, Other, func(method string) *Cell {
		return r.httpCell(false, attribute.String(AttrServerAddress, service), attribute.String(AttrHTTPMethod, method))
	})
	r.add(HTTPClientDuration, g.series)
	return g
}

// HTTPKey names the cell of a server: the method, and the pattern that matched.
type HTTPKey struct{ Method, Pattern string }

// HTTPServer makes the cells of the requests that this member serves. Make them once.
func (r *Registry) HTTPServer() *Group[HTTPKey] {
	g := newGroup(r, HTTPKey{Other, ""}, func(k HTTPKey) *Cell {
		attrs := []attribute.KeyValue{attribute.String(AttrHTTPMethod, k.Method), attribute.String(AttrURLScheme, "https")}
		if route := HTTPRoute(k.Pattern); route != "" {
			attrs = append(attrs, attribute.String(AttrHTTPRoute, route))
		}
		return r.httpCell(true, attrs...)
	})
	r.add(HTTPServerDuration, g.series)
	return g
}

func (r *Registry) httpCell(server bool, more ...attribute.KeyValue) *Cell {
	return newCell(firstStatus+len(statuses), r.cfg.Slow, func(end int) []attribute.KeyValue {
		attrs := more[:len(more):len(more)]
		if end >= firstStatus {
			attrs = append(attrs, attribute.Int(AttrHTTPStatus, statuses[end-firstStatus]))
		}
		if HTTPFailed(end, server) {
			attrs = append(attrs, attribute.String(AttrErrorType, HTTPEndName(end)))
		}
		return attrs
	})
}
