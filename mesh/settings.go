package mesh

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Origin says where a setting's value comes from.
type Origin string

// The origins, in order of precedence.
const (
	FromStruct      Origin = "struct"
	FromEnvironment Origin = "environment"
	FromDefault     Origin = "default"
	FromConsul      Origin = "consul"
)

// Setting is one line of the effective configuration.
type Setting struct {
	// Name is the field of Config.
	Name string
	// Env is the environment variable that can set it; empty if none can.
	Env string
	// Value is what is in effect. It never holds a secret.
	Value string
	// Origin is where Value comes from.
	Origin Origin
}

// Settings is an effective configuration.
type Settings []Setting

// Get returns the setting of a Config field.
func (s Settings) Get(name string) (Setting, bool) {
	for _, x := range s {
		if x.Name == name {
			return x, true
		}
	}
	return Setting{}, false
}

// Print writes the settings as a table.
func (s Settings) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "SETTING\tVALUE\tFROM\tENVIRONMENT")
	for _, x := range s {
		v := x.Value
		if v == "" {
			v = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", x.Name, v, x.Origin, x.Env)
	}
	return t.Flush()
}

// reader resolves settings by precedence and remembers where each came from.
type reader struct {
	getenv func(string) string
	list   Settings
	errs   []error
}

func (r *reader) add(name, env, value string, o Origin) {
	r.list = append(r.list, Setting{Name: name, Env: env, Value: value, Origin: o})
}

// set corrects a setting that was learnt later, for example from the Consul agent.
func (r *reader) set(name, value string, o Origin) {
	for i := range r.list {
		if r.list[i].Name == name {
			r.list[i].Value, r.list[i].Origin = value, o
		}
	}
}

func (r *reader) str(name, env, value, def string) string {
	o := FromStruct
	if value == "" {
		if value, o = r.getenv(env), FromEnvironment; value == "" {
			value, o = def, FromDefault
		}
	}
	r.add(name, env, value, o)
	return value
}

func (r *reader) list1(name, env string, value []string) []string {
	o := FromStruct
	if len(value) == 0 {
		o = FromEnvironment
		for _, s := range strings.Split(r.getenv(env), ",") {
			if s = strings.TrimSpace(s); s != "" {
				value = append(value, s)
			}
		}
		if len(value) == 0 {
			o = FromDefault
		}
	}
	r.add(name, env, strings.Join(value, ","), o)
	return value
}

func (r *reader) duration(name, env string, value, def time.Duration) time.Duration {
	o := FromStruct
	if value == 0 {
		if s := r.getenv(env); s != "" {
			d, err := time.ParseDuration(s)
			if err != nil {
				r.errs = append(r.errs, fmt.Errorf("mesh: %s=%q is not a duration such as \"2s\"", env, s))
			}
			value, o = d, FromEnvironment
		}
		if value == 0 {
			value, o = def, FromDefault
		}
	}
	shown := value.String()
	if value < 0 {
		shown = "off"
	}
	r.add(name, env, shown, o)
	return value
}

func (r *reader) integer(name, env string, value int) int {
	o := FromStruct
	if value == 0 {
		o = FromDefault
		if s := r.getenv(env); s != "" {
			n, err := strconv.Atoi(s)
			if err != nil {
				r.errs = append(r.errs, fmt.Errorf("mesh: %s=%q is not a whole number", env, s))
			}
			value, o = n, FromEnvironment
		}
	}
	r.add(name, env, strconv.Itoa(value), o)
	return value
}
