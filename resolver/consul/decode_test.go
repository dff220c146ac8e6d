package consul

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/weft-mesh/weft/resolver"
)

var testMapping = mapping{source: "aws", service: "web", namespace: "default"}

// TestMalformedEntries: drill D26, one bad entry between two good ones.
func TestMalformedEntries(t *testing.T) {
	t.Parallel()
	node := `{"Node":"n1","Address":"10.0.0.9","Datacenter":"aws"}`
	entry := func(service string) string {
		return `{"Node":` + node + `,"Service":` + service + `,"Checks":[{"Status":"passing"}]}`
	}
	good := func(id string) string { return entry(`{"ID":"` + id + `","Service":"web","Port":80}`) }
	service := func(fields string) string { return entry(`{"ID":"bad","Service":"web","Port":80,` + fields + `}`) }
	tests := []struct {
		name, entry string
		served      bool
		want        string // Addr if served, else part of the reason
	}{
		{"no address: the node's", service(`"Address":""`), true, "10.0.0.9:80"},
		{"IPv6", service(`"Address":"2001:db8::1"`), true, "[2001:db8::1]:80"},
		{"host name", service(`"Address":"web.example.com"`), true, "web.example.com:80"},
		{"bad IP", service(`"Address":"10.0.0.256"`), false, "10.0.0.256"},
		{"unspecified", service(`"Address":"0.0.0.0"`), false, "0.0.0.0"},
		{"unspecified IPv6", service(`"Address":"::"`), false, "::"},
		{"control bytes in address", service(`"Address":"a\u0000b"`), false, `\x00`},
		{"port 0", service(`"Port":0`), false, "port 0"},
		{"port -1", service(`"Port":-1`), false, "port -1"},
		{"port 65536", service(`"Port":65536`), false, "port 65536"},
		{"port 1e308", service(`"Port":1e308`), false, "1e308"},
		{"port is text", service(`"Port":"80"`), false, "Port"},
		{"weights not set", service(`"Weights":{"Passing":0,"Warning":0}`), true, "10.0.0.9:80"},
		{"weight 0", service(`"Weights":{"Passing":0,"Warning":1}`), false, "weights"},
		{"weight -1", service(`"Weights":{"Passing":-1,"Warning":1}`), false, "weights"},
		{"weight 65536", service(`"Weights":{"Passing":65536,"Warning":1}`), false, "weights"},
		{"weight NaN", service(`"Weights":{"Passing":"NaN"}`), false, "Passing"},
		{"weight 65535", service(`"Weights":{"Passing":65535,"Warning":1}`), true, "10.0.0.9:80"},
		{"meta is a list", service(`"Meta":["a"]`), false, "Meta"},
		{"unknown check status", strings.Replace(service(`"Address":""`), "passing", "fine", 1), false, `"fine"`},
		{"another service", entry(`{"ID":"bad","Service":"api","Port":80}`), false, `"api"`},
		{"a sidecar", service(`"Kind":"connect-proxy"`), false, "connect-proxy"},
		{"no id", entry(`{"Service":"web","Port":80}`), false, "service id"},
		{"id of 10 KB", service(`"ID":"` + strings.Repeat("x", 10<<10) + `"`), false, "too long"},
		{"control bytes in id", service(`"ID":"a\nb"`), false, "control"},
		{"invalid UTF-8 in id", service("\"ID\":\"a\xff\""), false, "control"},
		{"no node", `{"Service":{"ID":"bad","Service":"web","Port":80}}`, false, "node's name"},
		{"listed twice", good("a"), false, "twice"},
		{"not an object", `7`, false, "number"},
		{"null", `null`, false, "node's name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, err := testMapping.decode(strings.NewReader("[" + good("a") + "," + tt.entry + "," + good("z") + "]"))
			if err != nil {
				t.Fatal(err)
			}
			if first, last := l.instances[0], l.instances[len(l.instances)-1]; first.ID.Instance != "a" || last.ID.Instance != "z" {
				t.Errorf("the neighbours are not served: %+v", l.instances)
			}
			if tt.served {
				if len(l.instances) != 3 || l.skipped != 0 || l.instances[1].Addr != tt.want {
					t.Errorf("got %+v, %q", l.instances, l.reasons)
				}
				return
			}
			if len(l.instances) != 2 || l.skipped != 1 || !strings.Contains(strings.Join(l.reasons, "\n"), tt.want) {
				t.Errorf("%d served, %d skipped, reasons %q, want %q", len(l.instances), l.skipped, l.reasons, tt.want)
			}
			for _, r := range l.reasons {
				if len(r) > 1000 || !utf8.ValidString(r) {
					t.Errorf("a reason of %d bytes: %.100q", len(r), r)
				}
			}
		})
	}
}

