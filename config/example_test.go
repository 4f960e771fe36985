package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/chassi-go/chassi/config"
)

func ExampleLoad() {
	var cfg struct {
		Addr string `config:"addr" default:"127.0.0.1:8080" help:"where to listen"`
	}
	report, err := config.Load(&cfg, config.Options{Name: "greeter", Environ: []string{"GREETER_ADDR=127.0.0.1:9000"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cfg.Addr, "from", report.Values[0].Source)
	// Output: 127.0.0.1:9000 from GREETER_ADDR
}

// Lists of structs, maps and optional groups in the file, and their secrets in the
// environment.
func ExampleLoad_elements() {
	type provider struct {
		ClientID string        `config:"client_id"`
		Secret   config.Secret `config:"client_secret"`
	}
	var cfg struct {
		Providers []provider        `config:"providers"`
		Redirects map[string]string `config:"redirects"`
		TLS       *struct {
			CertFile string `config:"cert_file"`
			KeyFile  string `config:"key_file"`
		} `config:"tls"`
	}
	dir, err := os.MkdirTemp("", "config")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "orders.yaml")
	if err := os.WriteFile(file, []byte("providers:\n  - client_id: a\nredirects: {/old: /new}\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	report, err := config.Load(&cfg, config.Options{
		Name: "orders", File: file,
		Environ: []string{"ORDERS_PROVIDERS__0__CLIENT_SECRET=s3cret", "ORDERS_PROVIDERS__1__CLIENT_ID=b"},
		Args:    []string{"--redirects./older=/new"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, v := range report.Values {
		fmt.Printf("%s=%s (%s)\n", v.Key, v.Value, strings.TrimPrefix(v.Source, dir+"/"))
	}
	fmt.Println("TLS:", cfg.TLS != nil)
	// Output:
	// providers[0].client_id=a (orders.yaml:2)
	// providers[0].client_secret=*** (ORDERS_PROVIDERS__0__CLIENT_SECRET)
	// providers[1].client_id=b (ORDERS_PROVIDERS__1__CLIENT_ID)
	// providers[1].client_secret= (default)
	// redirects./old=/new (orders.yaml:3)
	// redirects./older=/new (--redirects./older)
	// tls.cert_file= (default)
	// tls.key_file= (default)
	// TLS: false
}

// An orderConfig brings the defaults of its program.
type orderConfig struct {
	Limits limits `config:"limits"` // of a library
}

type limits struct {
	Shared bool `config:"shared" default:"true"`
	Calls  int  `config:"calls" default:"1000"`
}

func (c *orderConfig) SetDefaults() { c.Limits.Shared = false }

// A program changes the defaults of a library: by a value in the struct and, also to a zero
// value, by a method SetDefaults.
func ExampleLoad_defaults() {
	cfg := orderConfig{Limits: limits{Calls: 50}}
	if _, err := config.Load(&cfg, config.Options{Name: "orders"}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cfg.Limits.Shared, cfg.Limits.Calls)
	// Output: false 50
}
