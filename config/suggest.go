package config

import (
	"slices"
	"strings"
)

// suggest returns "; did you mean X?", where X is the element of names that is nearest to name, or
// "" if none is near.
func suggest(name string, names []string) string { return suggestWith("", name, names) }

// suggestWith returns the same as suggest, but with prefix before the suggested name.
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

// nearest returns the element of names that differs least from name, or "" if every element differs
// in more than a third of the bytes. Words that both names begin or end with, such as groups, are
// not compared, because they would make any two settings of a group similar.
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

// completion returns the only element of names that begins with name, that is a prefix of name, or
// that ends with a dot and name. It returns "" if there is no such element or more than one. It
// compares the results of normal; names for which these have fewer than three letters never match.
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

// normal returns name in lower case and with each run of a repeated letter replaced by a single
// letter, so that "addr" is similar to "address".
func normal(name string) string { return string(slices.Compact([]byte(strings.ToLower(name)))) }

// differing returns a and b, which consist of words separated by dots, without the words that they
// have in common at the beginning and at the end.
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

// editDistance returns the minimum number of edits that turn a into b. An edit inserts, deletes or
// replaces one byte, or swaps two adjacent bytes. Only the first 100 bytes of a and b are compared.
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
