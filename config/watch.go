package config

import (
	"context"
	"maps"
	"os"
	"time"

	"github.com/chassi-go/chassi/internal/contain"
)

// Watch checks files every interval until ctx is done, and calls changed with the files that have
// changed. It follows symbolic links, which Kubernetes replaces to change all files of a volume
// atomically. A file counts as unchanged while it is missing, or is a pipe or a device. When a
// missing file exists again, it is compared with its previous state.
func Watch(ctx context.Context, interval time.Duration, files []string, changed func(files []string)) {
	seen := make(map[string]os.FileInfo)
	look(files, seen)
	watch(ctx, interval, files, seen, changed)
}

// Watch calls changed with the files that have changed, as the function [Watch] does. It checks the
// files that Load read and, if Load found no file at Options.File, that path too: the creation of
// the file is a change. Watch compares the files with their state when Load read them, so that it
// does not miss a change between Load and Watch.
func (r *Report) Watch(ctx context.Context, interval time.Duration, changed func(files []string)) {
	seen := make(map[string]os.FileInfo)
	maps.Copy(seen, r.read)
	files := r.Files()
	if r.absent != "" {
		files = append(files, r.absent)
	}
	watch(ctx, interval, files, seen, changed)
}

// Stale returns the elements of files that Load did not read, or that have changed since Load read
// them. A missing file is not stale. A function that Watch calls can use Stale to find out whether
// a later Load has already read the files.
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

// look returns the files whose state differs from that in seen, and updates seen.
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
