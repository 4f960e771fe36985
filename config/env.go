package config

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
)

var toEnv = strings.NewReplacer(".", "_", "-", "_")

func envName(program, key string) string {
	if program == "" {
		return ""
	}
	return strings.ToUpper(toEnv.Replace(program + "_" + key))
}

// parseEnv returns the values of the variables with the program's prefix, by name. It leaves out
// empty variables, which count as not set.
func (l *loader) parseEnv() map[string]string {
	env := make(map[string]string)
	if l.options.Name == "" {
		return env
	}
	prefix := envName(l.options.Name, "")
	for _, pair := range l.options.Environ {
		if name, value, ok := strings.Cut(pair, "="); ok && value != "" && strings.HasPrefix(name, prefix) {
			env[name] = value
		}
	}
	return env
}

// systemdVariables are the variables that systemd sets for the programs that it starts
// (systemd.exec(5), sd_listen_fds(3), sd_notify(3)).
var systemdVariables = strings.Fields(`
	CACHE_DIRECTORY CONFIGURATION_DIRECTORY CREDENTIALS_DIRECTORY EXIT_CODE EXIT_STATUS INVOCATION_ID JOURNAL_STREAM
	LISTEN_FDNAMES LISTEN_FDS LISTEN_PID LISTEN_PIDFDID LOGS_DIRECTORY LOG_NAMESPACE MEMORY_PRESSURE_WATCH MEMORY_PRESSURE_WRITE
	MONITOR_EXIT_CODE MONITOR_EXIT_STATUS MONITOR_INVOCATION_ID MONITOR_SERVICE_RESULT MONITOR_UNIT NOTIFY_SOCKET
	RUNTIME_DIRECTORY SERVICE_RESULT STATE_DIRECTORY SYSTEMD_EXEC_PID TRIGGER_PATH TRIGGER_TIMER_MONOTONIC_USEC
	TRIGGER_TIMER_REALTIME_USEC TRIGGER_UNIT WATCHDOG_PID WATCHDOG_USEC`)

var (
	servicePort = regexp.MustCompile(`_SERVICE_PORT(_[A-Z0-9_]+)?$`)
	linkPort    = regexp.MustCompile(`_PORT(_[0-9]+_(TCP|UDP|SCTP))?$`)
	linkDetail  = regexp.MustCompile(`_PORT_[0-9]+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)$`)
	dockerName  = regexp.MustCompile(`^/[^/]+/[^/]+$`)
	digits      = regexp.MustCompile(`^[0-9]{1,5}$`)
)

// isForeign reports whether a variable with the prefix of the program was set by the platform: by
// Kubernetes for a service whose name begins with that of the program (ORDERS_GRPC_SERVICE_HOST,
// ORDERS_GRPC_PORT=tcp://…), by Docker for a link, or by systemd or Nomad.
func isForeign(name, value string, env map[string]string) bool {
	switch {
	case strings.HasSuffix(name, "_SERVICE_HOST"):
		return net.ParseIP(value) != nil || value == "None"
	case servicePort.MatchString(name):
		return digits.MatchString(value)
	case linkDetail.MatchString(name), slices.Contains(systemdVariables, name), strings.HasPrefix(name, "NOMAD_"):
		return true
	case linkPort.MatchString(name):
		return isPortURL(value)
	case strings.HasSuffix(name, "_NAME"):
		return dockerName.MatchString(value)
	}
	alias, _, found := strings.Cut(name, "_ENV_") // a variable of the container that a link leads to
	return found && dockerName.MatchString(env[alias+"_NAME"])
}

// isPortURL reports whether value has the form that Kubernetes and Docker use for a port, such as
// tcp://10.0.0.1:80.
func isPortURL(value string) bool {
	u, err := url.Parse(value)
	return err == nil && slices.Contains([]string{"tcp", "udp", "sctp"}, u.Scheme) && net.ParseIP(u.Hostname()) != nil && digits.MatchString(u.Port())
}

func (l *loader) applyEnv(env map[string]string) {
	for _, name := range sortedKeys(env) {
		switch f, file := l.variable(name); {
		case name == envName(l.options.Name, "config"):
		case f != nil && file:
			l.applySecretFile(f, env)
		case f != nil && linkPort.MatchString(name) && isPortURL(env[name]):
		case f != nil:
			l.apply(f, name, env[name])
		case !isForeign(name, env[name], env):
			l.addProblem(fmt.Errorf("%s: unknown environment variable%s", name, l.suggestVariable(name)))
		}
	}
}

// variable returns the setting of an environment variable, or nil if there is none, and whether the
// variable contains the path of a file with the value.
func (l *loader) variable(name string) (f *field, file bool) {
	if secret, ok := strings.CutSuffix(name, "_FILE"); ok {
		if f := find(l.fields, secret, true, false); f != nil && f.masked() && (!f.hasElements() || !f.hasGroups()) {
			return find(l.fields, secret, true, true), true
		}
	}
	return find(l.fields, name, true, true), false
}

// Maximum sizes of the file of a secret and of the configuration file, in bytes.
const (
	maxSecret = 64 << 10
	maxFile   = 1 << 20
)

// applySecretFile sets f to the content of the file whose path is in the variable f.env + "_FILE",
// without a line break at the end.
func (l *loader) applySecretFile(f *field, env map[string]string) {
	source := f.env + "_FILE"
	path := env[source]
	if _, twice := env[f.env]; twice {
		l.addProblem(fmt.Errorf("%s: %s is also set; unset one of them", source, f.env))
		return
	}
	data, err := l.readBounded(path, maxSecret)
	if err != nil {
		l.addProblem(fmt.Errorf("%s: %w", source, err))
		return
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if text == "" {
		l.addProblem(fmt.Errorf("%s: the file %s contains no value; write the value of %s to it, or unset the variable", source, path, f.key))
		return
	}
	l.report.SecretFiles = append(l.report.SecretFiles, SecretFile{source, path})
	l.apply(f, source, text)
}

// readBounded returns the contents of the file at path. It returns an error if the file has more
// than limit bytes. It records the state of the file before it reads, so that [Report.Watch]
// detects a change during the read.
func (l *loader) readBounded(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller adds the setting
	}
	defer file.Close()
	if l.report.read[path], err = file.Stat(); err != nil {
		return nil, err //nolint:wrapcheck // the caller adds the setting
	}
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return data, err
}
