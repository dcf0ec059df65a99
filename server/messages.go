package server

import (
	"fmt"
	"time"

	"github.com/berth-iot/berth/hub/c2d"
)

// CheckMessageLimits returns what is wrong with the limits of messages to devices, in the
// words of the flags of berth up. Azure has the same ranges; where it lets nobody choose
// (the depth of a queue, the lock of a message), they are Berth's own.
func CheckMessageLimits(l c2d.Limits) error {
	for _, limit := range []struct {
		flag               string
		value, least, most int
	}{
		{"c2d-queue-depth", l.Depth, 1, c2d.MaxDepth},
		{"c2d-max-delivery-count", l.MaxDeliveryCount, 1, 100},
		{"feedback-max-delivery-count", l.FeedbackMaxDeliveryCount, 1, 100},
	} {
		if limit.value < limit.least || limit.value > limit.most {
			return fmt.Errorf("--%s must be %d to %d, not %d", limit.flag, limit.least, limit.most, limit.value)
		}
	}
	for _, limit := range []struct {
		flag               string
		value, least, most time.Duration
	}{
		{"c2d-ttl", l.TTL, time.Minute, l.MaxTTL},
		{"c2d-lock-duration", l.Lock, 5 * time.Second, 5 * time.Minute},
		{"feedback-ttl", l.FeedbackTTL, time.Minute, 48 * time.Hour},
		{"feedback-lock-duration", l.FeedbackLock, 5 * time.Second, 5 * time.Minute},
	} {
		if limit.value < limit.least || limit.value > limit.most {
			return fmt.Errorf("--%s must be %s to %s, not %s", limit.flag, limit.least, limit.most, limit.value)
		}
	}
	return nil
}
