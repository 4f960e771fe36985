package config

import (
	"slices"
	"strings"
)

// suggest returns "; did you mean X?" with the nearest of names, or "" if none is near.
func suggest(name string, names []string) string { return suggestWith("", name, names) }

// suggestWith is suggest for names that are shown with prefix before them.
func suggestWith(prefix, name string, names []string) string {
	best := nearest(name, names)
	if best == "" {
		best = completion(name, names)
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + prefix + best + "?"
}

// nearest returns the one of names that differs least from name, or "" if none is near: at most a
// third of the bytes may differ. Groups of settings that both names are in do not count, because
// they would make any two settings of a group similar.
func nearest(name string, names []string) (best string) {
	distance := 0
	for _, candidate := range names {
		a, b := differing(strings.ToLower(name), strings.ToLower(candidate))
		if d := editDistance(a, b); d <= max(len(a), len(b))/3 && (best == "" || d < distance) {
			best, distance = candidate, d
		}
	}
	return best
}

// completion returns the one of names that begins with name, that is a prefix of name, or that is
// name in a group. It returns "" if there is none, or more than one.
func completion(name string, names []string) string {
	isNear := func(candidate string) bool {
		a, b := normal(name), normal(candidate)
		return min(len(a), len(b)) >= 3 &&
			(strings.HasPrefix(a, b) || strings.HasPrefix(b, a) || strings.HasSuffix(b, "."+a))
	}
	i := slices.IndexFunc(names, isNear)
	if i < 0 || slices.ContainsFunc(names[i+1:], isNear) {
		return ""
	}
	return names[i]
}

// normal returns the name in lower case and without repeated letters, so that
// address begins like addr whether its d is doubled or not.
func normal(name string) string { return string(slices.Compact([]byte(strings.ToLower(name)))) }

// differing returns two names, of words with dots between, without the words that both begin or end
// with.
func differing(a, b string) (restA, restB string) {
	for {
		wordA, afterA, moreA := strings.Cut(a, ".")
		wordB, afterB, moreB := strings.Cut(b, ".")
		if !moreA || !moreB || wordA != wordB {
			break
		}
		a, b = afterA, afterB
	}
	for {
		i, j := strings.LastIndexByte(a, '.'), strings.LastIndexByte(b, '.')
		if i < 0 || j < 0 || a[i:] != b[j:] {
			return a, b
		}
		a, b = a[:i], b[:j]
	}
}

// editDistance returns the number of bytes to insert, delete, replace or swap with the next one to
// turn a into b. It compares the first 100 bytes of each.
func editDistance(a, b string) int {
	a, b = a[:min(len(a), 100)], b[:min(len(b), 100)]
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, above, row = above, row, before
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(above[j+1]+1, row[j]+1, above[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
