package config

import "strings"

// Suggest returns "; did you mean X?", where X is the element of names that is nearest to name, or
// "" if none is near.
func Suggest(name string, names []string) string { return suggest(name, names) }

// EnvPrefix returns the prefix of the environment variables of a program, without the underscore
// that follows it: "MY_APP" for "my-app".
func EnvPrefix(program string) string { return strings.TrimSuffix(envName(program, ""), "_") }
