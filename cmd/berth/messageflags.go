package main

import (
	"github.com/spf13/pflag"

	"github.com/berth-iot/berth/hub/c2d"
)

// messageFlags are the limits of messages to devices, named as az iot hub update names
// those that it can change.
func messageFlags(flags *pflag.FlagSet, limits *c2d.Limits) {
	flags.IntVar(&limits.Depth, "c2d-queue-depth", limits.Depth,
		"let so many messages wait for a device; more are answered 403")
	flags.DurationVar(&limits.TTL, "c2d-ttl", limits.TTL,
		"drop a message to a device that has not taken it for so long, unless the message says when it expires")
	flags.IntVar(&limits.MaxDeliveryCount, "c2d-max-delivery-count", limits.MaxDeliveryCount,
		"drop a message that its device has given back so many times")
	flags.DurationVar(&limits.Lock, "c2d-lock-duration", limits.Lock,
		"keep a message that a device has received from its other receivers for so long, until it is settled")
	flags.DurationVar(&limits.FeedbackTTL, "feedback-ttl", limits.FeedbackTTL,
		"drop feedback on messages to devices that no back end has read for so long")
	flags.IntVar(&limits.FeedbackMaxDeliveryCount, "feedback-max-delivery-count", limits.FeedbackMaxDeliveryCount,
		"drop feedback that back ends have given back so many times")
	flags.DurationVar(&limits.FeedbackLock, "feedback-lock-duration", limits.FeedbackLock,
		"keep feedback that was received from other back ends for so long, until it is settled")
}
