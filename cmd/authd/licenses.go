package main

import (
	"context"
	_ "embed"
	"io"
)

// notices is written by `make notices`.
//
//go:embed THIRD_PARTY_NOTICES.txt
var notices string

// showLicenses prints the licences of what is linked: the binary is copied without
// the files beside it.
func showLicenses(_ context.Context, p *program) error {
	_, err := io.WriteString(p.out, notices)
	return err //nolint:wrapcheck // stdout's
}
