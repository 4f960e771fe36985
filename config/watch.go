package config

import (
	"context"
	"maps"
	"os"
	"time"

	"github.com/chassi-go/chassi/internal/contain"
)

// Watch calls changed with the files that have changed, until ctx ends. It checks them every
// interval and follows symbolic links, which Kubernetes replaces to change all files of a
// volume atomically. A file that is missing, a pipe or a device counts as unchanged; when the
// file exists again it is compared with its previous state.
func Watch(ctx context.Context, interval time.Duration, files []string, changed func(files []string)) {
	seen := make(map[string]os.FileInfo)
	look(files, seen)
	watch(ctx, interval, files, seen, changed)
}

// Watch is like the function [Watch], for the files that were read, and for Options.File if it did
// not exist: its creation is a change. Watch compares the files with their state when Load read
// them, so that a change between Load and Watch is not missed.
func (r *Report) Watch(ctx context.Context, interval time.Duration, changed func(files []string)) {
	seen := make(map[string]os.FileInfo)
	maps.Copy(seen, r.read)
	files := r.Files()
	if r.absent != "" {
		files = append(files, r.absent)
	}
	watch(ctx, interval, files, seen, changed)
}

// Stale returns those of files that Load did not read, or that have changed since it did. A
// function that Watch calls can ask whether a later Load has read the files already.
func (r *Report) Stale(files []string) (stale []string) {
	seen := make(map[string]os.FileInfo)
	maps.Copy(seen, r.read)
	return look(files, seen)
}

func watch(ctx context.Context, interval time.Duration, files []string, seen map[string]os.FileInfo, changed func(files []string)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if found := look(files, seen); len(found) > 0 {
				contain.Run(nil, "the function given to config.Watch", func() { changed(found) })
			}
		}
	}
}

// look returns the files that differ from seen, and updates seen.
func look(files []string, seen map[string]os.FileInfo) (changed []string) {
	for _, file := range files {
		now, err := os.Stat(file)
		if err != nil || !now.Mode().IsRegular() && !now.IsDir() {
			continue
		}
		before := seen[file]
		if before == nil || !os.SameFile(before, now) || !before.ModTime().Equal(now.ModTime()) || before.Size() != now.Size() {
			changed = append(changed, file)
		}
		seen[file] = now
	}
	return changed
}
