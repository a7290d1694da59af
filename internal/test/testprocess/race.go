//go:build race

package testprocess

func init() { raceFlags = []string{"-race"} }
