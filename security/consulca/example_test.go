package consulca_test

import (
	"context"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/security/consulca"
)

func ExampleNew() {
	// The agent is the one that CONSUL_HTTP_ADDR names.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := consulca.New(ctx, consulca.Config{Service: "pay/ments"})
	fmt.Println(err)
	// Output: consulca: Config.Service "pay/ments" cannot be part of a SPIFFE ID: path segment characters are limited to letters, numbers, dots, dashes, and underscores
}
