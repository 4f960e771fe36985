package telemetry

import (
	"strings"
	"testing"
)

// A gauge is read when the metrics are, each time anew.
func TestRegisterGauges(t *testing.T) {
	t.Parallel()
	tel, _ := newTelemetry(t, Config{})
	defer tel.Stop(t.Context())
	values := map[string]float64{"good": 1, "bad": 0}
	if err := tel.RegisterGauges("shop_keys", "Keys.", "state", func() map[string]float64 { return values }); err != nil {
		t.Fatal(err)
	}
	if err := tel.RegisterGauges("shop_keys", "Keys.", "state", nil); err == nil {
		t.Error("a second gauge of one name is accepted")
	}
	for _, want := range []string{`shop_keys{state="good"} 1`, `shop_keys{state="good"} 2`} {
		if got := scrape(t, tel); !strings.Contains(got, want) || !strings.Contains(got, `shop_keys{state="bad"} 0`) {
			t.Errorf("no %s in:\n%s", want, got)
		}
		values["good"]++
	}
}
