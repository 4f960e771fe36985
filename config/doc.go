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
//   - config: the name of the setting; "-" leaves the field out
//   - default: the value if none is given
//   - help: the description that [Usage] prints
//   - min, max: the bounds of a number or duration
//   - oneof: the permitted values, separated by commas
//   - format: the permitted form, or several forms separated by "|": addr (HOST:PORT to
//     listen on), url:SCHEME,SCHEME, urls:SCHEME,SCHEME (URLs separated by commas), file
//     (see [Check]), or a word that stands for itself, as in format:"addr|off"
//   - secret:"true": the value is shown as ***
//   - mask:"url": the value is a URL that is shown without its password. For a URL whose
//     path is secret, such as that of a webhook, use [Secret].
//   - reload:"true": the value may change while the program runs; on a struct, or a list or
//     map of structs, the tag applies to all fields inside
//
// A struct, or a list or map of structs, can have only the tags config, help and reload.
//
// # Defaults
//
// The default of a setting is the value that its field has before [Load]. If that is the
// zero value, the default is that of the tag. This is how a program changes the defaults of
// packages whose structs it embeds or contains. To make a zero value the default although the
// tag has another value, define a method SetDefaults, which Load calls after it has applied
// the tags:
//
//	func (c *Config) SetDefaults() { c.RateLimit.Shared = false }
//
// # Types
//
// A setting is a string, a number, a duration, a boolean or an [encoding.TextUnmarshaler]; a
// pointer to one of these types, which stays nil if the setting has no default and is not
// given; or a list of values of one of these types. In variables and flags, the values of a list
// are separated by commas, and empty values are left out ("a,,b" is a and b). The tags of a list
// apply to each of its values.
//
// A struct is a group of settings. A pointer to a struct is an optional group: it stays nil
// unless one of its settings is given, or the file contains the group itself, as in
// "tls: {}". The other settings of the group then have their defaults.
//
// A list can also contain structs, and a map with string keys can contain settings or structs.
// The settings in such a list or map have names that contain the index or the key. Load returns
// an error for a field of any other type, whether the setting is given or not.
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
// In the file, lists of structs and maps are YAML lists and mappings:
//
//	providers:
//	  - client_id: a
//	redirects:
//	  /old: /new
//
// In messages, in a [Report] and in flags, their settings are called providers[0].client_id
// and redirects./old. (Some shells need quotes: '--providers[0].client_id=a'.) In a variable,
// double underscores separate the index or key from the rest: ORDERS_PROVIDERS__0__CLIENT_ID.
// There, the key is in upper case, with "_" instead of "." and "-". The variable refers to an
// existing element with a matching key or, if there is none, to a new element with the key in
// lower case.
//
// A list or map in the file replaces the default. Variables and flags add elements and
// change settings of existing elements. The elements of a list are numbered from 0 without
// gaps. A map of strings, numbers or other single values can also be given as a whole:
// ORDERS_REDIRECTS=KEY=VALUE,KEY=VALUE. If the elements are structs with a method SetDefaults,
// Load calls the method for each element that it adds.
//
// # Environment
//
// An empty variable counts as not set. To make a setting empty, give an empty value in the
// file or in a flag; a string that has a default cannot be empty.
//
// The value of a [Secret], and of any field with the tag secret or mask, may come from a file.
// Variables such as ORDERS_API_KEY_FILE and ORDERS_PROVIDERS__0__CLIENT_SECRET_FILE contain the
// path. One line break at the end of the file is removed. An empty file is an error.
//
// Load ignores variables that Kubernetes, Docker, Nomad and systemd set, even if they begin with
// the program's name, such as ORDERS_GRPC_SERVICE_HOST and ORDERS_PORT=tcp://10.0.0.1:80.
//
// # Errors
//
// Load returns one error for all settings that are unknown, malformed or out of bounds. The
// error contains the source of each setting and, for an unknown setting, a similar name if
// there is one. No message contains a secret.
//
// A field of type *[Report] in the struct, or in a struct embedded in it, is set to the
// report that Load returns.
package config
