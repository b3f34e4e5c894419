//go:build tools

// Pins the Prometheus that the cluster tier runs: Debian's is built without discovery in Kubernetes.
package tools

import _ "github.com/prometheus/prometheus/cmd/prometheus"
