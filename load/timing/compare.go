package main

import (
	"fmt"
	"io"
)

// group contains the durations of the calls of one kind in milliseconds.
type group struct {
	name string
	took []float64
}

// comparison is the result of comparing the groups a and b. mannWhitney and kolmogorovSmirnov are
// p-values, adjusted for the number of comparisons.
type comparison struct {
	a, b                           string
	shift                          float64 // median of b minus median of a, in milliseconds
	mannWhitney, kolmogorovSmirnov float64
}

func (c comparison) differs(alpha float64) bool {
	return min(c.mannWhitney, c.kolmogorovSmirnov) < alpha
}

// compare compares each pair of groups and returns the comparisons.
func compare(groups []group) (list []comparison) {
	var p []float64
	for i, a := range groups {
		for _, b := range groups[i+1:] {
			list = append(list, comparison{a: a.name, b: b.name, shift: quantile(b.took, 0.5) - quantile(a.took, 0.5)})
			p = append(p, mannWhitney(a.took, b.took), kolmogorovSmirnov(a.took, b.took))
		}
	}
	p = holm(p)
	for i := range list {
		list[i].mannWhitney, list[i].kolmogorovSmirnov = p[2*i], p[2*i+1]
	}
	return list
}

// report prints groups and their comparisons to out, and returns the number of comparisons that
// show a difference at the significance level alpha.
func report(out io.Writer, title string, groups []group, alpha float64) (differ int) {
	fmt.Fprintf(out, "\n%s\n  %-18s %5s %10s %10s %10s\n", title, "", "n", "p25 ms", "median ms", "p75 ms")
	for _, g := range groups {
		fmt.Fprintf(out, "  %-18s %5d %10.3f %10.3f %10.3f\n", g.name, len(g.took), quantile(g.took, 0.25), quantile(g.took, 0.5), quantile(g.took, 0.75))
	}
	fmt.Fprintf(out, "  %-37s %10s %13s %19s\n", "", "shift ms", "Mann-Whitney", "Kolmogorov-Smirnov")
	for _, c := range compare(groups) {
		verdict := "no difference"
		if c.differs(alpha) {
			verdict = "DIFFERENT"
			differ++
		}
		fmt.Fprintf(out, "  %-37s %+10.3f %13.4f %19.4f  %s\n", c.a+" - "+c.b, c.shift, c.mannWhitney, c.kolmogorovSmirnov, verdict)
	}
	return differ
}
