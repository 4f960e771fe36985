package validation

import (
	"errors"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chassi-go/chassi/schema/gotype"
)

// textRule is a rule about the characters of a string.
type textRule struct {
	message string // the requirement: "must be a URL"
	pattern string // regular expression in the syntax that Go and JavaScript share; "" if test is set
	format  string // JSON Schema format that is roughly equivalent to the rule; "" if there is none
	test    func(s string) bool
	param   func(param string) (textRule, error) // returns the rule for a parameter; nil if the rule has no parameter
}

// Regular expressions of rules. All patterns and tests in this file have the semantics of
// github.com/go-playground/validator v10, except that isEmail refuses quoted local parts.
const (
	label       = `[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?`
	hostPattern = `^` + label + `(\.` + label + `)*$`

	uuidPattern  = `^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`
	uuid4Pattern = `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`
	uuid7Pattern = `^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`
)

var texts = map[string]textRule{
	"alpha":           {message: "must have letters a to z only", pattern: `^[a-zA-Z]+$`},
	"alphanum":        {message: "must have letters a to z and digits only", pattern: `^[a-zA-Z0-9]+$`},
	"alphaunicode":    {message: "must have letters only", pattern: `^[\p{L}]+$`},
	"alphanumunicode": {message: "must have letters and digits only", pattern: `^[\p{L}\p{N}]+$`},
	"numeric":         {message: "must be a decimal number", pattern: `^[-+]?[0-9]+(?:\.[0-9]+)?$`},
	"number":          {message: "must have digits only", pattern: `^[0-9]+$`},
	"hexadecimal":     {message: "must be a hexadecimal number", pattern: `^(0[xX])?[0-9a-fA-F]+$`},
	"hexcolor":        {message: "must be a color such as #1a2b3c", pattern: `^#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{4}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})$`},
	"ascii":           {message: "must have ASCII characters only", pattern: `^[\x00-\x7F]*$`},
	"printascii":      {message: "must have printable ASCII characters only", pattern: `^[\x20-\x7E]*$`},
	"lowercase":       {message: "must be in lower case", test: func(s string) bool { return s != "" && s == strings.ToLower(s) }},
	"uppercase":       {message: "must be in upper case", test: func(s string) bool { return s != "" && s == strings.ToUpper(s) }},

	"email":            {message: "must be an e-mail address", format: "email", test: isEmail},
	"e164":             {message: "must be a telephone number such as +4930123456", pattern: `^\+?[1-9][0-9]{7,14}$`},
	"url":              {message: "must be a URL", format: "uri", test: isURL},
	"http_url":         {message: "must be a URL that begins with http:// or https://", format: "uri", test: isHTTPURL},
	"uri":              {message: "must be a URI or an absolute path", test: isURI},
	"hostname":         {message: "must be a host name", pattern: `^[a-zA-Z]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.` + label + `)*$`},
	"hostname_rfc1123": {message: "must be a host name", pattern: hostPattern},
	"fqdn":             {message: "must be a fully qualified domain name", test: isFQDN},
	"hostname_port":    {message: "must be a host name and a port such as example.org:443", test: isHostnamePort},
	"ip":               {message: "must be an IP address", test: func(s string) bool { a, ok := addr(s); return ok && a.IsValid() }},
	"ipv4":             {message: "must be an IPv4 address", test: func(s string) bool { a, ok := addr(s); return ok && a.Unmap().Is4() }},
	"ipv6":             {message: "must be an IPv6 address", test: func(s string) bool { a, ok := addr(s); return ok && !a.Unmap().Is4() }},
	"cidr":             {message: "must be a network such as 192.0.2.0/24", test: isCIDR},
	"cidrv4":           {message: "must be an IPv4 network such as 192.0.2.0/24", test: isCIDRv4},
	"cidrv6":           {message: "must be an IPv6 network such as 2001:db8::/32", test: isCIDRv6},
	"mac":              {message: "must be a MAC address", test: func(s string) bool { _, err := net.ParseMAC(s); return err == nil }},

	"uuid":      {message: "must be a UUID", format: "uuid", pattern: uuidPattern},
	"uuid4":     {message: "must be a UUID of version 4 in lower case", format: "uuid", pattern: uuid4Pattern},
	"uuid7":     {message: "must be a UUID of version 7 in lower case", format: "uuid", pattern: uuid7Pattern},
	"ulid":      {message: "must be a ULID", pattern: `^[0-7][A-HJKMNP-TV-Za-hjkmnp-tv-z0-9]{25}$`},
	"base64":    {message: "must be base64", pattern: `^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$`},
	"base64url": {message: "must be base64url", pattern: `^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-]{2}==|[A-Za-z0-9_-]{3}=|[A-Za-z0-9_-]{4})$`},
	"semver":    {message: "must be a version such as 1.2.3", pattern: semver},
	"timezone":  {message: "must be a time zone such as Europe/Berlin", test: isTimeZone},

	"datetime": {param: func(layout string) (textRule, error) {
		isTime := func(s string) bool { _, err := time.Parse(layout, s); return err == nil }
		return textRule{message: "must be a time in the form " + layout, test: isTime}, wanted(layout)
	}},
	"contains": {param: func(p string) (textRule, error) {
		return textRule{message: "must contain " + p, pattern: regexp.QuoteMeta(p)}, wanted(p)
	}},
	"containsany": {param: func(p string) (textRule, error) {
		return textRule{message: "must contain one of the characters " + p, test: func(s string) bool { return strings.ContainsAny(s, p) }}, wanted(p)
	}},
	"excludes": {param: func(p string) (textRule, error) {
		return textRule{message: "must not contain " + p, test: func(s string) bool { return !strings.Contains(s, p) }}, wanted(p)
	}},
	"excludesall": {param: func(p string) (textRule, error) {
		return textRule{message: "must not contain any of the characters " + p, test: func(s string) bool { return !strings.ContainsAny(s, p) }}, wanted(p)
	}},
	"startswith": {param: func(p string) (textRule, error) {
		return textRule{message: "must start with " + p, pattern: "^" + regexp.QuoteMeta(p)}, wanted(p)
	}},
	"endswith": {param: func(p string) (textRule, error) {
		return textRule{message: "must end with " + p, pattern: regexp.QuoteMeta(p) + "$"}, wanted(p)
	}},
	"startsnotwith": {param: func(p string) (textRule, error) {
		return textRule{message: "must not start with " + p, test: func(s string) bool { return !strings.HasPrefix(s, p) }}, wanted(p)
	}},
	"endsnotwith": {param: func(p string) (textRule, error) {
		return textRule{message: "must not end with " + p, test: func(s string) bool { return !strings.HasSuffix(s, p) }}, wanted(p)
	}},
}

