package standard

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/config"
)

// Exposure is about the warnings at start of what others can get at: secrets on the
// command line, files that every user of the machine can read or change, listeners that
// other machines can reach. Each of its names stops the warnings of that kind.
type Exposure struct {
	Accepted []string `config:"accepted" help:"what is known to be open, and not warned of at start: arguments, files, admin, http, grpc, nats"`
}

// The kinds of exposure.
const (
	openArguments = "arguments"
	openFiles     = "files"
	openAdmin     = "admin"
	openHTTP      = "http"
	openGRPC      = "grpc"
	openNATS      = "nats"
)

func (e Exposure) validate() error {
	kinds := []string{openArguments, openFiles, openAdmin, openHTTP, openGRPC, openNATS}
	for _, name := range e.Accepted {
		if !slices.Contains(kinds, name) {
			return fmt.Errorf("exposure.accepted (%q) must be one of %s", name, strings.Join(kinds, ", "))
		}
	}
	return nil
}

// file is one that the program relies on.
type file struct {
	setting string // that names it
	path    string
	kind    config.FileKind
}

// exposure looks once, when the program starts, for what is too open, and warns of it.
type exposure struct {
	config Config
	logger *slog.Logger
	files  []file
}

// newExposure knows the files that the configuration names, and those it came from.
func newExposure(c Config, logger *slog.Logger) *exposure {
	e := &exposure{config: c, logger: logger}
	e.add("http.tls.key_file", config.PrivateFile, c.HTTP.TLS.KeyFile)
	e.add("http.tls.cert_file", config.TrustedFile, c.HTTP.TLS.CertFile)
	e.add("http.tls.client_ca_file", config.TrustedFile, c.HTTP.TLS.ClientCAFile)
	e.add("grpc.tls.key_file", config.PrivateFile, c.GRPC.TLS.KeyFile)
	e.add("grpc.tls.cert_file", config.TrustedFile, c.GRPC.TLS.CertFile)
	e.add("grpc.tls.client_ca_file", config.TrustedFile, c.GRPC.TLS.ClientCAFile)
	e.add("nats.credentials_file", config.PrivateFile, c.NATS.CredentialsFile)
	e.add("nats.nkey_file", config.PrivateFile, c.NATS.NkeyFile)
	e.add("nats.answers.credentials_file", config.PrivateFile, c.NATS.Answers.CredentialsFile)
	e.add("nats.answers.nkey_file", config.PrivateFile, c.NATS.Answers.NkeyFile)
	e.add("nats.ca_file", config.TrustedFile, c.NATS.CAFile)
	e.add("nats.embedded.store_dir", config.PrivateFile, c.NATS.Embedded.StoreDir)
	e.add("amqp.ca_file", config.TrustedFile, c.AMQP.CAFile)
	if c.Loaded != nil {
		e.addLoaded(c.Loaded)
	}
	return e
}

func (e *exposure) add(setting string, kind config.FileKind, paths ...string) {
	for _, path := range paths {
		if path != "" {
			e.files = append(e.files, file{setting, path, kind})
		}
	}
}

// addLoaded adds the files that the configuration came from.
func (e *exposure) addLoaded(r *config.Report) {
	kind := config.TrustedFile
	if slices.ContainsFunc(r.Values, func(v config.Value) bool { return v.Secret && strings.HasPrefix(v.Source, r.File+":") }) {
		kind = config.PrivateFile
	}
	e.add("config", kind, r.File)
	for _, f := range r.SecretFiles {
		e.add(f.Env, config.PrivateFile, f.Path)
	}
}

// warn logs what is too open. It is the start of a [chassi.Server], so that the files
// that the program makes itself, such as its database, are there.
func (e *exposure) warn(context.Context) error {
	for _, look := range []struct {
		kind string
		warn func()
	}{
		{openArguments, e.warnOfArguments}, {openFiles, e.warnOfFiles}, {openAdmin, e.warnOfAdmin},
		{openHTTP, e.warnOfHTTP}, {openGRPC, e.warnOfGRPC}, {openNATS, e.warnOfNATS},
	} {
		if !slices.Contains(e.config.Exposure.Accepted, look.kind) {
			look.warn()
		}
	}
	return nil
}

