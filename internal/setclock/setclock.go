// Package setclock sets the clock of programs for tests, as the clock of a machine is set: the time
// of day that the programs see changes while they run, and the monotonic clock does not.
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

// Variable is the environment variable of the program that names the file of [Set].
const Variable = "CHASSI_TEST_CLOCK"

// follow is the Go file that is added to the program. It reads the file that [Variable] names every
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

// gettime contains the assembly file that is added to the program, by architecture. The runtime
// calls its function, by the convention of C, in place of the kernel's clock_gettime. The function
// adds setAhead to the real-time clock. Thus no package but the program's is compiled for it.
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

// Overlay returns the flag of go build that gives programs a clock that [Set] sets. The programs
// must have the package pkg in the directory source, which may be main, or a package that is
// tested, for go test -c. Overlay writes files into dir, which must exist during the build.
func Overlay(dir, source, pkg string) (flag string, err error) {
	if !Supported() {
		return "", fmt.Errorf("setclock: not supported on %s/%s", runtime.GOOS, runtime.GOARCH)
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

// Set sets the clocks of the programs that read file ahead of the clock of the machine, by whole
// seconds. The programs read the file every 10 ms.
func Set(file string, ahead time.Duration) error {
	if err := os.WriteFile(file+".new", []byte(strconv.Itoa(int(ahead/time.Second))), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
