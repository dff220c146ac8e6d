package consultest

import (
	"fmt"
	"io"
	"strings"
)

// Token is the management token of agents that were started with ACL.
const Token = "11111111-2222-3333-4444-555555555555"

// Config describes one agent. The zero value is one server of datacenter dc1
// that keeps its state in memory and allows everything.
type Config struct {
	// Datacenter is the agent's datacenter; empty means "dc1".
	Datacenter string
	// Node is the node name; empty means the datacenter's name and "-1".
	Node string
	// Region and Zone are the node's locality; empty leaves it out.
	Region, Zone string
	// ACL turns access control on with default deny and Token as the management
	// token; false allows everything.
	ACL bool
	// Persist keeps the state on disk, so that Restart finds it again; false
	// means that a restart comes back empty. A persistent server starts in
	// 3 to 5 s instead of 0.5 s.
	Persist bool
	// Join makes this a client agent of that server; nil makes it a server.
	Join *Agent
	// HCL is appended to the agent's configuration; empty adds nothing.
	HCL string
	// Progress hears about a build of the binary; nil means silent.
	Progress io.Writer

	primary string   // federation: the primary datacenter
	wan     []string // federation: serf WAN addresses
}

func (c Config) withDefaults() Config {
	if c.Datacenter == "" {
		c.Datacenter = "dc1"
		if c.Join != nil {
			c.Datacenter = c.Join.Datacenter
		}
	}
	if c.Node == "" {
		c.Node = c.Datacenter + "-1"
		if c.Join != nil {
			c.Node = c.Datacenter + "-client"
		}
	}
	if c.Join != nil {
		c.ACL = c.Join.cfg.ACL
	}
	return c
}

// render is the agent's configuration file.
func (c Config) render(p ports) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("node_name = %q", c.Node)
	line("datacenter = %q", c.Datacenter)
	line(`bind_addr = "127.0.0.1"`)
	line(`client_addr = "127.0.0.1"`)
	line(`log_level = "INFO"`)
	line("disable_update_check = true")
	line("performance { raft_multiplier = 1 }")
	line("ports { http = %d server = %d serf_lan = %d serf_wan = %d grpc = %d grpc_tls = %d dns = -1 }",
		p.http, p.server, p.serfLAN, p.serfWAN, p.grpc, p.grpcTLS)
	if c.Region != "" || c.Zone != "" {
		line("locality { region = %q zone = %q }", c.Region, c.Zone)
	}
	if c.Join != nil {
		line("server = false")
		line("retry_join = [%q]", fmt.Sprintf("127.0.0.1:%d", c.Join.ports.serfLAN))
		line(`retry_interval = "1s"`)
	} else {
		line("server = true")
	}
	if c.primary != "" {
		line("primary_datacenter = %q", c.primary)
		line(`retry_interval_wan = "1s"`)
		line("retry_join_wan = [%s]", quoteAll(c.wan))
	}
	if c.ACL {
		line("acl { enabled = true default_policy = \"deny\" enable_token_replication = true")
		line("  tokens { initial_management = %q replication = %q agent = %q } }", Token, Token, Token)
	}
	b.WriteString(c.HCL)
	b.WriteByte('\n')
	return b.String()
}

func quoteAll(s []string) string {
	q := make([]string, len(s))
	for i := range s {
		q[i] = fmt.Sprintf("%q", s[i])
	}
	return strings.Join(q, ", ")
}
