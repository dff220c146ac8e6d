package mesh

import (
	"fmt"
	"strconv"

	"github.com/weft-mesh/weft/mesh/internal/telemetry"
)

func (r *resolved) resolveTelemetry() {
	s, t := r.settings, &r.Telemetry
	t.TraceRatio = s.ratio("Telemetry.TraceRatio", "WEFT_TRACE_RATIO", t.TraceRatio, telemetry.DefaultTraceRatio)
	t.Retroactive = s.boolean("Telemetry.Retroactive", "WEFT_TRACE_RETROACTIVE", t.Retroactive)
	t.ForeignBaggage = s.boolean("Telemetry.ForeignBaggage", "WEFT_FOREIGN_BAGGAGE", t.ForeignBaggage)
	t.MaxMethods = s.count("Telemetry.MaxMethods", "WEFT_MAX_METHODS", t.MaxMethods, telemetry.DefaultMaxMethods)
	t.EndpointLabels = s.boolean("Telemetry.EndpointLabels", "WEFT_ENDPOINT_LABELS", t.EndpointLabels)
	t.AccessRatio = s.ratio("Telemetry.AccessRatio", "WEFT_ACCESS_RATIO", t.AccessRatio, telemetry.DefaultAccessRatio)
}

// ratio is a share from 0 to 1. In a struct 0 is the default and negative is none; in
// the environment 0 and "off" are none, because empty is the default there.
func (r *reader) ratio(name, env string, value, def float64) float64 {
	o := FromStruct
	if value == 0 {
		o = FromDefault
		if s := r.getenv(env); s != "" {
			v, err := strconv.ParseFloat(s, 64)
			if s == "off" {
				v, err = 0, nil
			}
			if err != nil || !(v >= 0 && v <= 1) {
				r.errs = append(r.errs, fmt.Errorf("mesh: %s=%q is not a share: use a number from 0 (none) to 1 (all), or \"off\"", env, s))
			}
			if value, o = v, FromEnvironment; v == 0 {
				value = -1
			}
		} else {
			value = def
		}
	}
	if o == FromStruct && !(value <= 1) {
		r.errs = append(r.errs, fmt.Errorf("mesh: Config.%s is %v: use a share up to 1 (all); 0 is the default, %v, and negative is none", name, value, def))
	}
	shown := strconv.FormatFloat(value, 'g', -1, 64)
	if value < 0 {
		shown = "off"
	}
	r.add(name, env, shown, o)
	return value
}

// boolean is off unless the struct or the environment turns it on.
func (r *reader) boolean(name, env string, value bool) bool {
	o := FromStruct
	if !value {
		o = FromDefault
		if s := r.getenv(env); s != "" {
			v, err := strconv.ParseBool(s)
			if err != nil {
				r.errs = append(r.errs, fmt.Errorf("mesh: %s=%q is neither \"true\" nor \"false\"", env, s))
			}
			value, o = v, FromEnvironment
		}
	}
	r.add(name, env, strconv.FormatBool(value), o)
	return value
}

// count is a whole number of 1 or more.
func (r *reader) count(name, env string, value, def int) int {
	o := FromStruct
	if value == 0 {
		value, o = def, FromDefault
		if s := r.getenv(env); s != "" {
			n, err := strconv.Atoi(s)
			if err != nil || n < 1 {
				r.errs = append(r.errs, fmt.Errorf("mesh: %s=%q is not a whole number of 1 or more", env, s))
			}
			value, o = n, FromEnvironment
		}
	}
	if o == FromStruct && value < 0 {
		r.errs = append(r.errs, fmt.Errorf("mesh: Config.%s is %d: use 1 or more; 0 is the default, %d", name, value, def))
	}
	r.add(name, env, strconv.Itoa(value), o)
	return value
}
