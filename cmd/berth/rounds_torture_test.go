//go:build torture

package main

// How long the tests go on that repeat themselves; rounds_test.go has the short form.
const (
	crashRounds     = 30
	migrationRounds = 12
	modelSteps      = 10_000
	exchangeRows    = 20_000
)
