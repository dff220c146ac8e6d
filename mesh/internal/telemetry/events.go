package telemetry

// Events are the names of all events that the mesh and its rooms log; each is the
// message of a slog record. They are stable: alerts and scripts may match them.
var Events = []string{
	"access", // one call, if an access log is asked for

	"mesh.joined", "mesh.left", "mesh.serving", "mesh.drain_timeout", "mesh.deregister_failed",
	"mesh.locality_unknown", "mesh.telemetry_failed",

	"registry.connected", "registry.lost", "registry.stale", "registry.unknown", "registry.acl_filtered",
	"registry.empty_held", "registry.mass_removal_held", "registry.hold_ended", "registry.index_regressed",
	"registry.snapshot_loaded", "registry.snapshot_ignored", "registry.snapshot_failed",
	"endpoints.updated", "endpoints.malformed",
	"instance.registered", "instance.lost", "instance.heartbeat_failed", "instance.deregistered",

	"endpoint.ejected", "endpoint.restored", "zone.degraded", "zone.restored",
	"breaker.opened", "breaker.half_open", "breaker.closed",
	"panic.recovered",

	"config.rejected", "config.unsupported", "config.loaded", "config.restored", "config.not_honoured", "chain.stale", "chain.unreadable", "chain.unsaved",
	"canary.taken_out", "canary.returning", "canary.restored",

	"identity.connected", "identity.lost", "identity.loaded", "identity.refused",
	"identity.cache_failed", "identity.cache_unusable",
	"svid.rotated", "svid.expiring", "svid.expired", "svid.rejected", "svid.renewal_failed",
	"bundle.updated", "trust_domain.updated", "trust_domain.unknown",
	"key.readable", "devca.in_use", "peer.rejected",
}
