package telemetry_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/telemetry"
)

// A line that is logged with the context of a call can be found by its IDs, and
// has no secret in it.
func ExampleNew() {
	var log bytes.Buffer
	t, err := telemetry.New(context.Background(), "shop", "1.2.3", telemetry.Config{}, &log)
	if err != nil {
		fmt.Println(err)
		return
	}
	call := &chassi.Call{RequestID: "4f1e"} // a transport makes it
	t.Logger.InfoContext(call.Context(context.Background()), "sold", "item", "a lamp", "token", "eyJhbGciOiJFZERTQSJ9")

	if err := t.Stop(context.Background()); err != nil {
		fmt.Println(err)
	}
	_, line, _ := bytes.Cut(log.Bytes(), []byte(`,`)) // past the time
	fmt.Printf("{%s", line)
	// Output: {"level":"INFO","msg":"sold","request_id":"4f1e","service":"shop","item":"a lamp","token":"***"}
}

// The level changes while the program runs.
func ExampleTelemetry_SetLevel() {
	t, err := telemetry.New(context.Background(), "shop", "1.2.3", telemetry.Config{Log: telemetry.LogConfig{Level: "warn"}}, os.Stderr)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Stop(context.Background())
	fmt.Println(t.Logger.Enabled(context.Background(), slog.LevelDebug))
	fmt.Println(t.SetLevel("debug"), t.Logger.Enabled(context.Background(), slog.LevelDebug))
	fmt.Println(t.SetLevel("loud"))
	// Output:
	// false
	// <nil> true
	// telemetry: log level "loud": want debug, info, warn or error
}

// Flush is for ways out of the process that pass by Stop.
func ExampleTelemetry_Flush() {
	var log bytes.Buffer
	t, err := telemetry.New(context.Background(), "shop", "1.2.3", telemetry.Config{}, &log)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Stop(context.Background())
	t.Logger.Info("about to exit")
	t.Flush(time.Second)
	fmt.Println(bytes.Count(log.Bytes(), []byte("about to exit")))
	// Output: 1
}
