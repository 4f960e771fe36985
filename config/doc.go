// Package config fills one struct from its defaults, a YAML file, the
// environment and flags, each stronger than the one before.
//
//	type Config struct {
//		HTTP struct {
//			Addr string `config:"addr" default:"127.0.0.1:8080" help:"host:port to listen on"`
//		} `config:"http"`
//	}
//
// The field above is http.addr in the file and in messages, AUTHD_HTTP_ADDR in the
// environment of a program called authd, and --http.addr on its command line.
// Embedded structs add no word of their own. Tags: config (the word; "-" leaves a
// field out), default, help, min, max, oneof (comma separated), secret:"true"
// (shown as ***), mask:"url" (shown without its password), reload:"true" (may
// change while the program runs).
//
// A [Secret] field, and any field with secret:"true", may come from a file: by
// AUTHD_TOKEN_MASTER_KEY_FILE, whose one trailing line break is dropped.
//
// A field of type *[Report] in the struct, or in a struct embedded in it, is set to the
// report of the load: what runs the program learns from it where secrets came from.
//
// Anything unknown, malformed or out of bounds is refused, all of it at once,
// with the place it stands at and the nearest name there is. No message holds a
// secret.
package config