const semver = `^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)` +
	`(?:-((?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*))?` +
	`(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$`

func wanted(param string) error {
	if param == "" {
		return errors.New("requires a parameter")
	}
	return nil
}

// newText returns the rule in texts that w names, for the strings at a site. It returns an error if
// the values at the site are not strings, or if the parameter is missing or not permitted.
func newText(w word, at *site) (rule, error) {
	if at.kind.Go.Kind() != reflect.String || at.kind.Decode == gotype.JSON {
		return rule{}, refused(at, "a string")
	}
	t := texts[w.name]
	switch {
	case t.param != nil:
		var err error
		if t, err = t.param(w.param); err != nil {
			return rule{}, err
		}
	case w.param != "":
		return rule{}, errors.New("must not have a parameter")
	}
	r := rule{message: t.message, partial: t.pattern == "", keywords: make(map[string]any)}
	if t.pattern != "" {
		t.test = regexp.MustCompile(t.pattern).MatchString
		r.keywords["pattern"] = t.pattern
	} else if !t.test("") {
		r.keywords["minLength"] = 1
	}
	if t.format != "" {
		r.keywords["format"] = t.format
	}
	if len(r.keywords) == 0 {
		r.keywords = nil
	}
	r.test = func(v, _ reflect.Value) bool { return t.test(v.String()) }
	return r, nil
}

// addr parses s as an IP address without a zone, and reports whether s is valid. It accepts the
// same addresses as net.ParseIP, but does not allocate memory for a valid address.
func addr(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	return a, err == nil && a.Zone() == ""
}

func isCIDR(s string) bool {
	_, _, err := net.ParseCIDR(s)
	return err == nil
}

func isCIDRv4(s string) bool {
	ip, n, err := net.ParseCIDR(s)
	return err == nil && ip.To4() != nil && n.IP.Equal(ip)
}

func isCIDRv6(s string) bool {
	ip, _, err := net.ParseCIDR(s)
	return err == nil && ip.To4() == nil
}

// isEmail reports whether s is an e-mail address of at most 320 bytes whose domain contains a dot.
// The address must not have a display name, a quoted local part or a comment.
func isEmail(s string) bool {
	if len(s) > 320 || strings.ContainsAny(s, "<>()\"\\ \t\r\n") || !utf8.ValidString(s) {
		return false
	}
	if _, domain, _ := strings.Cut(s, "@"); !emailDomain.MatchString(domain) {
		return false
	}
	_, err := mail.ParseAddress(s)
	return err == nil
}

// emailDomain matches a domain that contains a dot. Letters may be of any script. The last label
// must begin and end with a letter.
var emailDomain = regexp.MustCompile(`^([\p{L}0-9]([\p{L}0-9-]{0,61}[\p{L}0-9])?\.)+\p{L}([\p{L}0-9-]{0,61}\p{L})?$`)

func isURL(s string) bool {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme == "":
		return false
	case strings.EqualFold(u.Scheme, "file"):
		return u.Path != "" && u.Path != "/"
	default:
		return u.Host != "" || u.Fragment != "" || u.Opaque != ""
	}
}

func isHTTPURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

func isURI(s string) bool {
	s, _, _ = strings.Cut(s, "#")
	_, err := url.ParseRequestURI(s)
	return s != "" && err == nil
}

var (
	hostRE = regexp.MustCompile(hostPattern)
	fqdnRE = regexp.MustCompile(`^([a-zA-Z0-9][a-zA-Z0-9-]{0,62})(\.[a-zA-Z0-9][a-zA-Z0-9-]{0,62})*?(\.[a-zA-Z][a-zA-Z0-9-]{0,62})\.?$`)
)

func isFQDN(s string) bool { return len(strings.TrimSuffix(s, ".")) <= 253 && fqdnRE.MatchString(s) }

func isHostnamePort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	n, err := strconv.ParseInt(port, 10, 32)
	return err == nil && n >= 1 && n <= 65535 && (host == "" || hostRE.MatchString(host))
}

func isTimeZone(s string) bool {
	if s == "" || strings.EqualFold(s, "local") {
		return false
	}
	_, err := time.LoadLocation(s)
	return err == nil
}
