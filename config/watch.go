package config

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// Watch calls changed after any of files changed, until ctx ends. It looks every
// interval, following links, as Kubernetes swaps them; a file that is missing for
// a while is no change.
func Watch(ctx context.Context, interval time.Duration, files []string, changed func()) {
	seen := fingerprint(files)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if now := fingerprint(files); now != "" && now != seen {
				seen = now
				changed()
			}
		}
	}
}

// fingerprint is "" while a file is missing.
func fingerprint(files []string) string {
	var text strings.Builder
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return ""
		}
		fmt.Fprintln(&text, file, info.ModTime().UnixNano(), info.Size())
	}
	return text.String()
}
