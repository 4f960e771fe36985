package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/term"
)

// confirm asks on a terminal whether to do what cannot be undone; --yes answers it. Without
// either it is a usage error.
func (p *program) confirm(what string) error {
	if p.flags["--yes"] {
		return nil
	}
	if !term.IsTerminal(int(p.in.Fd())) {
		return usageError{fmt.Errorf("this would %s; add --yes to do it without being asked. Nothing was done", what)}
	}
	fmt.Fprintf(p.err, "This will %s. Type yes to go on: ", what)
	answer, err := bufio.NewReader(p.in).ReadString('\n')
	if err == nil && strings.TrimSpace(answer) != "yes" {
		err = errors.New("not confirmed; nothing was done")
	}
	return err //nolint:wrapcheck // stdin's
}
