package etcd

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/chassi-go/chassi/discovery"
	"github.com/chassi-go/chassi/internal/disctest"
)

func TestHostileMembers(t *testing.T) {
	t.Parallel()
	pairs := func(list []disctest.Entry) (all []any) {
		for i, e := range list {
			value, _ := json.Marshal(map[string]any{"Op": 0, "Addr": net.JoinHostPort(e.Host, strconv.Itoa(e.Port))})
			all = append(all, map[string]string{"key": encode(fmt.Sprintf("services/auth/%d", i)), "value": encode(string(value))})
		}
		return all
	}
	write := func(w http.ResponseWriter, all any) {
		_ = json.NewEncoder(w).Encode(map[string]any{"header": map[string]string{"revision": "5"}, "kvs": all})
	}
	disctest.Hostile(t, disctest.Registry{
		New: func(t *testing.T, url string) discovery.Source {
			s, err := NewSource(Config{URL: url, Timeout: time.Second}, "auth")
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Response: func(w http.ResponseWriter, list []disctest.Entry) { write(w, pairs(list)) },
		Malformed: func(w http.ResponseWriter) {
			all := pairs(disctest.Usable)
			for i, value := range []string{"", "text", "{", `{"Addr":7}`, `["a:1"]`, `{"Addr":""}`, "\x00\xff"} {
				all = append(all, map[string]string{"key": encode(fmt.Sprint("services/auth/bad", i)), "value": base64.StdEncoding.EncodeToString([]byte(value))})
			}
			write(w, all)
		},
		Waits: func(r *http.Request) bool { return r.URL.Path == "/v3/watch" },
	})
}
