package main

import (
	"cmp"
	"math"
	"slices"
)

// mannWhitney returns the two-sided p-value of the Mann-Whitney U test: the probability that two
// samples from one distribution differ in rank at least as much as a and b do. It uses the normal
// approximation with corrections for ties and continuity. The approximation requires at least 20
// values in each sample (Mann and Whitney 1947; Lehmann, Nonparametrics, 1975, section 1.2).
func mannWhitney(a, b []float64) float64 {
	type value struct {
		v     float64
		fromA bool
	}
	all := make([]value, 0, len(a)+len(b))
	for _, v := range a {
		all = append(all, value{v, true})
	}
	for _, v := range b {
		all = append(all, value{v, false})
	}
	slices.SortFunc(all, func(x, y value) int { return cmp.Compare(x.v, y.v) })
	rankSum, ties := 0.0, 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].v == all[i].v {
			j++
		}
		rank, count := float64(i+1+j)/2, float64(j-i) // the mean of i+1 to j
		for _, x := range all[i:j] {
			if x.fromA {
				rankSum += rank
			}
		}
		ties += count*count*count - count
		i = j
	}
	n, m := float64(len(a)), float64(len(b))
	u := rankSum - n*(n+1)/2
	variance := n * m / 12 * (n + m + 1 - ties/((n+m)*(n+m-1)))
	if variance <= 0 {
		return 1 // all values are the same
	}
	z := max(0, math.Abs(u-n*m/2)-0.5) / math.Sqrt(variance)
	return math.Erfc(z / math.Sqrt2)
}

// kolmogorovSmirnov returns the p-value of the two-sample Kolmogorov-Smirnov test, which detects
// differences in shape as well as in location. It uses the asymptotic distribution with Stephens'
// correction (Press et al., Numerical Recipes, section 14.3.3).
func kolmogorovSmirnov(a, b []float64) float64 {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	distance, i, j := 0.0, 0, 0
	for i < len(a) && j < len(b) {
		x := min(a[i], b[j])
		for i < len(a) && a[i] == x {
			i++
		}
		for j < len(b) && b[j] == x {
			j++
		}
		distance = max(distance, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	n := math.Sqrt(float64(len(a)) * float64(len(b)) / float64(len(a)+len(b)))
	return kolmogorovTail((n + 0.12 + 0.11/n) * distance)
}

// kolmogorovTail returns the probability that a value of the Kolmogorov distribution exceeds x: 2
// times the sum over k >= 1 of (-1)^(k-1) exp(-2 k^2 x^2).
func kolmogorovTail(x float64) float64 {
	if x < 0.2 {
		return 1 // to 12 digits, where the sum converges slowly
	}
	sum, sign := 0.0, 1.0
	for k := 1.0; k <= 100; k++ {
		term := math.Exp(-2 * k * k * x * x)
		sum += sign * term
		if term < 1e-16 {
			break
		}
		sign = -sign
	}
	return min(1, max(0, 2*sum))
}

// holm returns the p-values of simultaneous tests, adjusted so that at a given significance level
// the probability of any false positive is at most that of a single test (Holm 1979). The result is
// in the order of p.
func holm(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(p[i], p[j]) })
	adjusted, largest := make([]float64, len(p)), 0.0
	for rank, i := range order {
		largest = max(largest, min(1, p[i]*float64(len(p)-rank)))
		adjusted[i] = largest
	}
	return adjusted
}

// quantile returns the q-quantile of values, with linear interpolation, or NaN if values is empty.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
