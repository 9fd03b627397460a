package config

import (
	"maps"
	"slices"
)

// Suggest is the key or section that an unknown path most likely means, "" for none.
func Suggest(path string) string {
	candidates := slices.Sorted(maps.Keys(sections()))
	for _, k := range allKeys() {
		candidates = append(candidates, k.Path)
	}
	section, name := parent(path)
	best, least := "", max(2, len(name)/3)+1
	for _, candidate := range candidates {
		in, of := parent(candidate)
		d := distance(name, of)
		if in != section {
			d += min(1+distance(in, section)/3, 2) // the right word in another section
		}
		if d < least {
			best, least = candidate, d
		}
	}
	return best
}

// suggestEnv is the variable that an unknown one most likely means, "" for none.
func suggestEnv(name string) string {
	best, least := "", max(2, (len(name)-len(envPrefix))/3)+1
	for _, k := range allKeys() {
		if d := distance(name, k.Env()); d < least {
			best, least = k.Env(), d
		}
	}
	return best
}

// distance counts the insertions, deletions and replacements that make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