func TestMappingRules(t *testing.T) {
	t.Parallel()
	const native = `[{"Node":{"Node":"n","Address":"10.0.0.1","Datacenter":"gcp","TaggedAddresses":{"wan":"198.51.100.9"},"Meta":{"weft-region":"node-r"}},
		"Service":{"ID":"i","Service":"web","Address":%q,"Port":80,%s"Connect":{"Native":true}},"Checks":[{"Status":%q}]}]`
	decode := func(m mapping, addr, fields, status string) instance {
		t.Helper()
		body := strings.NewReplacer("%q,\"Port", strconv.Quote(addr)+`,"Port`, "%s", fields, "%q}", strconv.Quote(status)+"}").Replace(native)
		l, err := m.decode(strings.NewReader(body))
		if err != nil || len(l.instances) != 1 {
			t.Fatalf("%v, %+v of %s", err, l, body)
		}
		return l.instances[0]
	}
	wan, peer, ent := testMapping, testMapping, testMapping
	wan.wan, peer.peer, ent.namespace, ent.partition = true, true, "team", "east"
	const tagged = `"TaggedAddresses":{"wan":{"Address":"203.0.113.1","Port":8443},"wan_ipv4":{"Address":"10.0.0.1","Port":80}},`

	for name, got := range map[string][2]string{
		"lan address":             {decode(testMapping, "10.0.0.2", tagged, "passing").Addr, "10.0.0.2:80"},
		"wan address":             {decode(wan, "10.0.0.2", tagged, "passing").Addr, "203.0.113.1:8443"},
		"wan of the node":         {decode(wan, "", "", "passing").Addr, "198.51.100.9:80"},
		"own address, no wan":     {decode(wan, "10.0.0.2", "", "passing").Addr, "10.0.0.2:80"},
		"identity":                {decode(testMapping, "", "", "passing").path, "/ns/default/dc/gcp/svc/web"},
		"identity, partition":     {decode(ent, "", "", "passing").path, "/ap/east/ns/team/dc/gcp/svc/web"},
		"identity at a peer":      {decode(peer, "", `"Meta":{"weft-native":"true"},`, "passing").path, "/ns/default/dc/gcp/svc/web"},
		"region of the node":      {decode(testMapping, "", "", "passing").Locality.Region, "node-r"},
		"region of the service":   {decode(testMapping, "", `"Locality":{"Region":"r","Zone":"z"},`, "passing").Locality.String(), "aws/r/z"},
		"protocol":                {decode(testMapping, "", `"Meta":{"protocol":"grpc"},`, "passing").Protocol, "grpc"},
		"own protocol wins":       {decode(testMapping, "", `"Meta":{"protocol":"grpc","weft-protocol":"http"},`, "passing").Protocol, "http"},
		"unknown protocol":        {decode(testMapping, "", `"Meta":{"protocol":"ftp"},`, "passing").Protocol, ""},
		"warning without traffic": {decode(testMapping, "", `"Weights":{"Passing":5,"Warning":0},`, "warning").Health.String(), "critical"},
		"maintenance":             {decode(testMapping, "", "", "maintenance").Health.String(), "critical"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: got %q, want %q", name, got[0], got[1])
		}
	}
}

