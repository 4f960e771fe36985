package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
)

// defaults returns the configuration before anything is loaded.
func defaults() *Config {
	c := newProgram().Defaults
	return &c
}

// document returns the output of "authd schema KIND", which needs no database.
func document(kind string) ([]byte, error) {
	var out, problems bytes.Buffer
	args := []string{"schema", kind, "--config=" + os.DevNull, "--database.url=sqlite:" + filepath.Join(os.TempDir(), "missing", "authd.db")}
	if code := newProgram().Run(context.Background(), args, nil, os.Stdin, &out, &problems); code != 0 {
		return nil, errors.New(problems.String())
	}
	return out.Bytes(), nil
}

// described is the service as a description: its methods are not to be called.
func described() *chassi.Service { return auth.Endpoints((*auth.Client)(nil)) }
