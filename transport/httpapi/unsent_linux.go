package httpapi

import "syscall"

const (
	tcpNotsentLowat = 25        // TCP_NOTSENT_LOWAT, which package syscall lacks
	maxUnsent       = 128 << 10 // bytes
)

// limitUnsent bounds what the kernel holds of a file that it has not yet sent. By default it takes
// several MiB, and then nothing until a third of them has been sent: with a slow client there
// would be no progress to be seen for longer than progressTime, and as much memory in use.
func (c *limitedTCP) limitUnsent() {
	c.unsentLimited.Do(func() {
		if raw, err := c.tcp.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) {
				_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotsentLowat, maxUnsent) // a file is sent without it too
			})
		}
	})
}
