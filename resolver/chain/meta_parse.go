package chain

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// ParsePolicy reads the weft- keys of a service-defaults entry's Meta. Each replaces
// its field of base. A value that makes no sense leaves the field of base, and is
// a problem, as is a weft- key that does not exist; the problems name no entry. Of
// the keys for residency such a value allows nothing instead.
func ParsePolicy(base Policy, meta map[string]string) (Policy, []Problem) {
	p := base
	var bad problems
	for _, k := range slices.Sorted(maps.Keys(meta)) {
		if !strings.HasPrefix(k, "weft-") {
			continue
		}
		if err := p.set(k, strings.TrimSpace(meta[k])); err != nil {
			bad.add(kindDefaults, "", "Meta["+k+"]", fmt.Sprintf("%q: %v", clip(meta[k]), err))
		}
	}
	for _, pair := range [][3]string{
		{KeyMirrorPercent, KeyMirror, "nothing is mirrored"},
		{KeyFaultDelayShare, KeyFaultDelay, "nothing is delayed"},
		{KeyFaultAbortShare, KeyFaultAbort, "nothing is aborted"},
		{KeyHedgeMethods, KeyHedge, "nothing is hedged"},
	} {
		if meta[pair[0]] != "" && meta[pair[1]] == "" && p.idle(pair[1]) {
			bad.add(kindDefaults, "", "Meta["+pair[0]+"]", "without "+pair[1]+" "+pair[2])
		}
	}
	for _, k := range []string{KeyGuardVolume, KeyGuardWindow, KeyGuardHold, KeyGuardBaseline} {
		if meta[k] != "" && !p.Guard.On() {
			bad.add(kindDefaults, "", "Meta["+k+"]", "without "+KeyGuardErrors+" or "+KeyGuardLatency+" nothing is watched")
		}
	}
	p.normal(meta)
	return p, bad.list
}

// idle reports whether base does not have what a key would switch on.
func (p *Policy) idle(key string) bool {
	switch key {
	case KeyMirror:
		return p.Mirror.Service == ""
	case KeyFaultDelay:
		return p.Fault.Delay == 0
	case KeyFaultAbort:
		return p.Fault.Code == 0 && p.Fault.Status == 0
	}
	return !p.Hedge.Enabled
}

// normal fills in the percentages that are left out: what is named is done to all.
func (p *Policy) normal(meta map[string]string) {
	for _, v := range []struct {
		key, percent string
		to           *float64
	}{
		{KeyMirror, KeyMirrorPercent, &p.Mirror.Percent},
		{KeyFaultDelay, KeyFaultDelayShare, &p.Fault.DelayPercent},
		{KeyFaultAbort, KeyFaultAbortShare, &p.Fault.AbortPercent},
	} {
		if meta[v.key] != "" && meta[v.percent] == "" && *v.to == 0 && !p.idle(v.key) {
			*v.to = 100
		}
	}
	if p.Mirror.Service == "" {
		p.Mirror.Percent = 0
	}
}

func (p *Policy) set(key, v string) (err error) {
	switch key {
	case KeyProfile:
		if _, err = ProfileOf(v); err == nil {
			p.Profile = v
		}
	case KeyMirror:
		if err = resolver.CheckService(v); err == nil {
			p.Mirror.Service = v
		}
	case KeyMirrorPercent:
		err = percent(&p.Mirror.Percent, v)
	case KeyFaultDelay:
		err = span(&p.Fault.Delay, v, time.Millisecond, time.Hour)
	case KeyFaultDelayShare:
		err = percent(&p.Fault.DelayPercent, v)
	case KeyFaultAbort:
		err = p.Fault.abort(v)
	case KeyFaultAbortShare:
		err = percent(&p.Fault.AbortPercent, v)
	case KeyHedge:
		err = p.Hedge.parse(v)
	case KeyHedgeMethods:
		err = list(&p.Hedge.Methods, v, nil)
	case KeyActive:
		p.Active = v
	case KeySticky:
		err = list(&p.Sticky, v, checkSticky)
	case KeyClouds:
		err = places(&p.Residency.Clouds, v)
	case KeyRegions:
		err = places(&p.Residency.Regions, v)
	case KeyLocalityFailover:
		var on bool
		if on, err = onOff(v); err == nil {
			p.LocalityFailover = &on
		}
	case KeyGuardErrors:
		var f float64
		if err = percent(&f, v); err == nil {
			p.Guard.MaxErrors = f / 100
		}
	case KeyGuardLatency:
		var f float64
		if f, err = strconv.ParseFloat(v, 64); err != nil || !(f > 1 && f <= 1000) {
			return fmt.Errorf("want a number more than 1 and at most 1000")
		}
		p.Guard.MaxLatency = f
	case KeyGuardVolume:
		var n int
		if n, err = strconv.Atoi(v); err != nil || n < 1 || n > 1e9 {
			return fmt.Errorf("want a whole number from 1 to 1000000000")
		}
		p.Guard.MinVolume = n
	case KeyGuardWindow:
		err = span(&p.Guard.Window, v, 100*time.Millisecond, time.Hour)
	case KeyGuardHold:
		err = span(&p.Guard.Hold, v, 100*time.Millisecond, 24*time.Hour)
	case KeyGuardBaseline:
		p.Guard.Baseline = v
	default:
		err = fmt.Errorf("there is no such key; see the README of package chain")
	}
	return err
}
