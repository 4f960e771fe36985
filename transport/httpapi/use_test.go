package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/chassi-go/chassi/transport/httpapi"
)

func TestUse(t *testing.T) {
	t.Parallel()
	s, err := httpapi.New(httpapi.Config{})
	if err != nil {
		t.Fatal(err)
	}
	header := func(name string) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Add("X-Order", name)
				next.ServeHTTP(w, r)
			})
		}
	}
	s.Use(header("a"), header("b"))
	s.Use(header("c"))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/unknown", nil))
	if got := w.Header()["X-Order"]; len(got) != 3 || got[0] != "a" || got[1] != "b" || got[2] != "c" || w.Code != http.StatusNotFound {
		t.Errorf("%d %q", w.Code, got)
	}
}
