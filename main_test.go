package chassi_test

import (
	"os"
	"os/signal"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if scene := os.Getenv(sceneVariable); scene != "" {
		os.Exit(playScene(scene))
	}
	// The runtime's signal goroutine starts with the first Notify and never ends;
	// it must not start inside of a synctest bubble.
	warm := make(chan os.Signal, 1)
	signal.Notify(warm, os.Interrupt)
	signal.Stop(warm)
	goleak.VerifyTestMain(m)
}
