package password

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/ccojocar/zxcvbn-go/frequency"
)

// maxTrivialUnit is up to how many code points what repeats is as good as a listed password.
const maxTrivialUnit = 4

// listed are some 85 000 passwords, words and names, folded; about 3 MB. It is made at the first
// use, since most commands of the program ask for none.
var listed = sync.OnceValue(func() map[string]struct{} {
	size := 0
	for _, list := range frequency.Lists {
		size += len(list.List)
	}
	all := make(map[string]struct{}, size)
	for _, list := range frequency.Lists {
		for _, word := range list.List {
			all[strings.ToLower(word)] = struct{}{}
		}
	}
	return all
})

func (p *Policy) checkCommon(c *candidate) []Failure {
	if c.text != "" && common(c.folded) {
		return []Failure{{Code: TooCommon}}
	}
	return nil
}

// common tells whether a folded password is on the list, or what everybody makes of one that is:
// repeated, backwards, with letters replaced, with digits and signs around it or in it.
func common(text string) bool {
	// What stands around a word is dropped before its signs are read as letters, or `passw0rd!`
	// were `passwordi`.
	core := strings.TrimFunc(text, func(r rune) bool { return !unicode.IsLetter(r) })
	for _, form := range []string{text, core} {
		for _, reading := range append([]string{form}, unsubstituted(form)...) {
			for _, word := range []string{reading, lettersOf(reading)} {
				if trivial(word, text) {
					return true
				}
			}
		}
	}
	return false
}

// trivial tells whether word is on the list, or repeats what is, and is at least half of text: the
// other half may well be hard to guess.
func trivial(word, text string) bool {
	if word == "" || 2*utf8.RuneCountInString(word) < utf8.RuneCountInString(text) {
		return false
	}
	once := unit(word)
	if once != word && utf8.RuneCountInString(once) <= maxTrivialUnit {
		return true
	}
	_, forwards := listed()[once]
	_, backwards := listed()[reversed(once)]
	return forwards || backwards
}
