package config

import (
	"maps"
	"slices"
	"strings"
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
	if best == "" {
		return begunBy(section, strings.TrimSuffix(name, "s"))
	}
	return best
}

const leastWord = 4 // letters of a word that says enough

// begunBy is the first key of a section whose name begins with a word: failures is failure_limit.
func begunBy(section, word string) string {
	for _, k := range allKeys() {
		in, of := parent(k.Path)
		if in == section && len(word) >= leastWord && strings.HasPrefix(of, word+"_") {
			return k.Path
		}
	}
	return ""
}

// suggestWord is the one of words that text most likely means, "" for none.
func suggestWord(text string, words []string) string {
	text = strings.ToLower(text)
	best, least := "", max(1, len(text)/3)+1
	for _, word := range words {
		lower := strings.ToLower(word)
		d := distance(text, lower)
		if len(text) >= leastWord && (strings.HasPrefix(text, lower) || strings.HasPrefix(lower, text)) { // warning
			d = min(d, 1)
		}
		if d < least {
			best, least = word, d
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
