package main

import (
	"path/filepath"
)

// natsKey is the file of the key of one of n's clients over NATS.
func (n *node) natsKey(name string) string {
	return filepath.Join(n.dir, "nats-clients", name+".nk")
}
