package kubernetes

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/chassi-go/chassi/discovery"
	"github.com/chassi-go/chassi/internal/disctest"
)

func TestHostileAPIServers(t *testing.T) {
	t.Parallel()
	slices := func(list []disctest.Entry) (all []any) {
		for i, e := range list { // each has a port of its own
			all = append(all, map[string]any{
				"metadata": map[string]string{"name": fmt.Sprint("s", i), "resourceVersion": "1"}, "addressType": "IPv4",
				"endpoints": []any{map[string]any{"addresses": []string{e.Host}}}, "ports": []any{map[string]any{"port": e.Port}},
			})
		}
		return all
	}
	write := func(w http.ResponseWriter, all any) {
		_ = json.NewEncoder(w).Encode(map[string]any{"metadata": map[string]string{"resourceVersion": "1"}, "items": all})
	}
	disctest.Hostile(t, disctest.Registry{
		New: func(t *testing.T, url string) discovery.Source {
			s, err := NewSource(Config{URL: url, Namespace: "prod", Timeout: time.Second}, "auth", "")
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Response: func(w http.ResponseWriter, list []disctest.Entry) { write(w, slices(list)) },
		Malformed: func(w http.ResponseWriter) {
			named := map[string]string{"name": "bad"}
			write(w, append(slices(disctest.Usable), nil, 7, "text", map[string]any{"metadata": named, "ports": "x"},
				map[string]any{"metadata": map[string]string{"name": "worse"}, "endpoints": []any{map[string]any{"addresses": "10.0.0.1"}}}))
		},
		Waits: func(r *http.Request) bool { return r.URL.Query().Get("watch") != "" },
	})
}
