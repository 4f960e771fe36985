package httpapi

import "syscall"

const (
	tcpNotsentLowat = 25        // TCP_NOTSENT_LOWAT, which package syscall lacks
	maxUnsent       = 128 << 10 // bytes
)

// limitUnsent limits the number of bytes of a file that the kernel holds before it sends them. By
// default, the kernel accepts several MiB, and then nothing more until a third of them has been
// sent. With a slow client, no progress would be visible for longer than progressTime, and several
// MiB of memory would be in use.
func (c *limitedTCP) limitUnsent() {
	c.unsentLimited.Do(func() {
		if raw, err := c.tcp.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) {
				_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotsentLowat, maxUnsent) // a file is sent without it too
			})
		}
	})
}
