package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/load/accounts"
)

const users = 50

// createDatabase creates a database with accounts. It returns its URL and a function that drops it.
func createDatabase(ctx context.Context, server string) (_ string, drop func() error, err error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", nil, errors.New("--postgres: want postgres://USER:PASSWORD@HOST:PORT/NAME?sslmode=disable")
	}
	name := "rolling_" + strings.ToLower(rand.Text())
	if err := execute(ctx, server, "CREATE DATABASE "+name); err != nil {
		return "", nil, err
	}
	drop = func() error {
		return execute(context.WithoutCancel(ctx), server, "DROP DATABASE "+name+" WITH (FORCE)")
	}
	u.Path = "/" + name
	db, err := database.Open(ctx, database.Config{URL: u.String()})
	if err != nil {
		return "", nil, errors.Join(err, drop())
	}
	_, err = accounts.Seed(ctx, db, accounts.Seeding{Users: users})
	if err = errors.Join(err, db.Close()); err != nil {
		return "", nil, errors.Join(err, drop())
	}
	return u.String(), drop, nil
}

// execute runs a statement outside a transaction.
func execute(ctx context.Context, server, statement string) error {
	db, err := database.Open(ctx, database.Config{URL: server})
	if err != nil {
		return err
	}
	rows, err := db.Query(ctx, statement)
	if err == nil {
		err = rows.Close()
	}
	return errors.Join(err, db.Close())
}

// node is an authd that is restarted at the same addresses.
type node struct {
	authd, dir        string
	args              []string
	http, grpc, admin string // host:port
	cmd               *exec.Cmd
	log               *os.File
}

func newNode(o options, name, dir, database string) (n *node, err error) {
	n = &node{authd: o.authd, dir: dir}
	for _, addr := range []*string{&n.http, &n.grpc, &n.admin} {
		if *addr, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	if n.log, err = os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return nil, err
	}
	// Load shedding is disabled, because the nodes share their cores with the driver, the
	// load balancer and the database, and only the effect of restarts is measured.
	n.args = []string{
		"serve", "--http.addr=" + n.http, "--grpc.addr=" + n.grpc, "--admin.addr=" + n.admin, "--database.url=" + database,
		"--http.trusted_proxies=127.0.0.0/8", "--rate_limit.peer=off", "--hash.max_queued=500", "--overload.tolerance=1e9", "--log.level=warn",
	}
	if o.drain > 0 {
		n.args = append(n.args, "--shutdown.drain="+o.drain.String())
	}
	return n, nil
}

// freeAddress returns an unused address.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// start starts the node and waits until it is ready.
func (n *node) start(ctx context.Context) error {
	n.cmd = exec.Command(n.authd, n.args...) //nolint:gosec,noctx // ended by stop
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	if err := n.cmd.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.admin+"/readyz", nil)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(r); err == nil {
			if err := response.Body.Close(); err == nil && response.StatusCode == http.StatusOK {
				return nil
			}
		}
		if !sleep(ctx, 50*time.Millisecond) {
			return fmt.Errorf("authd is not ready, see %s: %w", n.log.Name(), ctx.Err())
		}
	}
}

// stop terminates the node with SIGTERM, as an orchestrator does. It returns an error if the node
// does not exit with status 0.
func (n *node) stop() error {
	if n.cmd == nil || n.cmd.Process == nil {
		return nil
	}
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := n.cmd.Wait()
	n.cmd = nil
	return err
}

// kill kills the node if it is running, and closes its log.
func (n *node) kill() error {
	if n.cmd != nil && n.cmd.Process != nil {
		_ = n.cmd.Process.Kill()
		_ = n.cmd.Wait() // it was killed
	}
	return n.log.Close()
}

// sleep waits for d. It returns false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
