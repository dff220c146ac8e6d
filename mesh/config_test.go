package mesh

import (
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/consul"
	"github.com/weft-mesh/weft/resolver/static"
	"github.com/weft-mesh/weft/security/files"
)

func env(pairs ...string) func(string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(k string) string { return m[k] }
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cfg    Config
		env    func(string) string
		field  string
		value  string
		origin Origin
	}{
		"service by struct":       {Config{Service: "a"}, env("WEFT_SERVICE", "b"), "Service", "a", FromStruct},
		"service by environment":  {Config{}, env("WEFT_SERVICE", "b"), "Service", "b", FromEnvironment},
		"cloud by environment":    {Config{Service: "a"}, env("WEFT_CLOUD", "aws"), "Locality.Cloud", "aws", FromEnvironment},
		"zone by default":         {Config{Service: "a"}, env(), "Locality.Zone", "", FromDefault},
		"drain by struct":         {Config{Service: "a", DrainTimeout: time.Second}, env("WEFT_DRAIN_TIMEOUT", "9s"), "DrainTimeout", "1s", FromStruct},
		"drain by environment":    {Config{Service: "a"}, env("WEFT_DRAIN_TIMEOUT", "9s"), "DrainTimeout", "9s", FromEnvironment},
		"drain by default":        {Config{Service: "a"}, env(), "DrainTimeout", "20s", FromDefault},
		"drain off":               {Config{Service: "a", DrainTimeout: -1}, env(), "DrainTimeout", "off", FromStruct},
		"order by environment":    {Config{Service: "a"}, env("WEFT_CLOUD_ORDER", "gcp, azure"), "Balancer.CloudOrder", "gcp,azure", FromEnvironment},
		"order by struct":         {Config{Service: "a", Balancer: balancer.Config{CloudOrder: []string{"x"}}}, env("WEFT_CLOUD_ORDER", "gcp"), "Balancer.CloudOrder", "x", FromStruct},
		"subset by environment":   {Config{Service: "a"}, env("WEFT_SUBSET_SIZE", "32"), "Balancer.SubsetSize", "32", FromEnvironment},
		"embedded by default":     {Config{Service: "a"}, env(), "Catalog", "embedded", FromDefault},
		"dev identity by default": {Config{Service: "a"}, env(), "Identity", "development CA, not for production", FromDefault},
		"Consul by environment":   {Config{Service: "a"}, env("CONSUL_HTTP_ADDR", "10.0.0.1:8500"), "Catalog", "consul: 10.0.0.1:8500", FromEnvironment},
		"clouds by environment": {Config{Service: "a"}, env("WEFT_CLOUDS", "aws,gcp=dc:gcp,az=https://az:8501,p=peer:other", "CONSUL_HTTP_ADDR", "x:1"),
			"Catalog", "consul: aws,gcp=dc:gcp,az=https://az:8501,p=peer:other", FromEnvironment},
		"clouds by struct":         {Config{Service: "a", Clouds: []consul.Config{{Name: "aws"}}}, env("WEFT_CLOUDS", "gcp"), "Catalog", "consul: aws", FromStruct},
		"file by struct":           {Config{Service: "a", CatalogFile: "f.yaml"}, env("WEFT_CLOUDS", "gcp"), "CatalogFile", "f.yaml", FromStruct},
		"file by environment":      {Config{Service: "a"}, env("WEFT_CATALOG_FILE", "f.yaml", "CONSUL_HTTP_ADDR", "x:1"), "CatalogFile", "f.yaml", FromEnvironment},
		"Consul's CA":              {Config{Service: "a"}, env("CONSUL_HTTP_ADDR", "x:1"), "Identity", "Consul Connect CA", FromDefault},
		"SPIFFE before Consul":     {Config{Service: "a"}, env("CONSUL_HTTP_ADDR", "x:1", "SPIFFE_ENDPOINT_SOCKET", "unix:///s"), "Identity", "SPIFFE Workload API", FromEnvironment},
		"files before SPIFFE":      {Config{Service: "a", Files: files.Config{Cert: "c"}}, env("SPIFFE_ENDPOINT_SOCKET", "unix:///s"), "Identity", "files: c", FromStruct},
		"files by environment":     {Config{Service: "a"}, env("WEFT_SVID_CERT", "c.pem"), "Identity", "files: c.pem", FromEnvironment},
		"snapshots off":            {Config{Service: "a", SnapshotDir: "off"}, env("CONSUL_HTTP_ADDR", "x:1"), "SnapshotDir", "off", FromStruct},
		"no snapshots in memory":   {Config{Service: "a"}, env(), "SnapshotDir", "", FromDefault},
		"fast propagation at home": {Config{Service: "a"}, env(), "Propagation", "100ms", FromDefault},
		"ballast by environment":   {Config{Service: "a"}, env("WEFT_HEAP_BALLAST", "8MiB"), "HeapBallast", "8388608", FromEnvironment},
		"ballast in bytes":         {Config{Service: "a"}, env("WEFT_HEAP_BALLAST", "65536"), "HeapBallast", "65536", FromEnvironment},
		"ballast by struct":        {Config{Service: "a", HeapBallast: 1 << 20}, env("WEFT_HEAP_BALLAST", "8MiB"), "HeapBallast", "1048576", FromStruct},
		"no ballast by struct":     {Config{Service: "a", HeapBallast: -1}, env("WEFT_HEAP_BALLAST", "8MiB"), "HeapBallast", "off", FromStruct},
		"no ballast":               {Config{Service: "a"}, env("WEFT_HEAP_BALLAST", "off"), "HeapBallast", "off", FromEnvironment},
		"traces by default":        {Config{Service: "a"}, env(), "Telemetry.TraceRatio", "0.01", FromDefault},
		"traces by environment":    {Config{Service: "a"}, env("WEFT_TRACE_RATIO", "0.25"), "Telemetry.TraceRatio", "0.25", FromEnvironment},
		"traces by struct":         {Config{Service: "a", Telemetry: TelemetryConfig{TraceRatio: 1}}, env("WEFT_TRACE_RATIO", "0.25"), "Telemetry.TraceRatio", "1", FromStruct},
		"no traces by struct":      {Config{Service: "a", Telemetry: TelemetryConfig{TraceRatio: -1}}, env("WEFT_TRACE_RATIO", "1"), "Telemetry.TraceRatio", "off", FromStruct},
		"no traces by environment": {Config{Service: "a"}, env("WEFT_TRACE_RATIO", "0"), "Telemetry.TraceRatio", "off", FromEnvironment},
		"access log off":           {Config{Service: "a"}, env("WEFT_ACCESS_RATIO", "off"), "Telemetry.AccessRatio", "off", FromEnvironment},
		"access log of all":        {Config{Service: "a"}, env("WEFT_ACCESS_RATIO", "1"), "Telemetry.AccessRatio", "1", FromEnvironment},
		"late spans":               {Config{Service: "a"}, env("WEFT_TRACE_RETROACTIVE", "true"), "Telemetry.Retroactive", "true", FromEnvironment},
		"late spans by struct":     {Config{Service: "a", Telemetry: TelemetryConfig{Retroactive: true}}, env("WEFT_TRACE_RETROACTIVE", "false"), "Telemetry.Retroactive", "true", FromStruct},
		"baggage":                  {Config{Service: "a"}, env("WEFT_FOREIGN_BAGGAGE", "1"), "Telemetry.ForeignBaggage", "true", FromEnvironment},
		"baggage by default":       {Config{Service: "a"}, env(), "Telemetry.ForeignBaggage", "false", FromDefault},
		"endpoint labels":          {Config{Service: "a"}, env("WEFT_ENDPOINT_LABELS", "true"), "Telemetry.EndpointLabels", "true", FromEnvironment},
		"methods by environment":   {Config{Service: "a"}, env("WEFT_MAX_METHODS", "20"), "Telemetry.MaxMethods", "20", FromEnvironment},
		"methods by default":       {Config{Service: "a"}, env(), "Telemetry.MaxMethods", "200", FromDefault},
		"propagation with Consul":  {Config{Service: "a"}, env("CONSUL_HTTP_ADDR", "x:1"), "Propagation", "2s", FromDefault},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := resolve(tt.cfg, tt.env)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := r.settings.list.Get(tt.field)
			if !ok || got.Value != tt.value || got.Origin != tt.origin {
				t.Errorf("%s = %q from %s, want %q from %s", tt.field, got.Value, got.Origin, tt.value, tt.origin)
			}
		})
	}
}

func TestBadConfigIsRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cfg  Config
		env  func(string) string
		want string // in the error
	}{
		"no service":                {Config{}, env(), "WEFT_SERVICE"},
		"bad service":               {Config{Service: "a/b"}, env(), "Config.Service"},
		"bad duration":              {Config{Service: "a"}, env("WEFT_DRAIN_TIMEOUT", "soon"), `WEFT_DRAIN_TIMEOUT="soon"`},
		"bad number":                {Config{Service: "a"}, env("WEFT_SUBSET_SIZE", "many"), `WEFT_SUBSET_SIZE="many"`},
		"trace share as a word":     {Config{Service: "a"}, env("WEFT_TRACE_RATIO", "some"), `WEFT_TRACE_RATIO="some"`},
		"trace share in percent":    {Config{Service: "a"}, env("WEFT_TRACE_RATIO", "50"), `WEFT_TRACE_RATIO="50"`},
		"trace share below 0":       {Config{Service: "a"}, env("WEFT_TRACE_RATIO", "-1"), `WEFT_TRACE_RATIO="-1"`},
		"trace share is no number":  {Config{Service: "a"}, env("WEFT_TRACE_RATIO", "NaN"), `WEFT_TRACE_RATIO="NaN"`},
		"trace share in the struct": {Config{Service: "a", Telemetry: TelemetryConfig{TraceRatio: 50}}, env(), "Config.Telemetry.TraceRatio is 50"},
		"access share":              {Config{Service: "a"}, env("WEFT_ACCESS_RATIO", "1.01"), `WEFT_ACCESS_RATIO="1.01"`},
		"bad switch":                {Config{Service: "a"}, env("WEFT_ENDPOINT_LABELS", "maybe"), `WEFT_ENDPOINT_LABELS="maybe"`},
		"no methods":                {Config{Service: "a"}, env("WEFT_MAX_METHODS", "0"), `WEFT_MAX_METHODS="0"`},
		"negative methods":          {Config{Service: "a", Telemetry: TelemetryConfig{MaxMethods: -1}}, env(), "Config.Telemetry.MaxMethods is -1"},
		"ballast as a word":         {Config{Service: "a"}, env("WEFT_HEAP_BALLAST", "much"), `WEFT_HEAP_BALLAST="much"`},
		"negative ballast":          {Config{Service: "a"}, env("WEFT_HEAP_BALLAST", "-1"), `WEFT_HEAP_BALLAST="-1"`},
		"ballast of gigabytes":      {Config{Service: "a"}, env("WEFT_HEAP_BALLAST", "2000MiB"), "HeapBallast"},
		"ballast in the struct":     {Config{Service: "a", HeapBallast: 1<<30 + 1}, env(), "HeapBallast"},
		"negative connect":          {Config{Service: "a", ConnectTimeout: -1}, env(), "ConnectTimeout"},
		"cloud without a name":      {Config{Service: "a"}, env("WEFT_CLOUDS", "=dc:gcp"), "WEFT_CLOUDS"},
		"address as a name":         {Config{Service: "a"}, env("WEFT_CLOUDS", "http://c:8500"), "WEFT_CLOUDS"},
		"identity missing":          {Config{Service: "a", Catalog: static.New(static.Config{})}, env(), "Config.Identity"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := resolve(tt.cfg, tt.env)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v does not name %s", err, tt.want)
			}
		})
	}
}

