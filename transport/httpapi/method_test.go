package httpapi

import (
	"net/http"
	"testing"
)

func TestMethodsThatTakeABody(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]bool{
		http.MethodGet: false, http.MethodHead: false, http.MethodDelete: false, http.MethodOptions: false,
		http.MethodPost: true, http.MethodPut: true, http.MethodPatch: true,
	} {
		if got := takesBody(method); got != want {
			t.Errorf("%s: %t, want %t", method, got, want)
		}
	}
}
