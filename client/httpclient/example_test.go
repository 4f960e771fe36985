package httpclient_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/chassi-go/chassi/client/httpclient"
	"github.com/chassi-go/chassi/retry"
)

// A third party that is overloaded for a moment.
func Example() {
	requests := 0
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests++; requests == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "12.5 EUR")
	}))
	defer api.Close()

	transport := httpclient.New(httpclient.Options{Name: "rates", Config: httpclient.Config{
		AttemptTimeout: 2 * time.Second,
		Retry:          httpclient.Retry{Config: retry.Config{Attempts: 2, Backoff: 10 * time.Millisecond}},
		HostClasses:    map[string]string{"api.example.com": "rates"},
	}})
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}

	resp, err := client.Get(api.URL + "/v1/rates?key=secret")
	if err != nil {
		fmt.Println(httpclient.Redact(err))
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status, "after", requests, "requests")
	// Output: 200 OK after 2 requests
}
