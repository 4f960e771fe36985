package amqpapi

import (
	"testing"
	"time"
)

// A channel hangs if its oldest message was not confirmed in time. A confirmation that came too
// late for its caller shows that it does not.
func TestUnconfirmed(t *testing.T) {
	t.Parallel()
	var u unconfirmed
	began := time.Now()
	first, second := make(chan struct{}), make(chan struct{})
	at := began.Add
	if u.hangs(first, began, at(time.Second)) || u.hangs(second, at(time.Second), at(unconfirmedTime-1)) {
		t.Error("a channel hangs too early")
	}
	if !u.hangs(second, at(time.Second), at(unconfirmedTime)) {
		t.Error("a channel that hangs is not noticed")
	}
	close(first)
	if u.hangs(second, at(time.Hour), at(time.Hour+time.Second)) {
		t.Error("a channel hangs that confirms slowly")
	}
	if !u.hangs(make(chan struct{}), at(2*time.Hour), at(2*time.Hour)) {
		t.Error("the second message is not noticed")
	}
}
