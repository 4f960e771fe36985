package main

import (
	"context"
	"fmt"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/schema"
	"github.com/chassi-go/chassi/schema/protobuf"
)

// about is what the schema documents say of the service. The version is that
// of the contract, and goes up with it.
var about = schema.Info{
	Title: "authd", Version: "1.0.0", License: "Apache-2.0", Contact: "https://github.com/chassi-go/chassi",
	Description: "An auth service: e-mail and password in, token out; token in, e-mail out.",
	Servers:     []string{"http://127.0.0.1:8080"},
}

// described is the service as a description: its methods are not to be called.
func described() *chassi.Service { return auth.Endpoints((*auth.Client)(nil)) }

// documents are the published contracts, by what "authd schema" calls them.
var documents = map[string]func() ([]byte, error){
	"openapi":  func() ([]byte, error) { return schema.OpenAPI(about, described()) },
	"asyncapi": func() ([]byte, error) { return schema.AsyncAPI(about, described()) },
	"proto": func() ([]byte, error) {
		file, err := protobuf.File(described())
		if err != nil {
			return nil, err //nolint:wrapcheck // says where
		}
		return []byte(protobuf.Text(file)), nil
	},
}

func showSchema(_ context.Context, p *program) error {
	render, ok := documents[p.args[0]]
	if !ok {
		return usageError{fmt.Errorf("there is no schema %q: want openapi, proto or asyncapi", p.args[0])}
	}
	b, err := render()
	if err == nil {
		_, err = p.out.Write(b)
	}
	return err //nolint:wrapcheck // says where, or stdout's
}
