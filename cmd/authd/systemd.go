package main

import (
	"context"
	"fmt"
	"net"
	"os"
)

// notifySystemd notifies systemd, if systemd started this program, that the program is running; see
// sd_notify(3). The admin listener responds by then, but the program may not be ready.
// notifySystemd does not wait for readiness, because systemd would abort a start that waits for a
// database.
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
