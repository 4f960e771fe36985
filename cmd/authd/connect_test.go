package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/chassi-go/chassi/internal/browsertest"
	"github.com/chassi-go/chassi/internal/thirdparty/authv1"
	"github.com/chassi-go/chassi/internal/thirdparty/authv1/authv1connect"
)

// connectCall calls a method and returns its response, or the error.
type connectCall func(ctx context.Context, c authv1connect.AuthClient, token string) (proto.Message, error)

func unaryCall[Req, Res any, PRes interface {
	*Res
	proto.Message
}](method func(authv1connect.AuthClient, context.Context, *connect.Request[Req]) (*connect.Response[Res], error), message *Req) connectCall {
	return func(ctx context.Context, c authv1connect.AuthClient, token string) (proto.Message, error) {
		r := connect.NewRequest(message)
		if token != "" {
			r.Header().Set("Authorization", "Bearer "+token)
		}
		res, err := method(c, ctx, r)
		if err != nil {
			return nil, err
		}
		if res.Header().Get("X-Request-ID") == "" {
			return nil, errors.New("no X-Request-ID")
		}
		return PRes(res.Msg), nil
	}
}

// The client that is generated from the .proto file gets from every method over the Connect
// protocol what it gets over gRPC: responses, and errors with their details.
func TestConnectClient(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir(), "--http.connect=true", "--http.h2c=true")
	n.awaitLog(`"server":"grpc"`)
	h1, h2 := &http.Transport{}, &http.Transport{Protocols: new(http.Protocols)}
	h2.Protocols.SetUnencryptedHTTP2(true)
	defer h1.CloseIdleConnections()
	defer h2.CloseIdleConnections()
	overGRPC := authv1connect.NewAuthClient(&http.Client{Transport: h2}, "http://"+n.grpc, connect.WithGRPC())
	clients := map[string]authv1connect.AuthClient{
		"Protobuf":           authv1connect.NewAuthClient(&http.Client{Transport: h1}, n.http),
		"Protobuf, HTTP/2":   authv1connect.NewAuthClient(&http.Client{Transport: h2}, n.http, connect.WithSendGzip()),
		"JSON":               authv1connect.NewAuthClient(&http.Client{Transport: h1}, n.http, connect.WithProtoJSON()),
		"JSON, HTTP/2, gzip": authv1connect.NewAuthClient(&http.Client{Transport: h2}, n.http, connect.WithProtoJSON(), connect.WithSendGzip()),
	}
	const email, password, newPassword = "ada@example.org", "an analytical engine", "a difference engine"
	if _, err := overGRPC.SignUp(t.Context(), connect.NewRequest(&authv1.SignUpRequest{Email: email, Password: password})); err != nil {
		t.Fatal(err)
	}
	login, err := overGRPC.Authenticate(t.Context(), connect.NewRequest(&authv1.AuthenticateRequest{Email: email, Password: password}))
	if err != nil {
		t.Fatal(err)
	}
	changed, err := clients["JSON"].ChangePassword(t.Context(), authorized(&authv1.ChangePasswordRequest{OldPassword: password, NewPassword: newPassword}, login.Msg.GetToken()))
	if err != nil {
		t.Fatal(err)
	}
	token := changed.Msg.GetToken()
	for _, c := range []struct {
		name string
		call connectCall
	}{
		{"SignUp", unaryCall(authv1connect.AuthClient.SignUp, &authv1.SignUpRequest{Email: email, Password: password})},
		{"SignUp, invalid", unaryCall(authv1connect.AuthClient.SignUp, &authv1.SignUpRequest{Email: "ada", Password: "short"})},
		{"Authenticate", unaryCall(authv1connect.AuthClient.Authenticate, &authv1.AuthenticateRequest{Email: email, Password: newPassword})},
		{"Authenticate, wrong", unaryCall(authv1connect.AuthClient.Authenticate, &authv1.AuthenticateRequest{Email: "bob@example.org", Password: password})},
		{"Authenticate, empty", unaryCall(authv1connect.AuthClient.Authenticate, &authv1.AuthenticateRequest{})},
		{"ValidateToken", unaryCall(authv1connect.AuthClient.ValidateToken, &authv1.ValidateTokenRequest{Token: token})},
		{"ValidateToken, long", unaryCall(authv1connect.AuthClient.ValidateToken, &authv1.ValidateTokenRequest{Token: strings.Repeat("a", 2000)})},
		{"Me", unaryCall(authv1connect.AuthClient.Me, &authv1.MeRequest{})},
		{"JWKS", unaryCall(authv1connect.AuthClient.JWKS, &authv1.JWKSRequest{})},
		{"ChangePassword, invalid", unaryCall(authv1connect.AuthClient.ChangePassword, &authv1.ChangePasswordRequest{})},
		{"ChangePassword, wrong", unaryCall(authv1connect.AuthClient.ChangePassword, &authv1.ChangePasswordRequest{OldPassword: "wrong", NewPassword: "another engine"})}, // locks the account
	} {
		want, wantErr := c.call(t.Context(), overGRPC, token)
		for form, client := range clients {
			got, err := c.call(t.Context(), client, token)
			if diff := cmp.Diff(resultOf(want, wantErr), resultOf(got, err), protocmp.Transform()); diff != "" {
				t.Errorf("%s, %s (-gRPC +Connect):\n%s", c.name, form, diff)
			}
		}
	}
	for form, c := range clients {
		_, err := c.Me(t.Context(), connect.NewRequest(&authv1.MeRequest{}))
		if connect.CodeOf(err) != connect.CodeUnauthenticated {
			t.Errorf("%s: without a token: %v", form, err)
		}
	}
}

