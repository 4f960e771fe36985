package config_test

import (
	"strings"
	"testing"

	"github.com/chassi-go/chassi/config"
)

func TestSuggest(t *testing.T) {
	t.Parallel()
	names := strings.Fields(`config timeout log.level log.format http.addr http.h2c http.tls.cert_file http.tls.key_file http.max_age
		http.max_connections grpc.addr grpc.max_connections grpc.reflection database.url database.max_connections database.application_name
		token.master_key trace.ratio`)
	for name, want := range map[string]string{
		// typing errors
		"timeuot":              "timeout",
		"tiemout":              "timeout",
		"htp.addr":             "http.addr",
		"http.adr":             "http.addr",
		"http.adress":          "http.addr",
		"HTTP.ADDR":            "http.addr",
		"http_addr":            "http.addr",
		"log-level":            "log.level",
		"loglevel":             "log.level",
		"token.masterkey":      "token.master_key",
		"http.tlscert_file":    "http.tls.cert_file",
		"databse.url":          "database.url",
		"grpc.max_conections":  "grpc.max_connections",
		"database.max_conect":  "database.max_connections",
		"traces.ratio":         "trace.ratio",
		"conf":                 "config",
		"http.max_connection":  "http.max_connections",
		"http.max_connections": "http.max_connections",
		// incomplete names, and ones with too much
		"level":         "log.level",
		"reflection":    "grpc.reflection",
		"http.tls.cert": "http.tls.cert_file",
		"log.levels":    "log.level",
		"configuration": "config",
		// other words of the same group are not near
		"http.tls":     "",
		"http.port":    "",
		"grpc.port":    "",
		"database.dsn": "",
		"log.file":     "",
		"trace.port":   "",
		"grpc.max_age": "",
		// nor are short words, ones that several names contain, and others
		"":        "",
		"x":       "",
		"db":      "",
		"url":     "database.url",
		"port":    "",
		"host":    "",
		"addr":    "",
		"log":     "",
		"name":    "",
		"verbose": "",
		"debug":   "",
	} {
		if want != "" {
			want = "; did you mean " + want + "?"
		}
		if got := config.Suggest(name, names); got != want {
			t.Errorf("Suggest(%q) = %q, want %q", name, got, want)
		}
	}
}

// The prefix of a program's variables is the same in all, and makes none near.
func TestSuggestsVariables(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"ADR": "did you mean INVENTORY_ADDR?", "CONIFG": "did you mean INVENTORY_CONFIG?", "PORT": "", "TLS": ""} {
		var s struct {
			Addr string `config:"addr"`
			URL  string `config:"url"`
		}
		_, err := config.Load(&s, config.Options{Name: "inventory", Environ: []string{"INVENTORY_" + name + "=1"}})
		if err == nil || !strings.Contains(err.Error(), want) || (want == "") == strings.Contains(err.Error(), "did you mean") {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}
