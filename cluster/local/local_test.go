package local_test

import (
	"testing"

	"github.com/berth-iot/berth/cluster"
	"github.com/berth-iot/berth/cluster/clustertest"
	"github.com/berth-iot/berth/cluster/local"
)

func TestBus(t *testing.T) {
	clustertest.Run(t, func(_ testing.TB, n int) []cluster.Bus {
		network, nodes := local.NewNetwork(), make([]cluster.Bus, n)
		for i := range nodes {
			nodes[i] = network.Node()
		}
		return nodes
	})
}
