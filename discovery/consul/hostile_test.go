package consul

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/chassi-go/chassi/discovery"
	"github.com/chassi-go/chassi/internal/disctest"
)

func TestHostileAgents(t *testing.T) {
	t.Parallel()
	entries := func(list []disctest.Entry) (all []any) {
		for _, e := range list {
			all = append(all, map[string]any{"Node": map[string]any{"Address": "10.9.9.9"}, "Service": map[string]any{"Address": e.Host, "Port": e.Port}})
		}
		return all
	}
	write := func(w http.ResponseWriter, all any) {
		w.Header().Set("X-Consul-Index", "1")
		_ = json.NewEncoder(w).Encode(all)
	}
	disctest.Hostile(t, disctest.Registry{
		New: func(t *testing.T, url string) discovery.Source {
			s, err := NewSource(Config{URL: url, Timeout: time.Second}, "auth", "")
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Response: func(w http.ResponseWriter, list []disctest.Entry) { write(w, entries(list)) },
		Malformed: func(w http.ResponseWriter) {
			write(w, append(entries(disctest.Usable), nil, 7, "text", []int{1}, map[string]any{"Service": map[string]any{"Port": "80"}}, map[string]any{"Node": "x"}))
		},
		Waits: func(r *http.Request) bool {
			return r.URL.Query().Get("index") != ""
		},
	})
}
