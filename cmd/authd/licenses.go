package main

import (
	"context"
	_ "embed"
	"io"
)

// notices contains the licenses of the linked modules. The command "make notices" writes the
// embedded file.
//
//go:embed THIRD_PARTY_NOTICES.txt
var notices string

// showLicenses implements the command licenses: it prints the licenses of the linked modules. They
// are embedded, because the binary may be copied without its files.
func showLicenses(_ context.Context, p *program) error {
	_, err := io.WriteString(p.Out, notices)
	return err //nolint:wrapcheck // stdout's
}