func TestMetadataIsBounded(t *testing.T) {
	t.Parallel()
	var meta []string
	for i := range 80 { // Consul takes 64
		meta = append(meta, strconv.Quote(strings.Repeat("k", 126)+strconv.Itoa(10+i))+":"+strconv.Quote(strings.Repeat("v", 512)))
	}
	tags := strconv.Quote(strings.Repeat("t", 1<<20))
	l, err := testMapping.decode(strings.NewReader(`[{"Node":{"Node":"n","Address":"10.0.0.1"},"Service":{"ID":"i","Service":"web","Port":1,"Tags":["a",` +
		tags + `],"Meta":{` + strings.Join(meta, ",") + `}}}]`))
	if err != nil || len(l.instances) != 1 || l.skipped != 0 || len(l.reasons) != 2 {
		t.Fatalf("%v, %d served, %q", err, len(l.instances), l.reasons)
	}
	size := 0
	for k, v := range l.instances[0].Metadata {
		size += len(k) + len(v)
	}
	if size > maxMeta || size < maxMeta/2 || !slices.Equal(l.instances[0].Tags, []string{"a"}) {
		t.Errorf("kept %d bytes of metadata and %d tags", size, len(l.instances[0].Tags))
	}
}

func FuzzHealthJSON(f *testing.F) {
	f.Add([]byte(`[]`))
	f.Add([]byte(`null`))
	f.Add([]byte(instances(2)))
	f.Add([]byte(`[{"Node":{"Node":"n","Address":"::1","Datacenter":"a","Locality":{"Region":"r"}},"Service":{"ID":"b","Service":"web","Port":1,
		"Weights":{"Passing":3,"Warning":0},"Connect":{"Native":true},"Meta":{"weft-native":"true"}},"Checks":[{"Status":"warning"}]},7,
		{"Node":{"Node":"n","Address":"::1"},"Service":{"ID":"a","Port":65536}}]`))
	if sample, err := os.ReadFile("testdata/health-service-web.json"); err == nil {
		f.Add(sample)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, m := range []mapping{testMapping, {source: "x", service: "web", namespace: "n", partition: "p", peer: true, wan: true}} {
			l, err := m.decode(bytes.NewReader(body))
			if err != nil {
				continue
			}
			if l.skipped > 0 && len(l.reasons) == 0 || len(l.reasons) > maxReasons {
				t.Fatalf("%d skipped, reasons %q", l.skipped, l.reasons)
			}
			for i, in := range l.instances {
				if in.Weight < 1 || in.Weight > resolver.MaxWeight || in.Health > resolver.Critical || in.Addr == "" ||
					in.ID.Source != m.source || in.ID.Node == "" || in.ID.Instance == "" {
					t.Fatalf("instance %+v", in)
				}
				if i > 0 && l.instances[i-1].ID.Compare(in.ID) >= 0 {
					t.Fatalf("%v before %v", l.instances[i-1].ID, in.ID)
				}
			}
		}
	})
}

func FuzzTrustDomain(f *testing.F) {
	f.Add([]byte(`{"TrustDomain":"ab5ff4c2-9293-d4a7-0602-e135ac2d3dcc.consul"}`))
	f.Add([]byte(`{"PeerCAPems":["-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n"]}`))
	f.Add([]byte(`{"TrustDomain":"a/b"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, read := range []string{"roots", "peer"} {
			decode := rootsDomain
			if read == "peer" {
				decode = peerDomain
			}
			d, err := decode(bytes.NewReader(body))
			if err == nil && (d == "" || len(d) > 255 || strings.ContainsAny(d, "/:@? \n")) {
				t.Fatalf("%s: %q", read, d)
			}
		}
	})
}
