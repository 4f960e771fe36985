package config_test

import (
	"testing"

	"github.com/chassi-go/chassi/config"
)

// Loading into a copy of a program's defaults does not change what their pointers point to.
func TestOptionalGroupsOfDefaultsAreCopied(t *testing.T) {
	t.Parallel()
	type group struct {
		Max int `config:"max"`
	}
	type settings struct {
		Group *group `config:"group"`
	}
	defaults := settings{Group: &group{Max: 7}}
	loaded := defaults
	if _, err := config.Load(&loaded, config.Options{Name: "test", Args: []string{"--group.max=43"}}); err != nil {
		t.Fatal(err)
	}
	if loaded.Group.Max != 43 || defaults.Group.Max != 7 {
		t.Errorf("loaded %d, the default is %d now", loaded.Group.Max, defaults.Group.Max)
	}
}
