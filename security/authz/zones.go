package authz

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// maxZones bounds the time zones that are kept; names may come with requests.
const maxZones = 64

// zones keeps the time zones that conditions ask for: CEL would read one from the
// disk for each request.
type zones struct {
	mu    sync.Mutex
	known atomic.Pointer[map[string]*time.Location]
}

// load is time.LoadLocation.
func (z *zones) load(name string) (*time.Location, error) {
	known := z.known.Load()
	if known != nil {
		if loc := (*known)[name]; loc != nil {
			return loc, nil
		}
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, err
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	next := map[string]*time.Location{}
	if known = z.known.Load(); known != nil {
		next = maps.Clone(*known)
	}
	if len(next) < maxZones {
		next[name] = loc
		z.known.Store(&next)
	}
	return loc, nil
}

// accessors are CEL's functions of a time and the name of a zone.
func (z *zones) accessors() []cel.EnvOption {
	var options []cel.EnvOption
	for _, f := range []struct {
		function, overload string
		get                func(time.Time) int
	}{
		{overloads.TimeGetFullYear, overloads.TimestampToYearWithTz, time.Time.Year},
		{overloads.TimeGetMonth, overloads.TimestampToMonthWithTz, func(t time.Time) int { return int(t.Month()) - 1 }},
		{overloads.TimeGetDayOfYear, overloads.TimestampToDayOfYearWithTz, func(t time.Time) int { return t.YearDay() - 1 }},
		{overloads.TimeGetDayOfMonth, overloads.TimestampToDayOfMonthZeroBasedWithTz, func(t time.Time) int { return t.Day() - 1 }},
		{overloads.TimeGetDate, overloads.TimestampToDayOfMonthOneBasedWithTz, time.Time.Day},
		{overloads.TimeGetDayOfWeek, overloads.TimestampToDayOfWeekWithTz, func(t time.Time) int { return int(t.Weekday()) }},
		{overloads.TimeGetHours, overloads.TimestampToHoursWithTz, time.Time.Hour},
		{overloads.TimeGetMinutes, overloads.TimestampToMinutesWithTz, time.Time.Minute},
		{overloads.TimeGetSeconds, overloads.TimestampToSecondsWithTz, time.Time.Second},
		{overloads.TimeGetMilliseconds, overloads.TimestampToMillisecondsWithTz, func(t time.Time) int { return t.Nanosecond() / 1e6 }},
	} {
		options = append(options, cel.Function(f.function, cel.MemberOverload(f.overload,
			[]*cel.Type{cel.TimestampType, cel.StringType}, cel.IntType,
			cel.BinaryBinding(func(at, zone ref.Val) ref.Val {
				t, ok := at.(types.Timestamp)
				name, named := zone.(types.String)
				if !ok || !named {
					return types.MaybeNoSuchOverloadErr(at)
				}
				if strings.Contains(string(name), ":") { // an offset from UTC
					return t.Receive(f.function, f.overload, []ref.Val{zone})
				}
				loc, err := z.load(string(name))
				if err != nil {
					return types.NewErrFromString(err.Error())
				}
				return types.Int(f.get(t.In(loc)))
			}))))
	}
	return options
}
