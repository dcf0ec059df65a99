package provisioning

import (
	"context"
	"errors"

	"github.com/berth-iot/berth/attest"
)

// Who may write enrollments may have the service call any address. What it meets
// there, such as a port where nothing listens, is told to those only who may configure
// the service.

type confidentialKey struct{}

// WithConfidential is the context of somebody who may configure the service: attempts
// and previews then tell all.
func WithConfidential(ctx context.Context) context.Context {
	return context.WithValue(ctx, confidentialKey{}, true)
}

func seesConfidential(ctx context.Context) bool { return ctx.Value(confidentialKey{}) != nil }

// redact returns an attempt as the one who asks may see it.
func redact(ctx context.Context, attempt attest.Attempt) attest.Attempt {
	if seesConfidential(ctx) {
		return attempt
	}
	return attempt.WithoutConfidential()
}

// previewError is the error of a preview for the one who asked.
func previewError(ctx context.Context, err error) error {
	var why attest.Failure
	if seesConfidential(ctx) && errors.As(err, &why) && why.Detail != nil {
		return why.Detail
	}
	return err
}
