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
	"panic_mode.entered", "panic_mode.left", "failover.started", "failover.ended", "retry_budget.exhausted",
	"panic.recovered",

	"config.rejected", "config.unsupported", "config.loaded", "config.restored", "config.not_honoured", "chain.stale", "chain.unreadable", "chain.unsaved",
	"config.stale",
	"canary.taken_out", "canary.returning", "canary.restored",

	"identity.connected", "identity.lost", "identity.loaded", "identity.refused",
	"identity.cache_failed", "identity.cache_unusable",
	"svid.rotated", "svid.expiring", "svid.expired", "svid.rejected", "svid.renewal_failed",
	"bundle.updated", "bundle.lost", "bundle.removed", "bundle.connected", "bundle.emptied", "bundle.loaded", "bundle.unserved",
	"bundle.cache_failed", "bundle.cache_unusable", "peers.updated", "peers.refused", "peers.unknown", "peers.cache_failed", "peers.cache_unusable", "trust_domain.updated", "trust_domain.unknown",
	"key.readable", "devca.in_use", "peer.rejected", "peer.closed", "peer.plaintext", "sidecars.found",

	"authz.denied", "authz.would_deny", "authz.allowed", "authz.egress_denied", "authz.egress_would_deny", "authz.revoked", "authz.not_ready", "authz.rules", "authz.rule_refused",
	"authz.rules_loaded", "authz.rules_held", "authz.source_connected", "authz.source_lost", "authz.source_ended",
	"authz.cache_unusable", "authz.cache_failed", "authz.default_unknown", "authz.file_refused", "authz.keys", "authz.peers", "authz.peers_refused", "authz.keys_unavailable",
}
