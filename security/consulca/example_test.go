package consulca_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/hashicorp/consul/api"

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

// The peerings of the agent's cluster, as they come and go. Given to
// security.Federate, their workloads can prove who they are.
func ExampleFollowPeers() {
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Consul-Index", "7") // stands for an agent of a cluster without peerings
		if r.URL.Query().Get("index") == "7" {
			<-r.Context().Done()
			return
		}
		fmt.Fprint(w, "[]")
	}))
	defer agent.Close()
	client, err := api.NewClient(&api.Config{Address: agent.URL})
	if err != nil {
		fmt.Println(err)
		return
	}
	peers, err := consulca.FollowPeers(consulca.PeersConfig{Client: client})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer peers.Close()
	<-peers.Asked()
	fmt.Println(peers.Domains(), peers.Err())
	// Output: map[] <nil>
}
