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
)

// CORS says which pages of other origins may read the answers (Fetch standard,
// section 3.3). Without Origins there are none, and no request pays for it.
// Requests into a private network are never granted.
type CORS struct {
	Origins     []string      `config:"origins" help:"exact origins, such as https://app.example.com; * for any, without credentials"`
	Methods     []string      `config:"methods" help:"methods that a page may use; by default those of the path"`
	Headers     []string      `config:"headers" default:"Authorization,Content-Type,Idempotency-Key,X-Request-ID" help:"request headers that a page may set"`
	Expose      []string      `config:"expose" default:"Idempotency-Replayed,X-Request-ID,RateLimit,RateLimit-Policy,Retry-After" help:"answer headers that a page may read"`
	Credentials bool          `config:"credentials" help:"let pages send cookies and client certificates"`
	MaxAge      time.Duration `config:"max_age" default:"10m" min:"0s" help:"how long a browser may keep a preflight's answer; 0 leaves it to the browser, usually 5 s"`
}

// corsPolicy is a CORS with its header values made. A nil policy lets no page
// read anything. The slices are shared between answers: set, never changed.
type corsPolicy struct {
	origins     map[string][]string // the value of Access-Control-Allow-Origin
	anyOrigin   bool
	credentials bool
	methods     []string // nil for those of the path
	headers     []string
	allowed     []string
	expose      []string
	maxAge      []string
}

var (
	varyOrigin    = []string{"Origin"}
	varyPreflight = []string{"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}
	anyOrigin     = []string{"*"}
	yes           = []string{"true"}
)

// newCORS returns nil for a CORS without origins.
func newCORS(c CORS) (*corsPolicy, error) {
	if len(c.Origins) == 0 {
		return nil, nil //nolint:nilnil // no policy
	}
	c = c.withDefaults()
	if err := c.checkNames(); err != nil {
		return nil, err
	}
	p := &corsPolicy{origins: make(map[string][]string), credentials: c.Credentials, methods: c.Methods, headers: c.Headers}
	for _, origin := range c.Origins {
		if err := p.addOrigin(origin); err != nil {
			return nil, err
		}
	}
	if p.anyOrigin && c.Credentials {
		return nil, errors.New("cors: origin * cannot go with credentials: name the origins")
	}
	p.allowed, p.expose = headerValue(c.Headers), headerValue(c.Expose)
	if seconds := int(c.MaxAge / time.Second); seconds > 0 {
		p.maxAge = []string{strconv.Itoa(seconds)}
	}
	return p, nil
}

func (c CORS) withDefaults() CORS {
	if c.Headers == nil {
		c.Headers = []string{"Authorization", "Content-Type", "Idempotency-Key", requestIDHeader}
	}
	if c.Expose == nil {
		c.Expose = []string{"Idempotency-Replayed", requestIDHeader, "RateLimit", "RateLimit-Policy", "Retry-After"}
	}
	return c
}

// checkNames also refuses "*", which means every name only without credentials,
// and Authorization never.
func (c CORS) checkNames() error {
	for setting, names := range map[string][]string{"methods": c.Methods, "headers": c.Headers, "expose": c.Expose} {
		for _, name := range names {
			if name == "*" || !isToken(name) {
				return fmt.Errorf("cors: %s: %q is no name (RFC 9110, section 5.6.2): write each name out", setting, name)
			}
		}
	}
	return nil
}

func headerValue(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	return []string{strings.Join(names, ", ")}
}

func (p *corsPolicy) addOrigin(origin string) error {
	if origin == "*" {
		p.anyOrigin = true
		return nil
	}
	lower := strings.ToLower(origin)
	if err := checkOrigin(lower); err != nil {
		return fmt.Errorf("cors: origin %q: %w", origin, err)
	}
	p.origins[lower] = []string{lower}
	return nil
}

// checkOrigin accepts what a browser would send, so that no setting is silently
// without effect.
func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	switch {
	case err != nil || u.Scheme == "" || u.Host == "" || origin != u.Scheme+"://"+u.Host:
		return errors.New("want scheme://host or scheme://host:port and nothing behind it")
	case u.Scheme == "http" && u.Port() == "80", u.Scheme == "https" && u.Port() == "443":
		return fmt.Errorf("browsers leave the port of %s out: write %s://%s", u.Scheme, u.Scheme, strings.TrimSuffix(u.Host, ":"+u.Port()))
	case !isHost(u.Hostname()) || strings.HasSuffix(u.Host, ":") || !isPort(u.Port()):
		return errors.New("want one exact host, in ASCII (xn-- for others), and a port from 1 to 65535 or none")
	}
	return nil
}

// isHost takes lower-case names and addresses: no wildcard, no escape.
func isHost(host string) bool {
	if strings.Contains(host, ":") {
		addr, err := netip.ParseAddr(host)
		return err == nil && addr.Zone() == ""
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

// isToken is RFC 9110, section 5.6.2.
func isToken(name string) bool {
	other := func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	}
	return name != "" && strings.IndexFunc(name, other) < 0
}

// handle sets the CORS headers of an answer and reports whether r is a
// preflight, which needs no other answer than these and the status 204. Allowed
// are the methods of the path; only a preflight reads them. A foreign origin
// gets no header but Vary, which keeps caches from handing its answer to others.
func (p *corsPolicy) handle(h http.Header, r *http.Request, allowed []string) (preflight bool) {
	if p == nil {
		return false
	}
	origins := r.Header["Origin"]
	if r.Method == http.MethodOptions {
		addVary(h, varyPreflight)
		if len(origins) > 0 && len(r.Header["Access-Control-Request-Method"]) > 0 {
			p.grant(h, r, origins, allowed)
			return true
		}
	} else if !p.anyOrigin {
		addVary(h, varyOrigin)
	}
	if p.allow(h, origins) && p.expose != nil {
		h["Access-Control-Expose-Headers"] = p.expose
	}
	return false
}

// grant answers a preflight. If a header is asked for that is not on the list,
// none is allowed.
func (p *corsPolicy) grant(h http.Header, r *http.Request, origins, allowed []string) {
	if !p.allow(h, origins) {
		return
	}
	if p.methods != nil {
		allowed = p.methods
	}
	h["Access-Control-Allow-Methods"] = headerValue(allowed)
	if p.allowed != nil && p.takes(r.Header["Access-Control-Request-Headers"]) {
		h["Access-Control-Allow-Headers"] = p.allowed
	}
	if p.maxAge != nil {
		h["Access-Control-Max-Age"] = p.maxAge
	}
}

// allow says yes to one known origin, spelled as browsers do. With "*" it says
// so to all, those without origin too: the answer is the same for everyone and
// needs no Vary.
func (p *corsPolicy) allow(h http.Header, origins []string) bool {
	value := anyOrigin
	if !p.anyOrigin {
		if len(origins) != 1 || p.origins[origins[0]] == nil {
			return false
		}
		value = p.origins[origins[0]]
	}
	h["Access-Control-Allow-Origin"] = value
	if p.credentials {
		h["Access-Control-Allow-Credentials"] = yes
	}
	return true
}

func (p *corsPolicy) takes(requested []string) bool {
	for _, line := range requested {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name != "" && !containsFold(p.headers, name) {
				return false
			}
		}
	}
	return true
}

func containsFold(names []string, name string) bool {
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// addVary keeps what other parts of the answer vary by.
func addVary(h http.Header, value []string) {
	if old := h["Vary"]; len(old) > 0 {
		value = append(slices.Clip(old), value...)
	}
	h["Vary"] = value
}
