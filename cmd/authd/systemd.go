package main

import (
	"context"
	"fmt"
	"net"
	"os"
)

// notifySystemd tells systemd, if that started this program, that the program is alive: the
// admin listener answers, with the reason why it is not ready yet. It does not wait for
// readiness, since systemd would end a start that waits for a database. See sd_notify(3).
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
