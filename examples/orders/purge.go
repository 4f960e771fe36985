package main

import (
	"context"
	"time"

	"github.com/chassi-go/chassi/job"
)

// retention is the time after their creation for which cancelled and rejected orders are kept.
const retention = 90 * 24 * time.Hour

// longestUpload is a duration that no upload exceeds: an older part that belongs to no attachment
// will not belong to one later.
const longestUpload = 24 * time.Hour

// Purge deletes the cancelled and rejected orders that are older than retention, the attachments
// without an order, and the parts of files that belong to no attachment and are older than
// longestUpload. The ages are those at the scheduled time of the run or, if the run was not
// scheduled, at the current time.
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
