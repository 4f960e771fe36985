package apidocs_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/chassi-go/chassi/schema/apidocs"
)

func ExampleHandler() {
	page, err := apidocs.Handler(apidocs.Options{Title: "greeter", Document: "/v1/openapi.json"})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /docs", page)
	mux.Handle("GET /docs/", page) // its scripts

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/docs", nil))
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	// Output: 200 text/html; charset=utf-8
}
