package main

import (
	"context"
	"time"

	"github.com/chassi-go/chassi/job"
)

// retention is how long cancelled and rejected orders are kept.
const retention = 90 * 24 * time.Hour

// longestUpload is longer than any upload takes.
const longestUpload = 24 * time.Hour

// Purge deletes cancelled and rejected orders that are older than the retention, counted from the
// scheduled time of the run, and attachments without an order.
func (o *Orders) Purge(ctx context.Context) error {
	at := job.RunFrom(ctx).Scheduled
	if at.IsZero() { // jobs run purge
		at = time.Now()
	}
	deleted, err := o.store.DeleteOld(ctx, at.Add(-retention))
	for range deleted {
		o.count("purged")
	}
	if err != nil {
		return err
	}
	return o.store.DeleteUnusedAttachments(ctx, at.Add(-longestUpload))
}
