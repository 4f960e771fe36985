package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/database"
)

// An error after which it is unknown whether the keys were changed does not say that they were not.
func TestRefusedClaimsOnlyWhatIsKnown(t *testing.T) {
	t.Parallel()
	unknown := refused(fmt.Errorf("rotate signing keys: %w", database.ErrCommitUnknown))
	if !errors.Is(unknown, database.ErrCommitUnknown) || strings.Contains(unknown.Error(), "nothing was changed") ||
		!strings.Contains(unknown.Error(), "authd key list") {
		t.Errorf("refused = %v", unknown)
	}
	if err := refused(errors.New("no disk")); err.Error() != "no disk; nothing was changed" {
		t.Errorf("refused = %v", err)
	}
}
