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

// createDatabase creates a database with accounts on the PostgreSQL server whose URL is server. It
// returns the URL of the database and a function that drops the database.
func createDatabase(ctx context.Context, server string) (_ string, drop func() error, err error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", nil, errors.New("--postgres must be postgres://USER:PASSWORD@HOST:PORT/NAME?sslmode=disable")
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

// execute runs a statement outside a transaction in the database whose URL is server.
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

// node is an authd process that keeps its addresses when it is restarted.
type node struct {
	authd, dir        string
	args              []string
	http, grpc, admin string // host:port
	cmd               *exec.Cmd
	log               *os.File
}

func newNode(o options, name, dir, database string) (n *node, err error) {
	n = &node{authd: o.authd, dir: dir}
	if err := freeAddresses(&n.http, &n.grpc, &n.admin); err != nil {
		return nil, err
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

// freeAddresses sets addrs to different unused addresses of the loopback interface, as host:port.
func freeAddresses(addrs ...*string) error {
	for _, addr := range addrs {
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
		if err != nil {
			return err
		}
		defer l.Close() // after all, because the system may assign a closed port again
		*addr = l.Addr().String()
	}
	return nil
}

// start starts the node and waits until it is ready. It returns an error if the node is not ready
// within a minute.
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
			text, _ := os.ReadFile(n.log.Name()) // the file is removed at the end
			return fmt.Errorf("authd is not ready: %w; its log:\n%s", ctx.Err(), text)
		}
	}
}

// stop terminates the node with SIGTERM, as an orchestrator does, and waits for its exit. It
// returns an error if the node does not exit with status 0.
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

// sleep waits for d and returns true. It returns false if ctx is done first.
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
