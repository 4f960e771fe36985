package main

import (
	"context"
	_ "embed"
	"io"
)

// notices contains the licenses of the linked modules. `make notices` writes the file.
//
//go:embed THIRD_PARTY_NOTICES.txt
var notices string

// showLicenses prints the licenses of the linked modules, because the binary may be copied
// without its files.
func showLicenses(_ context.Context, p *program) error {
	_, err := io.WriteString(p.Out, notices)
	return err //nolint:wrapcheck // stdout's
}
