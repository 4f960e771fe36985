package middleware_test

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport/localapi"
)

var errPassword = chassi.NewError(chassi.Unauthenticated, "invalid_password", "Unknown user or wrong password")

// basic authenticates programs by HTTP's Basic scheme (RFC 7617). Passwords has the SHA-256
// digests of passwords of 128 random bits or more, by user.
func basic(passwords map[string][32]byte) middleware.Authenticator {
	return middleware.Authenticator{
		Scheme: middleware.Scheme{Name: "basic", Header: "Authorization", Prefix: "Basic"},
		Authenticate: func(_ context.Context, call *chassi.Call) (*chassi.Principal, error) {
			scheme, credentials, _ := strings.Cut(call.In.Get("Authorization"), " ")
			if !strings.EqualFold(scheme, "Basic") {
				return nil, nil // another authenticator may know the credentials
			}
			text, err := base64.StdEncoding.DecodeString(credentials)
			user, password, _ := strings.Cut(string(text), ":")
			want, known := passwords[user]
			given := sha256.Sum256([]byte(password))
			if err != nil || !known || subtle.ConstantTimeCompare(given[:], want[:]) == 0 {
				return nil, errPassword
			}
			return &chassi.Principal{Subject: user, Name: user, Scheme: "basic"}, nil
		},
	}
}

// An authenticator of a program's own.
func ExampleAuthenticator() {
	whoAmI := chassi.NewEndpoint("WhoAmI", func(ctx context.Context, _ *struct{}) (*struct{}, error) {
		fmt.Println("user:", chassi.PrincipalFrom(ctx).Name)
		return &struct{}{}, nil
	}, chassi.Authenticated)
	service := chassi.NewService("example.v1.Users", whoAmI)
	local := localapi.New(middleware.Authentication(basic(map[string][32]byte{"ada": sha256.Sum256([]byte("long and random"))})))
	if err := local.Mount(service); err != nil {
		fmt.Println(err)
		return
	}
	for _, credentials := range []string{"ada:long and random", "ada:a guess", "eve:"} {
		send := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
			return func(ctx context.Context, call *chassi.Call) error {
				call.In.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(credentials)))
				return next(ctx, call)
			}
		}
		c, err := client.New(service, local, send)
		if err != nil {
			fmt.Println(err)
			return
		}
		if _, err := client.Invoke[struct{}](context.Background(), c, "WhoAmI", &struct{}{}); err != nil {
			fmt.Println(chassi.ErrorOf(err).Message)
		}
	}
	// Output:
	// user: ada
	// Unknown user or wrong password
	// Unknown user or wrong password
}
