// Command backup measures backups of an authd node while the node handles sign-ups at a fixed rate:
//
//	make build
//	go run ./load/backup --rate 200 --duration 20s --backups 3
//
// It restores each backup, checks its integrity, and checks that it contains every sign-up that was
// acknowledged before the backup began. Then it starts a node on the last backup. It exits with 1
// if a sign-up is missing or any step fails. See README.md in the parent directory.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/chassi-go/chassi/load/openloop"
)

type options struct {
	program          string
	rate             float64
	duration, warmup time.Duration
	backups          int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.StringVar(&o.program, "authd", "bin/authd", "the program")
	flag.Float64Var(&o.rate, "rate", 200, "sign-ups per second")
	flag.DurationVar(&o.duration, "duration", 20*time.Second, "of the sign-ups, after a second of warm-up")
	flag.IntVar(&o.backups, "backups", 3, "made meanwhile, at even intervals")
	flag.Parse()
	o.warmup = time.Second
	if err := measure(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "backup:", err)
		os.Exit(1) //nolint:gocritic // the process ends, and with it the signals
	}
}

// copied describes one backup.
type copied struct {
	file        string
	began       time.Time
	took        time.Duration
	bytes       int64
	before, has int // accounts acknowledged before the backup began, and accounts in it
}

func measure(ctx context.Context, o options, out io.Writer) (err error) {
	if o.backups < 1 {
		return fmt.Errorf("--backups: %d: must be at least 1", o.backups)
	}
	program, err := filepath.Abs(o.program)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "backup-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	n, err := startNode(ctx, program, dir)
	if err != nil {
		return err
	}
	defer n.kill()

	made := make(chan []copied, 1)
	failed := make(chan error, 1)
	go func() {
		list, err := makeBackups(ctx, n, o)
		made <- list
		failed <- err
	}()
	result, err := openloop.Run(ctx, openloop.Config{
		Name: "sign-up", Rate: o.rate, Warmup: o.warmup, Duration: o.duration, Timeout: 10 * time.Second, Refused: isRefusal,
	}, n.signUp)
	backups, backupErr := <-made, <-failed
	switch {
	case err != nil:
		return err
	case backupErr != nil:
		return backupErr
	case result.OK == 0:
		return fmt.Errorf("none of %d sign-ups was accepted: %d were refused, %d failed: %v", result.Due, result.Refused, result.Failed, result.Errors)
	}
	if err := n.stop(); err != nil {
		return err
	}
	a := result.Accepted
	fmt.Fprintf(out, "%g/s sign-ups for %v: %d accepted (%.1f/s), %d refused, %d failed; ms from when each was due: p50 %.1f, p99 %.1f, max %.1f\n",
		o.rate, o.duration, result.OK, result.Achieved, result.Refused, result.Failed, ms(a.P50), ms(a.P99), ms(a.Max))
	for kind, count := range result.Errors {
		fmt.Fprintf(out, "failed: %d x %s\n", count, kind)
	}
	for i := range backups {
		if err := verify(ctx, n, &backups[i]); err != nil {
			return fmt.Errorf("backup %d: %w", i+1, err)
		}
		b := backups[i]
		fmt.Fprintf(out, "backup %d: %.2f s, %.1f MiB, restored, integrity ok: all %d accounts acknowledged before it began, %d in it\n",
			i+1, b.took.Seconds(), float64(b.bytes)/(1<<20), b.before, b.has)
	}
	if err := startRestored(ctx, program, n, backups[len(backups)-1]); err != nil {
		return err
	}
	fmt.Fprintln(out, "a node started on the last one, and an account of it logged in")
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// makeBackups makes o.backups backups at regular intervals during the sign-ups. It returns the
// backups that were made, with an error if one failed or ctx is done.
func makeBackups(ctx context.Context, n *node, o options) ([]copied, error) {
	var list []copied
	for i := range o.backups {
		select {
		case <-ctx.Done():
			return list, ctx.Err()
		case <-time.After(o.duration / time.Duration(o.backups+1)):
		}
		b := copied{file: filepath.Join(n.dir, fmt.Sprintf("%d.backup", i+1)), began: time.Now()}
		if _, err := n.command(ctx, n.dir, "backup", b.file); err != nil {
			return list, err
		}
		b.took = time.Since(b.began)
		info, err := os.Stat(b.file)
		if err != nil {
			return list, err
		}
		b.bytes = info.Size()
		list = append(list, b)
	}
	return list, nil
}
