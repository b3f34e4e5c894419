//go:build tools

// Pins the S3 server that the cluster tier runs.
package tools

import _ "github.com/versity/versitygw/cmd/versitygw"
