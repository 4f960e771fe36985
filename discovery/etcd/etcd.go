// Package etcd finds services in etcd, and registers them there. It uses the JSON gateway of etcd
// (/v3/..., in etcd 3.4 and later).
//
// The keys are PREFIX/NAME/ID and the values are {"Addr":"host:port","Op":0}, compatible with
// etcd's package client/v3/naming/endpoints.
package etcd

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/chassi-go/chassi/discovery/internal/api"
)

// Config configures the connection to etcd. The zero value of a field means the default in its tag,
// if its tag has one.
type Config struct {
	URL      string `config:"url" format:"urls:http,https" mask:"url" default:"http://127.0.0.1:2379" help:"comma-separated URLs of the members of the etcd cluster"`
	User     string `config:"user" help:"user name, if etcd requires authentication"`
	Password string `config:"password" secret:"true" help:"password of the user"`

	Prefix string `config:"prefix" default:"services" help:"prefix of the keys, which are PREFIX/NAME/ID"`

	CAFile   string `config:"ca_file" format:"file" help:"PEM file of the CAs that are trusted to sign the members' certificates"`
	CertFile string `config:"cert_file" format:"file" help:"PEM file of the client certificate chain"`
	KeyFile  string `config:"key_file" format:"file" help:"PEM file of the private key of cert_file"`

	Timeout time.Duration `config:"timeout" default:"5s" min:"1ms" max:"1m" help:"maximum time of a call to one member"`
	Refresh time.Duration `config:"refresh" default:"5m" min:"1s" max:"1h" help:"interval at which a watch is restarted, in case a member hangs"`
	TTL     time.Duration `config:"ttl" default:"15s" min:"3s" max:"1h" help:"time after which a registered service without a heartbeat is removed, in whole seconds; heartbeats are sent three times as often"`

	// Logger receives the log lines that do not belong to a single call. The default is
	// slog.Default().
	Logger *slog.Logger `config:"-"`
}

func (c Config) withDefaults() Config {
	c.URL = cmp.Or(c.URL, "http://127.0.0.1:2379")
	c.Prefix = strings.TrimRight(cmp.Or(c.Prefix, "services"), "/")
	c.Timeout = cmp.Or(c.Timeout, 5*time.Second)
	c.Refresh = cmp.Or(c.Refresh, 5*time.Minute)
	c.TTL = cmp.Or(c.TTL, 15*time.Second)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// cluster is a client of all members of an etcd cluster. Its Config has the defaults filled in. It
// is used by one goroutine at a time, except for its client, which is safe for concurrent use.
type cluster struct {
	Config

	client  *api.Client
	members []string
	current int    // index of the current member
	login   string // token; "" before the login
}

func newCluster(c Config) (*cluster, error) {
	l := &cluster{Config: c.withDefaults()}
	for member := range strings.SplitSeq(l.URL, ",") {
		member = strings.TrimRight(strings.TrimSpace(member), "/")
		u, err := url.Parse(member)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, errors.New("etcd: url must be a comma-separated list of http://HOST:PORT or https://HOST:PORT")
		}
		l.members = append(l.members, member)
	}
	var err error
	l.client, err = api.New(api.Options{CAFile: l.CAFile, CertFile: l.CertFile, KeyFile: l.KeyFile, Timeout: l.Timeout})
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	return l, nil
}

// folder returns PREFIX/NAME/, the common prefix of the keys of a service.
func (l *cluster) folder(service string) string { return l.Prefix + "/" + service + "/" }

// next selects the next member.
func (l *cluster) next() { l.current = (l.current + 1) % len(l.members) }

// call sends a request to the current member. If the request fails, [elsewhere] returns true for the
// error and ctx is not done, call selects the next member and sends the request to it, until it has
// tried all members. If all members fail in this way, call returns the joined errors.
func (l *cluster) call(ctx context.Context, path string, in, out any) error {
	var errs []error
	for range l.members {
		err := l.authorized(ctx, func() error {
			_, err := l.client.Do(ctx, l.request(path, in, out))
			return err
		})
		if err == nil || ctx.Err() != nil || !elsewhere(err) {
			return err
		}
		errs = append(errs, err)
		l.next()
	}
	return errors.Join(errs...)
}

// elsewhere reports whether err means that the request should be sent to another member, because
// this one is unavailable or reports that it cannot serve the request.
func elsewhere(err error) bool {
	var status *api.StatusError
	return !errors.As(err, &status) || status.Code >= 500 || status.Code == http.StatusRequestTimeout || status.Code == http.StatusTooManyRequests
}

func (l *cluster) request(path string, in, out any) api.Request {
	header := http.Header{}
	if l.login != "" {
		header.Set("Authorization", l.login)
	}
	return api.Request{Method: http.MethodPost, URL: l.members[l.current] + path, Header: header, In: in, Out: out}
}

// authorized calls do, which sends a request. If a user is configured, authorized logs in first if
// there is no token. If the token is rejected, it logs in again and repeats the call of do: etcd
// deletes a token after five minutes without use, and when etcd restarts. The error is that of do or
// of the login.
func (l *cluster) authorized(ctx context.Context, do func() error) error {
	if l.User == "" {
		return do()
	}
	if l.login != "" {
		err := do()
		if !api.IsStatus(err, http.StatusUnauthorized) && !isOldAuth(err) {
			return err
		}
		l.login = ""
	}
	var response struct{ Token string }
	body := struct {
		Name     string `json:"name"`
		Password string `json:"password"`
	}{l.User, l.Password}
	if _, err := l.client.Do(ctx, l.request("/v3/auth/authenticate", body, &response)); err != nil {
		return err
	}
	l.login = response.Token
	return do()
}

// isOldAuth reports whether err means that users or roles have changed since the login.
func isOldAuth(err error) bool {
	return api.IsStatus(err, http.StatusBadRequest) && strings.Contains(err.Error(), "revision of auth store is old")
}

// encode returns s as base64, the encoding of keys and values.
func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// after returns the first key after all keys with the prefix. The prefix must end in "/".
func after(prefix string) string { return prefix[:len(prefix)-1] + string(rune('/'+1)) }

// header is the header of an etcd response.
type header struct {
	Revision int64 `json:"revision,string"`
}

// pair is a key with its value.
type pair struct {
	Key, Value []byte
	Lease      int64 `json:"lease,string"`
}
