package main

import (
	"math"
	"math/rand/v2"
	"testing"
)

func sequence(from, to float64) (values []float64) {
	for v := from; v <= to; v++ {
		values = append(values, v)
	}
	return values
}

// The wanted values were worked out from the formulas by hand, for U = 0 and U = 136
// of 400 (sigma 36.968), and U = 8 of 36 with ties (sigma 6).
func TestMannWhitney(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		a, b []float64
		want float64
	}{
		"apart":     {sequence(1, 20), sequence(21, 40), 6.796e-8},
		"alike":     {[]float64{1, 4, 5, 8}, []float64{2, 3, 6, 7}, 1},
		"all equal": {[]float64{1, 1, 1}, []float64{1, 1, 1}, 1},
		"shifted":   {sequence(1, 20), addTo(sequence(1, 20), 3.5), 0.08585},
		"with ties": {[]float64{1, 1, 2, 2, 3, 3}, []float64{2, 2, 3, 3, 4, 4}, 0.11334},
	} {
		for _, p := range []float64{mannWhitney(c.a, c.b), mannWhitney(c.b, c.a)} {
			if math.Abs(p-c.want) > 0.002*c.want+1e-9 {
				t.Errorf("%s: p = %.4g, want %.4g", name, p, c.want)
			}
		}
	}
}

func addTo(values []float64, d float64) []float64 {
	for i := range values {
		values[i] += d
	}
	return values
}

// 1.3581 and 1.6276 are the critical values for 5 % and 1 % in Kolmogorov's table.
func TestKolmogorovTail(t *testing.T) {
	t.Parallel()
	for x, want := range map[float64]float64{0: 1, 0.1: 1, 0.19: 1, 0.82757: 0.5, 1.2238: 0.1, 1.3581: 0.05, 1.6276: 0.01, 5: 0} {
		if p := kolmogorovTail(x); math.Abs(p-want) > 1e-4 {
			t.Errorf("%v: %v, want %v", x, p, want)
		}
	}
}

func TestKolmogorovSmirnov(t *testing.T) {
	t.Parallel()
	if p := kolmogorovSmirnov(sequence(1, 50), sequence(1, 50)); p != 1 {
		t.Errorf("the same values: %v", p)
	}
	if p := kolmogorovSmirnov(sequence(1, 50), sequence(51, 100)); p > 1e-20 {
		t.Errorf("apart: %v", p)
	}
	// One place, two shapes: ranks see nothing, shapes do.
	wide, narrow := sequence(-100, 100), make([]float64, 201)
	for i := range narrow {
		narrow[i] = wide[i] / 10
	}
	if u, d := mannWhitney(wide, narrow), kolmogorovSmirnov(wide, narrow); u < 0.5 || d > 1e-10 {
		t.Errorf("of another shape: Mann-Whitney %v, Kolmogorov-Smirnov %v", u, d)
	}
}

func TestHolm(t *testing.T) {
	t.Parallel()
	got := holm([]float64{0.01, 0.04, 0.03, 0.005})
	for i, want := range []float64{0.03, 0.06, 0.06, 0.02} {
		if math.Abs(got[i]-want) > 1e-12 {
			t.Errorf("%v, want 0.03 0.06 0.06 0.02", got)
			break
		}
	}
	if got := holm([]float64{0.9, 0.8}); got[0] != 1 || got[1] != 1 {
		t.Errorf("%v, want 1 1", got)
	}
	if got := holm(nil); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	for q, want := range map[float64]float64{0: 1, 0.5: 2.5, 1: 4, 0.25: 1.75} {
		if got := quantile([]float64{4, 1, 3, 2}, q); got != want {
			t.Errorf("%v: %v, want %v", q, got, want)
		}
	}
	if !math.IsNaN(quantile(nil, 0.5)) {
		t.Error("of nothing")
	}
}

// draw is what a login's time looks like: a minimum, and a tail.
func draw(r *rand.Rand, n int, shift float64) (values []float64) {
	for range n {
		values = append(values, 10+shift+0.5*r.ExpFloat64())
	}
	return values
}

// Of samples from one distribution one in a hundred is taken for a difference at p < 0.01;
// a shift of a quarter of the spread is found.
func TestTheTestsHoldTheirLevelAndFindADifference(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	const rounds, n = 1000, 400
	alarms, missed := map[string]int{}, map[string]int{}
	for range rounds {
		a, b, shifted := draw(r, n, 0), draw(r, n, 0), draw(r, n, 0.15)
		for name, test := range map[string]func(a, b []float64) float64{"Mann-Whitney": mannWhitney, "Kolmogorov-Smirnov": kolmogorovSmirnov} {
			if test(a, b) < 0.01 {
				alarms[name]++
			}
			if test(a, shifted) >= 0.01 {
				missed[name]++
			}
		}
	}
	for name := range missed {
		if missed[name] > rounds/20 {
			t.Errorf("%s: %d of %d differences missed", name, missed[name], rounds)
		}
	}
	for name, n := range alarms {
		if n > 25 { // 10 are expected; 25 come once in 30,000 such tests
			t.Errorf("%s: %d false alarms in %d", name, n, rounds)
		}
	}
}

// R77, R78: compare finds one group that differs, among many, and names it.
func TestCompareFindsThePlantedDifference(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	groups := []group{{"a", draw(r, 400, 0)}, {"b", draw(r, 400, 0)}, {"c", draw(r, 400, 0)}, {"d", draw(r, 400, 0)}}
	for _, c := range compare(groups) {
		if c.differs(0.01) {
			t.Errorf("%+v, though all are drawn from one distribution", c)
		}
	}
	groups[2].took = draw(r, 400, 0.2)
	for _, c := range compare(groups) {
		if planted := c.a == "c" || c.b == "c"; c.differs(0.01) != planted {
			t.Errorf("%+v, planted: %t", c, planted)
		}
	}
}
