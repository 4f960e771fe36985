package config

import "strings"

// Suggest returns "; did you mean X?" with the one of names that is nearest to a misspelled
// name, or "" if none is near.
func Suggest(name string, names []string) string { return suggest(name, names) }

// EnvPrefix returns the prefix of the environment variables of a program: "MY_APP" for
// "my-app".
func EnvPrefix(program string) string { return strings.TrimSuffix(envName(program, ""), "_") }
