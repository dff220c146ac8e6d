package resolver

import "strings"

// Locality says where an endpoint or a caller runs, from coarse to fine. An
// empty field is unknown; an unknown field never equals another one, so two
// endpoints without a zone are not in the same zone.
type Locality struct {
	// Cloud is the catalog source's name, for example "aws" or "gcp".
	Cloud string
	// Region is the region inside the cloud, for example "eu-west-1".
	Region string
	// Zone is the availability zone inside the region, for example "eu-west-1a".
	Zone string
}

// String is "cloud/region/zone" with "-" for an unknown part.
func (l Locality) String() string {
	part := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	return strings.Join([]string{part(l.Cloud), part(l.Region), part(l.Zone)}, "/")
}

// SameCloud reports whether both clouds are known and equal.
func (l Locality) SameCloud(m Locality) bool { return l.Cloud != "" && l.Cloud == m.Cloud }

// SameRegion reports whether both are known to be in one region of one cloud.
func (l Locality) SameRegion(m Locality) bool {
	return l.SameCloud(m) && l.Region != "" && l.Region == m.Region
}

// SameZone reports whether both are known to be in one zone of one region.
func (l Locality) SameZone(m Locality) bool {
	return l.SameRegion(m) && l.Zone != "" && l.Zone == m.Zone
}
