//go:build !torture

package main

// How long the tests go on that repeat themselves: here until each of their cases has come
// several times. What needs luck to be met is for make torture, which goes on longer.
const (
	crashRounds     = 12    // of TestCrash: three moments of the crash, each several times
	migrationRounds = 6     // of TestMigrationSurvivesCrashes: three hubs, each of them preferred twice
	modelSteps      = 2_000 // of TestModel: a crash for each 125 or so
	exchangeRows    = 5_000 // of TestExchange: fifty requests in bulk, and lists of many pages
)
