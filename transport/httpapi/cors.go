package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/cors"

	"github.com/chassi-go/chassi/transport"
)

// CORS configures which pages of other origins may read the responses (Fetch standard, section
// 3.3). If Origins is empty, no page of another origin may read them, and requests are handled
// without any work for CORS. Access from pages to a private network (Private Network Access) is
// never permitted.
//
// Nil Headers and a nil Expose mean the defaults in their tags. A MaxAge of 0 means the default of
// the browser; the default in the tag of MaxAge applies only to a configuration that is loaded.
type CORS struct {
	Origins     []string      `config:"origins" help:"exact origins that are allowed, such as https://app.example.com; * allows any, without credentials"`
	Methods     []string      `config:"methods" help:"methods that a page may use; empty allows all"`
	Headers     []string      `config:"headers" default:"Authorization,Content-Type,Idempotency-Key,Last-Event-ID,X-Request-ID" help:"request headers that a page may set"`
	Expose      []string      `config:"expose" default:"Idempotency-Replayed,X-Request-ID,RateLimit,RateLimit-Policy,Retry-After,Stream-Heartbeat-Ms" help:"response headers that a page may read"`
	Credentials bool          `config:"credentials" help:"allow pages to send cookies and client certificates"`
	MaxAge      time.Duration `config:"max_age" default:"10m" min:"0s" help:"how long a browser may cache the response to a preflight request; 0 is the default of the browser, usually 5 s"`
}

// check returns an error if a setting is invalid, has no effect or is dangerous. It is needed
// because [cors.New] accepts every setting.
func (c CORS) check() error {
	if err := c.checkNames(); err != nil {
		return err
	}
	for _, origin := range c.Origins {
		if origin == "*" && c.Credentials {
			return errors.New("cors: origin * cannot be combined with credentials: list the origins")
		}
		if err := checkOrigin(strings.ToLower(origin)); origin != "*" && err != nil {
			return fmt.Errorf("cors: origin %q: %w", origin, err)
		}
	}
	return nil
}

// newCORS returns the handler for c, or nil if c has no origins. If c has no methods, pages may use
// all known methods and the methods in routed, which are the methods of the routes; a path responds
// with 405 to a method that it does not support. Headers are request headers that pages may set in
// addition to those in c.
func newCORS(c CORS, routed, headers []string) *cors.Cors {
	if len(c.Origins) == 0 {
		return nil
	}
	c = c.withDefaults()
	if len(c.Methods) == 0 {
		c.Methods = slices.Concat(knownMethods, routed)
	}
	c.Headers = slices.Concat(c.Headers, headers)
	if len(c.Headers) == 0 {
		c.Headers = []string{"Accept"} // an empty list would mean the library's defaults
	}
	return cors.New(cors.Options{
		AllowedOrigins:   c.Origins,
		AllowedMethods:   c.Methods,
		AllowedHeaders:   c.Headers,
		ExposedHeaders:   c.Expose,
		AllowCredentials: c.Credentials,
		MaxAge:           int(c.MaxAge / time.Second),
	})
}

// setCORS sets the CORS headers of the response to r, and responds with 204 if r is a preflight
// request. It does nothing if no origins are configured.
func (s *Server) setCORS(w http.ResponseWriter, r *http.Request) {
	if c := s.cors(); c != nil {
		c.HandlerFunc(w, r)
	}
}

func (c CORS) withDefaults() CORS {
	if c.Headers == nil {
		c.Headers = []string{"Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", requestIDHeader}
	}
	if c.Expose == nil {
		c.Expose = []string{"Idempotency-Replayed", requestIDHeader, "RateLimit", "RateLimit-Policy", "Retry-After", transport.HeartbeatKey}
	}
	return c
}

// checkNames returns an error if the name of a method or header is invalid or is "*". Browsers
// treat "*" as a wildcard only for requests without credentials, and never for Authorization.
func (c CORS) checkNames() error {
	for setting, names := range map[string][]string{"methods": c.Methods, "headers": c.Headers, "expose": c.Expose} {
		for _, name := range names {
			switch {
			case name == "*":
				return fmt.Errorf("cors: %s: * is not supported; list each name separately", setting)
			case !isToken(name):
				return fmt.Errorf("cors: %s: %q is not a token (RFC 9110, section 5.6.2); list each name separately", setting, name)
			}
		}
	}
	return nil
}

// checkOrigin returns an error if browsers never send origin, because a setting with that origin
// would silently have no effect.
func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	switch {
	case err != nil || u.Scheme == "" || u.Host == "" || origin != u.Scheme+"://"+u.Host:
		return errors.New("want only scheme://host or scheme://host:port")
	case u.Scheme == "http" && u.Port() == "80", u.Scheme == "https" && u.Port() == "443":
		return fmt.Errorf("browsers omit the default port of %s; write %s://%s", u.Scheme, u.Scheme, strings.TrimSuffix(u.Host, ":"+u.Port()))
	case !isHost(u.Hostname()) || strings.HasSuffix(u.Host, ":") || !isPort(u.Port()):
		return errors.New("want one exact host in ASCII (xn-- for other names), with an optional port from 1 to 65535 without leading zeros")
	}
	return nil
}

// isHost reports whether host is a lowercase host name or an IP address, without a wildcard or an
// escape. The caller has already refused IPv6 zones, because the % before a zone is an escape in a
// URL.
func isHost(host string) bool {
	if strings.Contains(host, ":") {
		_, err := netip.ParseAddr(host)
		return err == nil
	}
	other := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_'
	}
	return host != "" && strings.IndexFunc(host, other) < 0
}

func isPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0 && port[0] != '0'
}

// isToken reports whether name is a token (RFC 9110, section 5.6.2).
func isToken(name string) bool {
	other := func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	}
	return name != "" && strings.IndexFunc(name, other) < 0
}

// addVary adds value to the header Vary, and preserves the values that are already set.
func addVary(h http.Header, value []string) {
	if old := h["Vary"]; len(old) > 0 {
		value = append(slices.Clip(old), value...)
	}
	h["Vary"] = value
}
