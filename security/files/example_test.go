package files_test

import (
	"context"
	"fmt"

	"github.com/weft-mesh/weft/security/files"
)

func ExampleNew() {
	_, err := files.New(context.Background(), files.Config{
		Cert:   "/run/identity/tls.crt",
		Key:    "/run/identity/tls.key",
		Bundle: "", // where are the CA certificates?
	})
	fmt.Println(err)
	// Output: files: Config.Bundle is empty, want the name of a PEM file
}
