package authz

import (
	"net/http"
	"strings"
	"testing"
)

func TestUnwelcome(t *testing.T) {
	t.Parallel()
	for _, name := range identityNames {
		for _, spelled := range []string{name, strings.ToUpper(name), http.CanonicalHeaderKey(name), strings.ReplaceAll(name, "-", "_")} {
			if !unwelcome(spelled) {
				t.Errorf("%q comes through", spelled)
			}
		}
	}
	for name, want := range map[string]bool{
		"": false, "Accept": false, "Weft-Timeout": false, "weft_timeout": true, "X_Weft_Timeout": true,
		"X-Request-Id": false, "x_request_id": false, "L5d-Dst": false,
	} {
		if unwelcome(name) != want {
			t.Errorf("%q is unwelcome: %v", name, !want)
		}
	}
}
