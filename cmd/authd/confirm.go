package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/term"

	"github.com/chassi-go/chassi/standard"
)

// confirm asks for confirmation of an irreversible action on a terminal, unless --yes is set. It
// returns an error if the answer is not yes, and a usage error if there is neither a terminal nor
// --yes.
func (p *program) confirm(what string) error {
	if p.Flags["--yes"] {
		return nil
	}
	if !term.IsTerminal(int(p.In.Fd())) {
		return standard.UsageError{Err: fmt.Errorf("this would %s; add --yes to confirm. Nothing was done", what)}
	}
	fmt.Fprintf(p.Err, "This will %s. Type yes to go on: ", what)
	response, err := bufio.NewReader(p.In).ReadString('\n')
	if err == nil && strings.TrimSpace(response) != "yes" {
		err = errors.New("not confirmed; nothing was done")
	}
	return err //nolint:wrapcheck // stdin's
}
