// Package contracttest writes the schema documents of a program's services, so that "make
// contracts" can lint them and generate clients from them.
package contracttest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema"
	"github.com/chassi-go/chassi/schema/protobuf"
)

// Dir is the environment variable that names the directory to which [Write] writes.
const Dir = "CHASSI_CONTRACTS"

// Write generates every schema document of services, which belong to the program called name. A
// document that cannot be generated fails the test. If [Dir] is set, Write writes the documents to
// a subdirectory for the program.
func Write(t *testing.T, name string, services ...*chassi.Service) {
	t.Helper()
	info := schema.Info{
		Title: name, Version: "1.0.0", Description: "The service " + name + ".", License: "Apache-2.0",
		Contact: "https://github.com/chassi-go/chassi", Servers: []string{"http://127.0.0.1:8080"},
	}
	openAPI, err := schema.OpenAPI(info, services...)
	write(t, openAPI, err, name, "openapi.json")
	asyncAPI, err := schema.AsyncAPI(info, services...)
	write(t, asyncAPI, err, name, "asyncapi.json")
	packages := make(map[string][]*chassi.Service)
	for _, s := range services {
		packages[protobuf.PackageOf(s)] = append(packages[protobuf.PackageOf(s)], s)
	}
	for _, inOne := range packages {
		file, err := protobuf.File(inOne...)
		if err != nil {
			t.Fatal(err)
		}
		write(t, []byte(protobuf.Text(file)), nil, name, filepath.FromSlash(file.GetName()))
	}
}

func write(t *testing.T, content []byte, err error, names ...string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	dir := os.Getenv(Dir)
	if dir == "" {
		return
	}
	file := filepath.Join(append([]string{dir}, names...)...)
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