// log writes one warning: what is open, the setting, and what to do.
func (e *exposure) log(kind, what, setting, fix string, more ...any) {
	e.logger.Warn(what, append([]any{"exposure", kind, "setting", setting, "fix", fix}, more...)...)
}

func (e *exposure) warnOfArguments() {
	if e.config.Loaded == nil {
		return
	}
	for _, v := range e.config.Loaded.Values {
		if v.Secret && strings.HasPrefix(v.Source, "--") {
			e.log(openArguments, "a secret on the command line can be read by every user of this machine (ps)", v.Key,
				"put it into a file and name that in "+v.Env+"_FILE, or into the variable "+v.Env)
		}
	}
}

func (e *exposure) warnOfFiles() {
	told := make(map[string]bool)
	for _, f := range e.files {
		if x := config.Exposed(f.path, f.kind); x != nil && !told[x.Fix] {
			told[x.Fix] = true // a folder is the problem of each file in it
			e.log(openFiles, "a file "+x.What+" of this machine", f.setting, x.Fix, "file", x.Path, "mode", fmt.Sprintf("%04o", x.Perm()))
		}
	}
}

func (e *exposure) warnOfAdmin() {
	if addr := e.config.Admin.Addr; isReachable(addr) {
		e.log(openAdmin, "the admin listener, which asks for no credentials, can be reached from other machines", "admin.addr",
			"listen on 127.0.0.1, or accept it where the network is private: exposure.accepted=admin", "addr", addr)
	}
}

// warnOfHTTP assumes that TLS ends at the trusted proxies, if there are any. So does warnOfGRPC.
func (e *exposure) warnOfHTTP() {
	if c := e.config.HTTP; isReachable(c.Addr) && !c.TLS.Enabled() && len(c.TrustedProxies) == 0 {
		e.log(openHTTP, "passwords and tokens cross the network in clear: HTTP without TLS can be reached from other machines", "http.addr",
			"set http.tls.cert_file and http.tls.key_file, or http.trusted_proxies if TLS ends at a proxy, or accept it: exposure.accepted=http",
			"addr", c.Addr)
	}
}

func (e *exposure) warnOfGRPC() {
	if c := e.config.GRPC; c.Addr != off && isReachable(c.Addr) && !c.TLS.Enabled() && len(c.TrustedProxies) == 0 {
		e.log(openGRPC, "passwords and tokens cross the network in clear: gRPC without TLS can be reached from other machines", "grpc.addr",
			"set grpc.tls.cert_file and grpc.tls.key_file, or grpc.trusted_proxies if TLS ends at a proxy, or accept it: exposure.accepted=grpc",
			"addr", c.Addr)
	}
}

func (e *exposure) warnOfNATS() {
	if c := e.config.NATS; c.URL == embeddedNATS && isReachable(c.Embedded.Addr) {
		e.log(openNATS, "passwords and tokens cross the network in clear: the NATS server in this process can be reached from other machines",
			"nats.embedded.addr", "listen on 127.0.0.1, or use a NATS server with TLS and accounts (nats.url), or accept it: exposure.accepted=nats",
			"addr", c.Embedded.Addr)
	}
}

// isReachable reports whether other machines may reach what listens on addr. A name that
// is not localhost may be any address.
func isReachable(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false // it cannot be listened on either
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return !ip.Unmap().IsLoopback()
	}
	return !strings.EqualFold(host, "localhost")
}

// Private makes the start of the program warn if every user of the machine can get at one
// of the files that the setting names. The files of Config, and those that it was loaded
// from, are looked at without it. It comes before Run.
func (s *Standard) Private(setting string, kind config.FileKind, paths ...string) {
	s.exposure.add(setting, kind, paths...)
}

// server is the exposure as the App runs it.
func (e *exposure) server() chassi.Server { return chassi.ServerFunc("exposure", e.warn, nil) }
