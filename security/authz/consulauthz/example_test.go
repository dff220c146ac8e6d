package consulauthz_test

import (
	"context"
	"fmt"

	"github.com/weft-mesh/weft/security/authz"
	"github.com/weft-mesh/weft/security/authz/consulauthz"
)

func Example() {
	src, err := consulauthz.New(consulauthz.Config{Service: "payments"})
	if err != nil {
		fmt.Println(err)
		return
	}
	a, err := authz.New(authz.Config{
		Scope:   authz.Scope{Service: "payments", TrustDomain: "11111111-2222-3333-4444-555555555555.consul"},
		Sources: []authz.Source{src},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close(context.Background())
	fmt.Println("ready before Consul has answered:", a.Ready())
	// Output: ready before Consul has answered: false
}
