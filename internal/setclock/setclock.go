// Package setclock changes the wall clock of programs for tests, as if the clock of the machine
// were set: the time of day is changed while the programs run, but the monotonic clock is not.
package setclock

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// Variable is the name of the environment variable that contains the path of the file that [Set]
// writes.
const Variable = "CHASSI_TEST_CLOCK"

// follow is the source of the Go file that [Overlay] adds to the program, with %s in place of the
// package name. The added code reads the file named by [Variable] at program start and then every
// 10 ms.
const follow = `package %s

import (
	"os"
	"strconv"
	"sync/atomic"
	"time"
	_ "unsafe"
)

var setAhead int64

//go:linkname vdsoClockgettimeSym runtime.vdsoClockgettimeSym
var vdsoClockgettimeSym uintptr

func clockGettime() uintptr

func init() {
	read := func() {
		text, _ := os.ReadFile(os.Getenv("` + Variable + `"))
		if seconds, err := strconv.ParseInt(string(text), 10, 64); err == nil {
			atomic.StoreInt64(&setAhead, seconds)
		}
	}
	read()
	vdsoClockgettimeSym = clockGettime()
	go func() {
		for {
			time.Sleep(10 * time.Millisecond)
			read()
		}
	}()
}
`

// gettime contains, for each architecture, the assembly file that [Overlay] adds to the program.
// The Go runtime calls the function in this file, with the C calling convention, instead of the
// clock_gettime function that the kernel provides. The function adds setAhead seconds to the
// real-time clock. The runtime is not changed, so that only the package with the added files is
// compiled again.
var gettime = map[string]string{
	"amd64": `#include "textflag.h"

TEXT gettime<>(SB), NOSPLIT|NOFRAME, $0
	MOVL $228, AX
	SYSCALL
	CMPL DI, $0
	JNE  done
	MOVQ ·setAhead(SB), CX
	ADDQ CX, 0(SI)
done:
	RET

TEXT ·clockGettime(SB), NOSPLIT, $0-8
	LEAQ gettime<>(SB), AX
	MOVQ AX, ret+0(FP)
	RET
`,
	"arm64": `#include "textflag.h"

TEXT gettime<>(SB), NOSPLIT|NOFRAME, $0
	MOVD R0, R9
	MOVD $113, R8
	SVC
	CBNZ R9, done
	MOVD ·setAhead(SB), R10
	MOVD 0(R1), R11
	ADD  R10, R11
	MOVD R11, 0(R1)
done:
	RET

TEXT ·clockGettime(SB), NOSPLIT, $0-8
	MOVD $gettime<>(SB), R0
	MOVD R0, ret+0(FP)
	RET
`,
}

// Supported reports whether [Overlay] works on this platform.
func Supported() bool { return runtime.GOOS == "linux" && gettime[runtime.GOARCH] != "" }

// Overlay returns a flag for go build and go test -c that adds a clock, controlled by [Set], to the
// package with the name pkg in the directory source. This package must be linked into the program:
// it may be package main or the package under test. Overlay writes files into dir, which must exist
// during the build. It returns an error if the platform is not supported or a file cannot be
// written.
func Overlay(dir, source, pkg string) (flag string, err error) {
	if !Supported() {
		return "", fmt.Errorf("setclock: %s/%s is not supported: want linux/amd64 or linux/arm64", runtime.GOOS, runtime.GOARCH)
	}
	if source, err = filepath.Abs(source); err != nil {
		return "", err
	}
	replace := make(map[string]string)
	for name, text := range map[string]string{"setclock.go": fmt.Sprintf(follow, pkg), "setclock.s": gettime[runtime.GOARCH]} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(source, name)] = file
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, "overlay.json")
	return "-overlay=" + list, os.WriteFile(list, text, 0o600)
}

// Set sets the clocks of the programs that were built with the flag of [Overlay] and whose
// environment variable [Variable] is file. These clocks then differ from the clock of the machine by
// ahead, which is truncated to whole seconds and may be negative. The programs read the file every
// 10 ms. Set returns an error if the file cannot be written.
func Set(file string, ahead time.Duration) error {
	if err := os.WriteFile(file+".new", []byte(strconv.Itoa(int(ahead/time.Second))), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
