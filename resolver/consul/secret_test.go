package consul

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestConfigIsPrintedWithoutSecrets: by any verb, alone and within another value.
func TestConfigIsPrintedWithoutSecrets(t *testing.T) {
	t.Parallel()
	const secret = "ca9a4100-beef"
	for _, cfg := range []Config{
		{Name: "aws", Address: "c:8500", Token: secret, HTTPAuth: "user:" + secret},
		{Name: "aws", Address: "https://user:" + secret + "@c:8500?token=" + secret},
		{Name: "aws", Address: "user:" + secret + "@c:8500"},
	} {
		text := ""
		for _, v := range []any{cfg, &cfg, []Config{cfg}, struct{ C Config }{cfg}, map[string]Config{"a": cfg}} {
			doc, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			text += fmt.Sprintf("%v %+v %#v %s %q %x\n%s\n", v, v, v, v, v, v, doc)
		}
		if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
			t.Errorf("a secret is shown:\n%s", text)
		}
		if !strings.Contains(text, "aws") || !strings.Contains(text, "c:8500") {
			t.Errorf("nothing else is shown:\n%s", text)
		}
	}
	if got := fmt.Sprintf("%v", Config{Address: "http://c:8500/prefix"}); !strings.Contains(got, "http://c:8500/prefix") || strings.Contains(got, shown) {
		t.Errorf("%s", got)
	}
}
