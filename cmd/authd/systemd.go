package main

import (
	"context"
	"fmt"
	"net"
	"os"
)

// notifySystemd notifies systemd, if it started this program, that the program is running: the
// admin listener responds, with the reason why the program is not ready. It does not wait for
// readiness, because systemd would abort a start that waits for a database. See sd_notify(3).
func notifySystemd(ctx context.Context) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unixgram", path)
	if err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("READY=1")); err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	return nil
}
