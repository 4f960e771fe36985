package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/standard"
)

// R85: the binary contains the licenses of the modules linked into it.
func TestLicensesNameEveryLinkedModule(t *testing.T) {
	t.Parallel()
	linked, err := os.ReadFile("linked.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out, problems bytes.Buffer
	if code := newProgram().Run(t.Context(), []string{"licenses"}, []string{"AUTHD_LOG_LEVEL=loud"}, os.Stdin, &out, &problems); code != standard.ExitOK {
		t.Fatalf("exit %d: %s", code, problems.String())
	}
	modules := 0
	for line := range strings.Lines(string(linked)) {
		module, _, _ := strings.Cut(line, " ")
		if module == "#" {
			continue
		}
		modules++
		if !strings.Contains(out.String(), "\n"+module+"\n") {
			t.Errorf("authd licenses does not name %s", module)
		}
	}
	if modules < 10 {
		t.Errorf("linked.txt names %d modules only", modules)
	}
	for _, text := range []string{"Go standard library and runtime\n", "TERMS AND CONDITIONS FOR USE", "Permission is hereby granted", "Neither the name of", "SoundCloud Ltd."} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("authd licenses does not print %q", text)
		}
	}
}
