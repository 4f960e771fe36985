package main

import "github.com/chassi-go/chassi/schema"

// about describes the service in the schema documents. Its version is the version of the contract,
// not of the program.
var about = schema.Info{
	Title: "authd", Version: "1.0.0", License: "Apache-2.0", Contact: "https://github.com/chassi-go/chassi",
	Description: "An auth service: e-mail and password in, token out; token in, e-mail out.",
	Servers:     []string{"http://127.0.0.1:8080"},
}
