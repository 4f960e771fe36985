//go:build race

package transporttest

// raceFactor is how many times as long a call may take because of the race detector.
const raceFactor = 8
