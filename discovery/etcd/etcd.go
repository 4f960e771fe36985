// Package etcd finds services in etcd, and registers them there. It speaks etcd's
// JSON gateway (/v3/..., etcd 3.4 and later).
//
// The keys are PREFIX/NAME/ID and the values {"Addr":"host:port","Op":0}, as etcd's
// own package client/v3/naming/endpoints reads and writes them.
package etcd

import (
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

// Config says how etcd is reached. The zero value of every field means the default
// in its tag.
type Config struct {
	URL      string `config:"url" mask:"url" default:"http://127.0.0.1:2379" help:"of etcd's members, with commas between"`
	User     string `config:"user" help:"name to log in with, if etcd wants one"`
	Password string `config:"password" secret:"true" help:"password to log in with"`

	Prefix string `config:"prefix" default:"services" help:"keys are PREFIX/NAME/ID"`

	CAFile   string `config:"ca_file" help:"CAs in PEM that may have signed the members' certificates"`
	CertFile string `config:"cert_file" help:"client certificate chain in PEM"`
	KeyFile  string `config:"key_file" help:"its private key in PEM"`

	Timeout time.Duration `config:"timeout" default:"5s" min:"1ms" max:"1m" help:"longest time of a call to one member"`
	Refresh time.Duration `config:"refresh" default:"5m" min:"1s" max:"1h" help:"time after which a watch begins anew, in case that a member hangs"`
	TTL     time.Duration `config:"ttl" default:"15s" min:"3s" max:"1h" help:"in whole seconds: a service registered here that says nothing for so long is gone; it says something three times as often"`

	// Logger takes what concerns no call. Default slog.Default().
	Logger *slog.Logger `config:"-"`
}

func (c Config) withDefaults() Config {
	c.URL = or(c.URL, "http://127.0.0.1:2379")
	c.Prefix = strings.TrimRight(or(c.Prefix, "services"), "/")
	c.Timeout = or(c.Timeout, 5*time.Second)
	c.Refresh = or(c.Refresh, 5*time.Minute)
	c.TTL = or(c.TTL, 15*time.Second)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// cluster is the client of all members, with the defaults filled in. It belongs to
// one goroutine at a time; Close to any.
type cluster struct {
	Config

	client  *api.Client
	members []string
	current int    // index of the member that is asked
	login   string // token; "" for none yet
}

func newCluster(c Config) (*cluster, error) {
	l := &cluster{Config: c.withDefaults()}
	for member := range strings.SplitSeq(l.URL, ",") {
		member = strings.TrimRight(strings.TrimSpace(member), "/")
		u, err := url.Parse(member)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, errors.New("etcd: url: want http://HOST:PORT or https://HOST:PORT, several with commas between")
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

// key returns PREFIX/NAME/.
func (l *cluster) folder(service string) string { return l.Prefix + "/" + service + "/" }

// next takes another member from now on.
func (l *cluster) next() { l.current = (l.current + 1) % len(l.members) }

// call asks one member after the other until one answers.
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

// elsewhere tells whether another member may do better: this one is not there, or
// says that it cannot.
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

// authorized logs in first, if there is a user, and once more when the token has
// been refused: etcd forgets it after five minutes without use, and when it restarts.
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
	var answer struct{ Token string }
	body := struct {
		Name     string `json:"name"`
		Password string `json:"password"`
	}{l.User, l.Password}
	if _, err := l.client.Do(ctx, l.request("/v3/auth/authenticate", body, &answer)); err != nil {
		return err
	}
	l.login = answer.Token
	return do()
}

// isOldAuth tells whether users or roles have changed since the login.
func isOldAuth(err error) bool {
	return api.IsStatus(err, http.StatusBadRequest) && strings.Contains(err.Error(), "revision of auth store is old")
}

// Keys and values travel as base64.
func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// after returns the first key behind all that begin with prefix, which ends in "/".
func after(prefix string) string { return prefix[:len(prefix)-1] + string(rune('/'+1)) }

// header is in every answer.
type header struct {
	Revision int64 `json:"revision,string"`
}

// pair is a key with its value.
type pair struct {
	Key, Value []byte
	Lease      int64 `json:"lease,string"`
}
