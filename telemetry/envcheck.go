package telemetry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/chassi-go/chassi/redact"
)

// validate returns an error for an invalid variable that determines where an OTLP exporter sends
// spans, or with which credentials. The exporter would ignore the variable and send spans to
// localhost, without credentials, or to an unauthenticated collector. For other invalid
// variables, which are ignored as the specification requires, validate logs a warning.
func (e otelEnv) validate(exporters []string) error {
	e.warnOfNumbers()
	if !slices.Contains(exporters, exportHTTP) && !slices.Contains(exporters, exportGRPC) {
		return nil
	}
	var problems []error
	for _, prefix := range []string{"OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_"} {
		problems = append(problems,
			check(prefix+"ENDPOINT", checkEndpoint), check(prefix+"HEADERS", checkHeaders), check(prefix+"CERTIFICATE", checkCertificates),
			checkKeyPair(prefix+"CLIENT_CERTIFICATE", prefix+"CLIENT_KEY"))
		e.warnUnless(prefix+"TIMEOUT", "a number of milliseconds", isCount)
		e.warnUnless(prefix+"COMPRESSION", "gzip, none", func(v string) bool { return v == "gzip" || v == "none" })
		e.warnUnless(prefix+"INSECURE", "true, false", isBool)
	}
	return errors.Join(problems...)
}

// warnOfNumbers logs a warning for each variable that the SDK ignores because it is invalid.
func (e otelEnv) warnOfNumbers() {
	e.warnUnless("OTEL_SDK_DISABLED", "true, false", isBool)
	for _, name := range []string{"SCHEDULE_DELAY", "EXPORT_TIMEOUT", "MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE"} {
		e.warnUnless("OTEL_BSP_"+name, "a whole number from 1", isCount)
	}
	for _, name := range []string{
		"SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "SPAN_ATTRIBUTE_COUNT_LIMIT", "SPAN_EVENT_COUNT_LIMIT", "EVENT_ATTRIBUTE_COUNT_LIMIT",
		"SPAN_LINK_COUNT_LIMIT", "LINK_ATTRIBUTE_COUNT_LIMIT",
	} {
		e.warnUnless("OTEL_"+name, "a whole number", func(v string) bool { _, err := strconv.Atoi(v); return err == nil })
	}
	if strings.Contains(e.get("OTEL_TRACES_SAMPLER"), "ratio") {
		e.warnUnless("OTEL_TRACES_SAMPLER_ARG", "a number from 0 to 1", func(v string) bool {
			ratio, err := strconv.ParseFloat(v, 64)
			return err == nil && ratio >= 0 && ratio <= 1
		})
	}
}

func (e otelEnv) warnUnless(name, want string, ok func(value string) bool) {
	if value := e.get(name); value != "" && !ok(value) {
		e.warn(name, value, want)
	}
}

func isCount(v string) bool {
	n, err := strconv.Atoi(v)
	return err == nil && n > 0
}

func isBool(v string) bool { return strings.EqualFold(v, "true") || strings.EqualFold(v, "false") }

// check returns an error if the variable is set and invalid. The function wrong returns "" for a
// valid value, and for an invalid value a description of the valid values.
func check(name string, wrong func(value string) string) error {
	value := strings.TrimSpace(os.Getenv(name))
	if value == "" {
		return nil
	}
	if want := wrong(value); want != "" {
		return fmt.Errorf("%s %s", name, want)
	}
	return nil
}

func checkEndpoint(value string) string {
	if u, err := url.Parse(value); err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Sprintf("(%q) must be an http or https URL with a host, such as http://HOST:4318", redact.URL(value))
	}
	return ""
}

// checkHeaders returns "" if value is a valid list of headers, and otherwise a description of the
// valid form. It does not quote the value, which usually contains an API key.
func checkHeaders(value string) string {
	for i, header := range strings.Split(value, ",") {
		name, text, ok := strings.Cut(header, "=")
		text, err := url.PathUnescape(text)
		if !ok || err != nil || !isToken(strings.TrimSpace(name)) || strings.ContainsFunc(text, unicode.IsControl) {
			return fmt.Sprintf("must be NAME=VALUE,NAME=VALUE with valid header names and percent-encoded values: header %d is invalid", i+1)
		}
	}
	return ""
}

// isToken reports whether name is a valid header name (RFC 9110, section 5.6.2).
func isToken(name string) bool {
	return name != "" && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~") == ""
}

func checkCertificates(path string) string {
	pem, err := os.ReadFile(path)
	switch {
	case err != nil:
		return fmt.Sprintf("must be a file that can be read: %v", err)
	case !x509.NewCertPool().AppendCertsFromPEM(pem):
		return fmt.Sprintf("(%q) must be a file with certificates in PEM", path)
	default:
		return ""
	}
}

func checkKeyPair(certificate, key string) error {
	certFile, keyFile := strings.TrimSpace(os.Getenv(certificate)), strings.TrimSpace(os.Getenv(key))
	switch {
	case certFile == "" && keyFile == "":
		return nil
	case certFile == "" || keyFile == "":
		return fmt.Errorf("%s and %s must be set together", certificate, key)
	}
	if _, err := tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		return fmt.Errorf("%s and %s must be the files of a certificate and its key: %w", certificate, key, err)
	}
	return nil
}
