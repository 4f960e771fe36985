package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/term"

	"github.com/chassi-go/chassi/standard"
)

// confirm asks on the terminal for confirmation of an irreversible action, described by what. It
// does not ask if --yes is set. It returns an error if the response is not yes, and a usage error
// if there is neither a terminal nor --yes.
func (p *program) confirm(what string) error {
	if p.Flags["--yes"] {
		return nil
	}
	if !term.IsTerminal(int(p.In.Fd())) {
		return standard.UsageError{Err: fmt.Errorf("the command would %s; add --yes to confirm; nothing was done", what)}
	}
	fmt.Fprintf(p.Err, "This will %s. Type yes to go on: ", what)
	response, err := bufio.NewReader(p.In).ReadString('\n')
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("not confirmed: %w; nothing was done", err)
	case err != nil || strings.TrimSpace(response) != "yes":
		return errors.New("not confirmed; nothing was done")
	}
	return nil
}
