package httpapi

// ProblemOf is for tests that send payloads of their own.
var ProblemOf = problemOf
