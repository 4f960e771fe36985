package httpapi

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
)

// A proxy that writes one header passes the other on as it came, so only the configured
// one is read.
func TestClientAddressComesFromTheConfiguredHeader(t *testing.T) {
	t.Parallel()
	for which, want := range map[string]string{"": "1.1.1.1", "x-forwarded-for": "1.1.1.1", "forwarded": "2.2.2.2"} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			var got netip.AddrPort
			note := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
				return func(ctx context.Context, call *chassi.Call) error {
					got = call.Peer
					return next(ctx, call)
				}
			}
			url := serveTest(t, Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, ForwardedHeader: which}, nil, note)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/echo", strings.NewReader(`{"text":"a"}`))
			if err != nil {
				t.Fatal(err)
			}
			r.Header = http.Header{"Content-Type": {"application/json"}, "X-Forwarded-For": {"1.1.1.1"}, "Forwarded": {"for=2.2.2.2"}, "X-Real-Ip": {"3.3.3.3"}}
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if got.Addr().String() != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}
