// Command h2spec runs h2spec (github.com/summerwind/h2spec) against the servers of httpapi and
// grpcapi, and against plain servers of net/http and grpc-go, with and without TLS. It fails if a
// server of this module fails a case that the corresponding plain server passes.
//
//	go run ./internal/conformance/h2spec bin/tools/h2spec
package main

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// minCases is the minimum number of cases of a complete run of h2spec. A run with fewer cases is an
// error.
const minCases = 140

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "h2spec: want the path of the h2spec program as the one argument")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "h2spec:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, program string) error {
	dir, err := os.MkdirTemp("", "h2spec")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	files, err := writeCertificate(dir)
	if err != nil {
		return err
	}
	pairs, stop, err := serve(ctx, files)
	defer stop()
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, len(pairs))
	for i, p := range pairs {
		wg.Go(func() { errs[i] = p.compare(ctx, program, dir) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// pair contains the addresses of a server of this module and of the plain server with which it is
// compared.
type pair struct {
	name        string
	ours, plain string // addresses
	path        string
	tls         bool
	patience    time.Duration // timeout of a response in the first round; later ones have 3 s
}

// rounds is the number of times that a case must fail before it counts as failed. A case that waits
// for a response may fail once on a busy machine.
const rounds = 4

// compare runs all cases against both servers and repeats the sections of the cases that only the
// server of this module fails. It returns an error if such a case fails in all rounds while the
// plain server passes it, if h2spec runs fewer than minCases cases, or if a report cannot be read.
func (p *pair) compare(ctx context.Context, program, dir string) error {
	ours, plain, err := p.test(ctx, program, dir, p.patience)
	if err != nil {
		return err
	}
	if len(ours) < minCases || len(plain) < minCases {
		return fmt.Errorf("%s: h2spec ran %d cases against the server of chassi and %d against the plain server, want at least %d each",
			p.name, len(ours), len(plain), minCases)
	}
	fmt.Fprintf(os.Stdout, "%-16s %3d cases, %2d failed by ours, %2d by the plain server\n", p.name, len(ours), failed(ours), failed(plain))
	worse := compare(ours, plain)
	for round := 1; round < rounds && len(worse) > 0; round++ {
		if ours, plain, err = p.test(ctx, program, dir, 3*time.Second, sections(worse)...); err != nil {
			return err
		}
		again := compare(ours, plain)
		maps.DeleteFunc(worse, func(name, _ string) bool { return again[name] == "" })
	}
	if len(worse) == 0 {
		return nil
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(worse)) {
		lines = append(lines, "  "+name+": "+worse[name])
	}
	return fmt.Errorf("%s: the server of chassi fails cases that the plain server passes:\n%s", p.name, strings.Join(lines, "\n"))
}

// compare returns the cases that failed in ours and not in plain, with the reasons of the failures.
func compare(ours, plain map[string]string) map[string]string {
	worse := make(map[string]string)
	for name, reason := range ours {
		if reason != "" && plain[name] == "" {
			worse[name] = reason
		}
	}
	return worse
}

// sections returns the sections of the specification to which the cases belong, in the format of
// the arguments of h2spec.
func sections(cases map[string]string) []string {
	var list []string
	for name := range cases {
		section, _, _ := strings.Cut(name, " ")
		list = append(list, section)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func failed(cases map[string]string) (n int) {
	for _, reason := range cases {
		if reason != "" {
			n++
		}
	}
	return n
}

// test runs h2spec against both servers concurrently, with the cases of the given sections, or with
// all cases if no section is given. For each server, it returns a map from the name of each case to
// the reason for its failure, which is "" if the case did not fail.
func (p *pair) test(ctx context.Context, program, dir string, timeout time.Duration, sections ...string) (ours, plain map[string]string, err error) {
	var wg sync.WaitGroup
	var errs [2]error
	report := filepath.Join(dir, strings.ReplaceAll(p.name, " ", "-"))
	wg.Go(func() { ours, errs[0] = p.testOne(ctx, program, report+"-ours.xml", p.ours, timeout, sections) })
	wg.Go(func() { plain, errs[1] = p.testOne(ctx, program, report+"-plain.xml", p.plain, timeout, sections) })
	wg.Wait()
	return ours, plain, errors.Join(errs[:]...)
}

func (p *pair) testOne(ctx context.Context, program, report, addr string, timeout time.Duration, sections []string) (map[string]string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	args := append([]string{
		"--host", host, "--port", port, "--path", p.path, "--timeout", strconv.Itoa(int(timeout.Seconds())), "--strict", "--junit-report", report,
	}, sections...)
	if p.tls {
		args = append(args, "--tls", "--insecure")
	}
	output, failure := exec.CommandContext(ctx, program, args...).CombinedOutput() //nolint:gosec // the program is the argument of ours
	results, err := readReport(report)
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", p.name, errors.Join(err, failure), output)
	}
	return results, nil
}

func readReport(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var report struct {
		Suites []struct {
			Cases []struct {
				Package string `xml:"package,attr"`
				Name    string `xml:"classname,attr"`
				Failure string `xml:"failure"`
				Error   string `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &report); err != nil {
		return nil, fmt.Errorf("decode the report of h2spec: %w", err)
	}
	results := make(map[string]string)
	for _, suite := range report.Suites {
		for _, c := range suite.Cases {
			results[c.Package+" "+c.Name] = strings.Join(strings.Fields(c.Failure+" "+c.Error), " ")
		}
	}
	return results, nil
}
