package main

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// patience is the timeout of one command. The slowest commands compile the program.
const patience = 3 * time.Minute

// shell is a bash process that runs several commands, so that variables and the working directory
// persist.
type shell struct {
	process *exec.Cmd
	input   io.WriteCloser
	lines   chan string
	mark    string // text that is printed before the exit status after each command
	status  int    // exit status of the last command
}

// startShell starts a shell in dir. The shell has dir/bin first in its PATH and does not inherit
// the environment variables that begin with AUTHD_ or OTEL_.
func startShell(dir string) (*shell, error) {
	process := exec.Command("bash", "--noprofile", "--norc") //nolint:noctx // stopped by close
	process.Dir = dir
	process.Env = append(cleanEnvironment(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
	input, err := process.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	process.Stdout, process.Stderr = write, write
	s := &shell{process: process, input: input, lines: make(chan string), mark: "doctest-" + rand.Text()}
	if err := process.Start(); err != nil {
		return nil, err
	}
	write.Close()
	go s.read(output)
	return s, nil
}

// read sends the lines of the output to s.lines until the output ends.
func (s *shell) read(output io.ReadCloser) {
	defer output.Close()
	defer close(s.lines)
	for in := bufio.NewReader(output); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		s.lines <- line
	}
}

func cleanEnvironment() []string {
	var kept []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "AUTHD_") && !strings.HasPrefix(entry, "OTEL_") {
			kept = append(kept, entry)
		}
	}
	return kept
}

// run runs a command in the shell, returns its output, and sets s.status to the exit status of the
// command. Within the command, $? is the status of the previous command. run returns an error if
// the command exceeds its timeout or makes the shell exit.
func (s *shell) run(command string) (string, error) {
	_, err := fmt.Fprintf(s.input, "(exit %d)\n{ %s\n} </dev/null\nprintf '\\n%s %%d\\n' $?\n", s.status, command, s.mark)
	if err != nil {
		return "", err
	}
	late := time.After(patience)
	var printed strings.Builder
	for {
		select {
		case line, open := <-s.lines:
			if !open {
				return printed.String(), errors.New("the shell exited")
			}
			if rest, found := strings.CutPrefix(line, s.mark); found {
				_, err := fmt.Sscan(rest, &s.status)
				return printed.String(), err
			}
			printed.WriteString(line)
		case <-late:
			return printed.String(), fmt.Errorf("the command did not end within %v", patience)
		}
	}
}

// close kills the jobs of the shell and stops the shell.
func (s *shell) close() {
	fmt.Fprintln(s.input, "kill -KILL $(jobs -p) 2>/dev/null")
	s.input.Close()
	go func() {
		for range s.lines { // until read reaches its end
		}
	}()
	ended := time.AfterFunc(time.Second, func() { _ = s.process.Process.Kill() })
	defer ended.Stop()
	_ = s.process.Wait()
}
