// Package bundleendpoint federates trust domains by SPIFFE bundle endpoints, as the
// SPIFFE Federation standard has them: an https address that gives a trust domain's
// bundle, with the profile https_web (the address has a certificate of the Web's CAs)
// or https_spiffe (it shows an X.509-SVID).
//
// [Follow] keeps the bundle of one other trust domain fresh. Give its result to
// security.Federate; several give several domains, and none is merged with another:
//
//	partner, err := bundleendpoint.Follow(bundleendpoint.Config{
//		TrustDomain: "partner.example",
//		URL:         "https://spire.partner.example/bundle",
//	})
//	src, err := security.Federate(own, partner)
//
// The endpoint is asked at the pace that its bundle asks for, within bounds. While it
// fails the last good bundle stays in use, and the event bundle.lost and Status say why. A
// bundle whose sequence number goes back is refused. One without X.509 authorities is
// taken as it is, with the event bundle.emptied: nobody of that domain is trusted any more.
//
// [Handler] is the other end: it serves our bundle, so that others can federate with us.
//
// A bundle says who is who, not what they may do: servers still ask their
// security.Authorizer about each caller.
package bundleendpoint
