package standard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/transport/certs"
)

// Exposure configures the warnings that the program logs at its start about exposed data: secrets
// on the command line, files that every user of the machine can read or change, and listeners that
// other machines can reach. Each name in Accepted disables the warnings about one exposure.
type Exposure struct {
	Accepted []string `config:"accepted" help:"exposures that are intended and cause no warning at start: arguments, files, or a listener of the program, such as admin, http, grpc, nats"`
}

// The kinds of exposure other than listeners. The kind of a listener is its name.
const (
	openArguments = "arguments"
	openFiles     = "files"
)

// file is a file that the program uses.
type file struct {
	setting string // setting that names the file
	path    string
	kind    config.FileKind
}

// exposure checks for exposed data once, at the start of the program, and logs warnings.
type exposure struct {
	config    Config
	logger    *slog.Logger
	files     []file
	listeners func() []Listener
}

func newExposure(c Config, logger *slog.Logger) *exposure {
	e := &exposure{config: c, logger: logger}
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

// addLoaded adds the configuration file and the files from which secrets were read.
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

// warn logs a warning for each exposure that is not accepted. It is called at the start of the
// program, and always returns nil.
func (e *exposure) warn(context.Context) error {
	if e.warnsOf(openArguments) {
		e.warnOfArguments()
	}
	if e.warnsOf(openFiles) {
		e.warnOfFiles()
	}
	for _, l := range e.listeners() {
		if l.Risk != "" && e.warnsOf(l.Name) && isReachable(l.Addr) {
			e.log(l.Name, l.Risk, l.Setting, l.Fix, "addr", l.Addr)
		}
	}
	return nil
}

// check returns an error for each accepted name that is neither a kind of exposure nor the name of
// a listener. The names of the usual listeners are also permitted in a program without these
// listeners.
func (e *exposure) check() error {
	known := []string{openArguments, openFiles, "admin", "http", "grpc", "nats"}
	for _, l := range e.listeners() {
		if !slices.Contains(known, l.Name) {
			known = append(known, l.Name)
		}
	}
	var errs []error
	for _, name := range e.config.Exposure.Accepted {
		if !slices.Contains(known, name) {
			errs = append(errs, UsageError{fmt.Errorf("exposure.accepted (%q) must be one of %s", name, strings.Join(known, ", "))})
		}
	}
	return errors.Join(errs...)
}

func (e *exposure) warnsOf(kind string) bool {
	return !slices.Contains(e.config.Exposure.Accepted, kind)
}

// log logs one warning, with the kind of exposure, the setting that causes it, and the remedy.
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
	warned := make(map[string]bool)
	for _, f := range e.files {
		if x := config.Exposed(f.path, f.kind); x != nil && !warned[x.Fix] {
			warned[x.Fix] = true // a directory affects each file in it
			e.log(openFiles, "a file "+x.What+" of this machine", f.setting, x.Fix, "file", x.Path, "mode", fmt.Sprintf("%04o", x.Perm()))
		}
	}
}

// isReachable reports whether other machines can reach a listener on addr. It assumes that they can
// if the host is a name other than localhost.
func isReachable(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false // listening will fail as well
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return !ip.Unmap().IsLoopback()
	}
	return !strings.EqualFold(host, "localhost")
}

// Private makes the program log a warning at its start if every user of the machine can read or
// change one of the files at paths, except that a [config.TrustedFile] may be read by every user.
// The argument setting is the name of the setting that contains the paths. Empty paths are ignored.
func (a *App) Private(setting string, kind config.FileKind, paths ...string) {
	a.exposure.add(setting, kind, paths...)
}

// PrivateTLS calls [App.Private] for the files of a TLS setting, such as "grpc.tls": the private
// key, the certificate, and the certificates of the CAs that sign client certificates.
func (a *App) PrivateTLS(setting string, files certs.Files) {
	a.Private(setting+".key_file", config.PrivateFile, files.KeyFile)
	a.Private(setting+".cert_file", config.TrustedFile, files.CertFile)
	a.Private(setting+".client_ca_file", config.TrustedFile, files.ClientCAFile)
}
