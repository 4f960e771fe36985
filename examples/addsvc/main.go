// Command addsvc is the example of go-kit, moved over: docs/from-go-kit.md tells
// step by step.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/standard"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "addsvc:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var c standard.Config
	if _, err := config.Load(&c, config.Options{Name: "addsvc", Args: args, Environ: os.Environ()}); err != nil {
		return err
	}
	std, err := standard.New(ctx, "addsvc", "1.0.0", c, standard.Options{})
	if err != nil {
		return err
	}
	std.Mount(Endpoints(basicService{}))
	return std.Run(ctx)
}
