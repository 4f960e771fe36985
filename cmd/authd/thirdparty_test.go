package main

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/chassi-go/chassi/internal/thirdparty/authv1"
	"github.com/chassi-go/chassi/internal/thirdparty/authv1/authv1connect"
)

// Clients generated from our .proto file by the tools of others talk to authd:
// grpc-go's and connect's. scripts/thirdparty.sh generates them.
func TestThirdPartyGeneratedClients(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	conn, err := grpc.NewClient(n.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := authv1.NewAuthClient(conn)
	if _, err := c.SignUp(t.Context(), &authv1.SignUpRequest{Email: "ada@example.org", Password: "an analytical engine"}); err != nil {
		t.Fatal(err)
	}
	login, err := c.Authenticate(t.Context(), &authv1.AuthenticateRequest{Email: "ada@example.org", Password: "an analytical engine"})
	if err != nil {
		t.Fatal(err)
	}
	me, err := c.Me(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+login.GetToken()), &authv1.MeRequest{})
	if err != nil || me.GetEmail() != "ada@example.org" || me.GetCreatedAt().AsTime().Year() < 2026 {
		t.Errorf("%v, %v", me, err)
	}
	keys, err := c.JWKS(t.Context(), &authv1.JWKSRequest{})
	if err != nil || len(keys.GetKeys()) != 1 || keys.GetKeys()[0].GetKty() != "OKP" {
		t.Errorf("%v, %v", keys, err)
	}
	_, err = c.Authenticate(t.Context(), &authv1.AuthenticateRequest{})
	s := status.Convert(err)
	if s.Code() != codes.InvalidArgument || len(s.Details()) != 2 {
		t.Fatalf("%v %v", s, s.Details())
	}
	if info, ok := s.Details()[0].(*errdetails.ErrorInfo); !ok || info.GetReason() != "invalid_request" || info.GetDomain() != "auth.v1.Auth" {
		t.Errorf("%v", s.Details()[0])
	}
	if bad, ok := s.Details()[1].(*errdetails.BadRequest); !ok || len(bad.GetFieldViolations()) != 2 || bad.GetFieldViolations()[0].GetField() != "email" {
		t.Errorf("%v", s.Details()[1])
	}
	connectClient(t, n, login.GetToken())
}

func connectClient(t *testing.T, n *node, token string) {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	c := authv1connect.NewAuthClient(&http.Client{Transport: transport}, "http://"+n.grpc, connect.WithGRPC(), connect.WithSendGzip())
	valid, err := c.ValidateToken(context.Background(), connect.NewRequest(&authv1.ValidateTokenRequest{Token: token}))
	if err != nil || valid.Msg.GetEmail() != "ada@example.org" || valid.Header().Get("X-Request-ID") == "" {
		t.Errorf("%v, %v", valid, err)
	}
	_, err = c.ValidateToken(context.Background(), connect.NewRequest(&authv1.ValidateTokenRequest{Token: strings.Repeat("a", 2000)}))
	if connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("%v", err)
	}
}
