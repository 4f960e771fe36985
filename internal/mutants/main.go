// Command mutants runs mutation tests, which measure how well the tests of a package detect
// changes. It changes the package in one place, runs the tests of the package, expects them to
// fail, and repeats this with the next change.
//
//	go run ./internal/mutants [-n 60] [-seed 1] [-match REGEXP] ./ratelimit ./client
//
// A changed package is a mutant. A mutant is killed if a test fails or times out, and it survives
// if all tests pass. A mutant that does not compile is not counted. A mutant in code that no test
// runs survives, and no tests are run for it.
//
// The package and its tests must not be edited while the command runs: a test that fails for
// another reason kills every mutant.
//
// A package has hundreds of possible mutants, of which the command draws a random sample of -n
// mutants. The sample is the same for the same seed and the same source. With -n 0 all mutants are
// run. With -match, the sample is drawn only from the mutants whose printed names match the regular
// expression, for example those of one file or function, or a single survivor.
//
// Tests that take less than 200 ms run first, together. For a mutant that survives these tests, the
// slow tests that run its code follow, one after the other.
//
// The file survivors.txt lists the survivors that are accepted, each with the reason. The command
// fails if a survivor is not in the list, or if fewer than -min percent (by default 85) of the
// mutants run in a package are killed. Accepted survivors count as mutants that are not killed.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"regexp"
	"slices"
)

//go:embed survivors.txt
var survivors string

type options struct {
	sample int
	seed   uint64
	min    float64
	match  *regexp.Regexp
	list   bool
	all    bool
	out    io.Writer
}

func main() {
	o := options{out: os.Stdout, match: regexp.MustCompile("")}
	flag.IntVar(&o.sample, "n", 60, "how many mutants to run of each package, 0 for all")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of the sample")
	flag.Float64Var(&o.min, "min", 85, "percentage of mutants that must be killed")
	flag.Func("match", "run only the mutants whose name, as printed, matches this regular expression", func(text string) (err error) {
		o.match, err = regexp.Compile(text)
		return err
	})
	flag.BoolVar(&o.list, "list", false, "list the mutants of the sample instead of running them")
	flag.BoolVar(&o.all, "v", false, "print the killed mutants too")
	flag.Parse()
	if err := run(o, flag.Args()); err != nil {
		fmt.Fprintf(os.Stderr, "mutants: %v\n", err)
		os.Exit(1)
	}
}

func run(o options, patterns []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	accepted, err := parseAccepted(survivors)
	if err != nil {
		return err
	}
	packages, err := listPackages(ctx, patterns)
	if err != nil {
		return err
	}
	failed := false
	for _, p := range packages {
		mutants, err := p.mutants()
		if err != nil {
			return fmt.Errorf("%s: %w", p.ImportPath, err)
		}
		mutants = slices.DeleteFunc(mutants, func(m mutant) bool { return !o.match.MatchString(m.String()) })
		r := rand.New(rand.NewPCG(o.seed, 0))
		r.Shuffle(len(mutants), func(i, j int) { mutants[i], mutants[j] = mutants[j], mutants[i] })
		if o.list {
			for _, m := range mutants[:o.size(len(mutants))] {
				fmt.Fprintf(o.out, "line %d: %s\n", m.line, m)
			}
			continue
		}
		ok, err := testPackage(ctx, o, p, mutants, accepted)
		if err != nil {
			return fmt.Errorf("%s: %w", p.ImportPath, err)
		}
		failed = failed || !ok
	}
	if failed {
		return fmt.Errorf("a package has unlisted survivors or fewer than %v %% killed mutants: add the missing tests, "+
			"or list the survivors in internal/mutants/survivors.txt with the reason", o.min)
	}
	return nil
}

// testPackage tests the given mutants of p, in their order, until the sample is full, and prints
// the result. It returns true if at least o.min percent of the mutants run were killed and all
// survivors are accepted, or if no mutant was run.
func testPackage(ctx context.Context, o options, p goPackage, mutants []mutant, accepted map[string]string) (bool, error) {
	b, err := newBench(ctx, p)
	if err != nil {
		return false, err
	}
	defer b.close()

	var count [4]int
	ran, unlisted := 0, 0
	for _, m := range mutants {
		if ran == o.size(len(mutants)) {
			break
		}
		got, err := b.test(ctx, m)
		if err != nil {
			return false, err
		}
		count[got]++
		if got != notViable {
			ran++
		}
		reason, listed := accepted[m.String()]
		switch {
		case got == survived && listed:
			fmt.Fprintf(o.out, "survived, line %d: %s\n\t%s\n", m.line, m, reason)
		case got == survived:
			unlisted++
			fmt.Fprintf(o.out, "survived, line %d: %s\n\tNOT LISTED\n", m.line, m)
		case got != notViable && o.all:
			fmt.Fprintf(o.out, "killed, line %d: %s\n", m.line, m)
		}
	}
	dead := count[killed] + count[timedOut]
	percent := 100 * float64(dead) / float64(max(ran, 1))
	fmt.Fprintf(o.out, "%s: %d of %d mutants killed (%.0f %%, %d by timeout), %d survivors accepted, %d not listed; drawn from %d\n",
		p.ImportPath, dead, ran, percent, count[timedOut], count[survived]-unlisted, unlisted, len(mutants))
	return ran == 0 || percent >= o.min && unlisted == 0, nil
}

// size returns the number of mutants to run of n mutants: at most o.sample, or n if o.sample is not
// positive.
func (o options) size(n int) int {
	if o.sample <= 0 {
		return n
	}
	return min(o.sample, n)
}
