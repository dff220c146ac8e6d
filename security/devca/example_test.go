package devca_test

import (
	"fmt"

	"github.com/weft-mesh/weft/security/devca"
)

func Example() {
	ca, err := devca.New(devca.Config{Cloud: "aws"})
	if err != nil {
		fmt.Println(err)
		return
	}
	id, err := ca.Source("payments")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer id.Close()
	svid, err := id.GetX509SVID()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(svid.ID)
	fmt.Println(svid.Certificates[0].Subject.OrganizationalUnit)
	// Output:
	// spiffe://weft.dev.internal/ns/default/dc/aws/svc/payments
	// [DEVELOPMENT ONLY - not for production]
}