// A secret that got into an address must not be shown, also not in the error
// that refuses it.
func TestSettingsHoldNoSecret(t *testing.T) {
	t.Parallel()
	const canary = "s3cr3t-canary"
	for name, e := range map[string]func(string) string{
		"user info in CONSUL_HTTP_ADDR": env("CONSUL_HTTP_ADDR", "http://user:"+canary+"@c:8500"),
		"query in CONSUL_HTTP_ADDR":     env("CONSUL_HTTP_ADDR", "http://c:8500?token="+canary),
		"user info in WEFT_CLOUDS":      env("WEFT_CLOUDS", "aws=http://user:"+canary+"@c:8500"),
		"token in WEFT_CLOUDS":          env("WEFT_CLOUDS", "aws=http://c:8500?token="+canary),
		"token as a name":               env("WEFT_CLOUDS", "user:"+canary+"@c=dc:x"),
		"token in the environment":      env("CONSUL_HTTP_ADDR", "c:8500", "CONSUL_HTTP_TOKEN", canary),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := resolve(Config{Service: "a"}, e)
			var out strings.Builder
			if perr := r.settings.list.Print(&out); perr != nil {
				t.Fatal(perr)
			}
			if err != nil {
				out.WriteString(err.Error())
			}
			if strings.Contains(out.String(), canary) {
				t.Errorf("the secret is shown:\n%s", out.String())
			}
		})
	}
}

func TestPeerIDOfACatalogThatDoesNotSay(t *testing.T) {
	t.Parallel()
	m := member(t, Config{Service: "a"})
	for _, tt := range []struct {
		ep   resolver.Endpoint
		want string
	}{
		{resolver.Endpoint{Service: "pay", SPIFFEID: "spiffe://x/y"}, "spiffe://x/y"},
		{resolver.Endpoint{Service: "pay", Locality: resolver.Locality{Cloud: "aws"}}, "spiffe://weft.dev.internal/ns/default/dc/aws/svc/pay"},
		{resolver.Endpoint{Service: "pay"}, "spiffe://weft.dev.internal/ns/default/dc/local/svc/pay"},
		{resolver.Endpoint{Service: "p/y"}, ""}, // no ID at all: the handshake is refused
	} {
		if got := m.peerID(&tt.ep); got != tt.want {
			t.Errorf("peerID(%+v) = %q, want %q", tt.ep, got, tt.want)
		}
	}
	own := member(t, Config{Service: "a", PeerID: func(e *resolver.Endpoint) string { return "spiffe://own/" + e.Service }})
	if got := own.peerID(&resolver.Endpoint{Service: "pay", SPIFFEID: "spiffe://x/y"}); got != "spiffe://own/pay" {
		t.Errorf("Config.PeerID was overruled: %q", got)
	}
}
