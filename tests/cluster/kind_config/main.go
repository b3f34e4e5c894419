// Reads a kind configuration as `kind create cluster` does, and prints what it came to.
//
// kind exports its types but not its loader: that is internal to paths below sigs.k8s.io/kind/pkg, hence this module's name.
package main

import (
	"fmt"
	"os"

	"sigs.k8s.io/kind/pkg/internal/apis/config/encoding"
)

func main() {
	cluster, err := encoding.Load(os.Args[1])
	if err == nil {
		err = cluster.Validate()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, node := range cluster.Nodes {
		fmt.Println(cluster.Name, node.Role, node.Image)
	}
}