func authorized[T any](message *T, token string) *connect.Request[T] {
	r := connect.NewRequest(message)
	r.Header().Set("Authorization", "Bearer "+token)
	return r
}

// callResult is what a client sees of a call, without what differs from call to call.
type callResult struct {
	Message proto.Message
	Code    connect.Code
	Text    string
	Details []proto.Message
}

func resultOf(m proto.Message, err error) callResult {
	if a, ok := m.(*authv1.AuthenticateResponse); ok && a.GetToken() != "" {
		m = &authv1.AuthenticateResponse{Token: "a token"}
	}
	failed, ok := errors.AsType[*connect.Error](err)
	if !ok {
		if err != nil {
			return callResult{Text: err.Error()}
		}
		return callResult{Message: m}
	}
	r := callResult{Code: failed.Code(), Text: failed.Message()}
	for _, d := range failed.Details() {
		v, err := d.Value()
		if err != nil {
			return callResult{Text: err.Error()}
		}
		r.Details = append(r.Details, v)
	}
	return r
}

// A page of another origin calls authd with nothing but fetch, from the origins that CORS
// names, and reads responses and errors.
func TestConnectInBrowser(t *testing.T) {
	t.Parallel()
	browser := browsertest.Start(t)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<!doctype html><link rel="icon" href="data:,"><title>app</title>`))
	}))
	t.Cleanup(app.Close)
	n := start(t, t.TempDir(), "--http.connect=true", "--http.cors.origins="+app.URL)
	page := browser.Page(t, 800, "light")
	page.Open(app.URL)
	page.Wait(`document.title === "app"`)
	call := func(method, body string) any {
		return page.Eval(fmt.Sprintf(`fetch(%q, {method: "POST", body: %q, headers: {
			"Content-Type": "application/json", "Connect-Protocol-Version": "1", "Connect-Timeout-Ms": "60000",
		}}).then(async (r) => r.status + " " + (r.headers.get("X-Request-ID") ? "" : "no id ") + await r.text())`, n.http+"/auth.v1.Auth/"+method, body))
	}
	if got := call("SignUp", `{"email":"Ada@example.org","password":"an analytical engine"}`); got != `200 {"email":"ada@example.org"}` {
		t.Error(got)
	}
	if got, _ := call("Authenticate", `{"email":"ada@example.org","password":"an analytical engine"}`).(string); !strings.HasPrefix(got, `200 {"token":"ey`) {
		t.Error(got)
	}
	if got, _ := call("ValidateToken", `{"token":"x"}`).(string); !strings.HasPrefix(got, `401 {"code":"unauthenticated","message":"`) || !strings.Contains(got, `"type":"google.rpc.ErrorInfo"`) {
		t.Error(got)
	}
}
