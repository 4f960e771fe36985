// Package config fills a struct from its defaults, a YAML file, environment variables and
// flags. Each of these overrides the ones before it.
//
//	type Config struct {
//		HTTP struct {
//			Addr string `config:"addr" default:"127.0.0.1:8080" help:"host:port to listen on"`
//		} `config:"http"`
//	}
//
// The setting above is http.addr in the file and in messages, ORDERS_HTTP_ADDR in the
// environment of a program called orders, and --http.addr on its command line. The fields
// of an embedded struct have the names that they would have in the struct around it.
//
// # Tags
//
//   - config: the name; "-" leaves a field out
//   - default: the value if none is given
//   - help: what [Usage] prints
//   - min, max: bounds of a number or duration
//   - oneof: the permitted values, with commas between
//   - format: the permitted form, or several with "|" between: addr (HOST:PORT to listen
//     on), url:SCHEME,SCHEME, urls:SCHEME,SCHEME (several with commas between), file (see
//     [Check]), or a word that stands for itself, as in format:"addr|off"
//   - secret:"true": shown as ***
//   - mask:"url": shown without its password. A URL whose path is secret, such as that of a
//     webhook, is a [Secret].
//   - reload:"true": may change while the program runs; on a struct, or a list or map of structs, it
//     holds for all fields inside
//
// A struct, and a list or map of structs, can have only config, help and reload of these.
//
// # Defaults
//
// The default of a setting is the value that its field has before [Load]. If that is the
// zero value, the default is that of the tag. This is how a program changes the defaults of
// packages whose structs it embeds or contains. To make a zero value the default although the
// tag has another one, define a method SetDefaults, which Load calls after it has applied the
// tags:
//
//	func (c *Config) SetDefaults() { c.RateLimit.Shared = false }
//
// # Types
//
// A setting is text, a number, a duration, a boolean or an [encoding.TextUnmarshaler]; a
// pointer to one of these, which stays nil if the setting is not given; or a list of these.
// Variables and flags contain a list with commas between the values; empty values are left
// out ("a,,b" is a and b). The tags of a list hold for each of its values.
//
// A struct is a group of settings. A pointer to a struct is an optional group: it stays nil
// until one of its settings is given, or the group itself in the file, as in "tls: {}". Its
// other settings have their defaults then.
//
// Lists of structs, and maps by string of any of these, have elements with names of their
// own, the index or the key. Load returns an error for a field of any other type, whether the
// setting is given or not.
//
// # Lists of structs, and maps
//
//	type Config struct {
//		Providers []Provider        `config:"providers"`
//		Redirects map[string]string `config:"redirects"`
//	}
//
//	type Provider struct {
//		ClientID string        `config:"client_id"`
//		Secret   config.Secret `config:"client_secret"`
//	}
//
// The file has them as YAML has lists and mappings:
//
//	providers:
//	  - client_id: a
//	redirects:
//	  /old: /new
//
// Messages, [Report] and flags name a setting of an element providers[0].client_id and
// redirects./old. (Some shells need quotes: '--providers[0].client_id=a'.) In a variable the
// index or key is between double underscores: ORDERS_PROVIDERS__0__CLIENT_ID. Letters of
// the key are upper-case there, and "." and "-" are "_": the variable means the element that
// exists with such a key or otherwise a new one with a lower-case key.
//
// A list or map in the file replaces the default. Variables and flags add elements and
// change settings of existing ones. The elements of a list are numbered from 0
// without gaps. A map of texts, numbers and the like can be given as a whole too:
// ORDERS_REDIRECTS=KEY=VALUE,KEY=VALUE. A method SetDefaults of the struct that is the element
// is called for each element that Load adds.
//
// # Environment
//
// An empty variable is not set. To make a setting empty, give an empty value in the file or
// a flag; text that has a default cannot be empty.
//
// The value of a [Secret], and of any field with the tag secret or mask, may come from a
// file: variables such as ORDERS_API_KEY_FILE and ORDERS_PROVIDERS__0__CLIENT_SECRET_FILE
// contain its path. One line break at the end of the file is dropped. An empty file is an error.
//
// Load ignores variables that Kubernetes, Docker, Nomad and systemd set, even if they begin
// with the program's name: ORDERS_GRPC_SERVICE_HOST, ORDERS_PORT=tcp://10.0.0.1:80.
//
// # Errors
//
// Load returns one error for all settings that are unknown, malformed or out of bounds. It
// has the source of each, and the nearest name for an unknown one. No message contains a
// secret.
//
// A field of type *[Report] in the struct, or in a struct embedded in it, is set to the
// report of the load.
package config
