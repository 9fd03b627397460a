package config

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

const (
	envPrefix = "POSTERN_"
	// envTests begins the variables of Postern's own tests, which are no settings.
	envTests = "POSTERN_TEST_"
	// DefaultFile is read where no file is named and it exists.
	DefaultFile = "postern.yaml"
)

// A Source says where settings are read from. Later layers win: files in their order, the
// environment, flags.
type Source struct {
	Files   []string // where there is none, DefaultFile if it exists
	Environ []string // as os.Environ
	Set     []string // each "key=value"
	// Dev is the flag --dev: the profile development, with an issuer on localhost at the port of
	// Listen where none is set.
	Dev bool
	// DatabaseAlone is for a command that opens the database and serves nothing: what the issuer,
	// listening and TLS are is not judged.
	DatabaseAlone bool
}

// Loaded are settings with their places.
type Loaded struct {
	*Config
	Files   []string // that were read
	values  map[string]value
	because map[string]Place // of defaults that follow from another key
	hidden  hidden
}

// Load reads and judges settings. Its error is Problems: everything that is wrong, not the first.
func Load(s Source) (*Loaded, error) {
	l := &loader{
		databaseAlone: s.DatabaseAlone, environ: map[string]string{}, values: map[string]value{},
		because: map[string]Place{}, sections: map[string]Place{}, broken: map[string]bool{}, hidden: hidden{},
	}
	for _, pair := range s.Environ {
		name, text, _ := strings.Cut(pair, "=")
		l.environ[name] = text
	}
	files := s.Files
	if len(files) == 0 {
		if _, err := os.Stat(DefaultFile); err == nil {
			files = []string{DefaultFile}
		}
	}
	for _, name := range files {
		l.order++
		clear(l.sections)
		l.readFile(name)
	}
	l.order++
	l.readEnviron()
	l.order++
	l.readFlags(s.Set, s.Dev)

	cfg := l.decode()
	if s.Dev {
		l.defaultIssuer(cfg)
	}
	loaded := &Loaded{Config: cfg, Files: files, values: l.values, because: l.because, hidden: l.hidden}
	l.judge(loaded)
	if len(l.found) > 0 {
		l.found.Sort()
		for i := range l.found {
			l.hidden.mask(&l.found[i])
		}
		return loaded, l.found
	}
	return loaded, nil
}

// Problem is a complaint about a key by somebody who knows more of its grammar than this package:
// it fills in the place and the value.
func (s *Loaded) Problem(key, code, reason, remedy string) Problem {
	return s.problem(key, complaint{code, reason, remedy})
}

func (s *Loaded) problem(key string, c complaint) Problem {
	p := Problem{Code: c.code, Key: key, Reason: c.reason, Remedy: c.remedy}
	k, _ := FindKey(key)
	v, set := s.values[key]
	p.Place = s.Place(key)
	text := v.text
	if !set && k.Default != "" {
		text = format(reflect.ValueOf(s.Config).Elem().FieldByIndex(k.index))
	}
	if text != "" && v.kind == scalar {
		p.Value = k.shown(text)
	}
	s.hidden.mask(&p)
	return p
}

// Place is where a key was set, the zero Place where it has its default, and one with With where it
// has another default.
func (s *Loaded) Place(key string) Place {
	if v, set := s.values[key]; set {
		return v.place
	}
	return s.because[key]
}

// IsSet tells whether a layer sets a key.
func (s *Loaded) IsSet(key string) bool {
	_, set := s.values[key]
	return set
}

type loader struct {
	environ map[string]string
	values  map[string]value // by path, of all layers so far
	because map[string]Place // by path, of defaults that follow from another key
	broken  map[string]bool  // keys with a problem already
	hidden  hidden
	found   Problems

	databaseAlone bool
	unread        bool // part of a file could not be read, so that nobody knows what is missing

	order    int    // of the layer that is read
	file     string // and its name and lines
	lines    []string
	sections map[string]Place
}

func (l *loader) find(p Problem) {
	l.broken[p.Key] = true
	l.found = append(l.found, p)
}

// hidden are the secrets of the files, each with what is shown instead.
type hidden map[string]string

// mask takes every secret out of the line that p shows, whichever key p is about: a file may have
// several on a line.
func (h hidden) mask(p *Problem) {
	for text, instead := range h {
		p.Place.source = strings.ReplaceAll(p.Place.source, text, instead)
	}
}

func (l *loader) overlay(layer map[string]value) { maps.Copy(l.values, layer) }

// keep notes a value of a layer; the same key twice in one layer is a problem.
func (l *loader) keep(path string, v value, layer map[string]value) {
	if first, twice := layer[path]; twice {
		l.twice(path, v.place, first.place)
		return
	}
	layer[path] = v
}

func (l *loader) twice(path string, at, first Place) {
	l.find(Problem{Code: "CFG-003", Key: path, Place: at, Reason: "is set twice; first at " + first.String(),
		Remedy: "Remove one of the two."})
}

func (l *loader) unknownKey(path string, at Place) {
	nearest := Suggest(path)
	remedy := "`postern config show` lists every key."
	switch {
	case path == databasePassword:
		remedy = remedyOfPassword
	case nearest != "":
		remedy = "Did you mean " + nearest + "?"
	}
	if maySecret(path, nearest) {
		at.source = keyPart(at.source)
	}
	l.find(Problem{Code: "CFG-001", Key: path, Place: at, Reason: "unknown key", Remedy: remedy})
}

// databasePassword is a key that many look for.
const (
	databasePassword = "database.password"
	remedyOfPassword = "The password belongs into database.url, which may be file:PATH; or set PGPASSWORD."
)

// maySecret tells whether the value of an unknown key could be a secret.
func maySecret(path, nearest string) bool {
	for _, k := range allKeys() {
		if k.Secret != "" && (k.Path == nearest || strings.HasPrefix(path, k.section+".") || nearest == k.section) {
			return true
		}
	}
	for _, word := range []string{"secret", "pass", "key", "token", "url", "dsn"} {
		if strings.Contains(strings.ToLower(path), word) {
			return true
		}
	}
	return false
}

// readEnviron reads the layer of POSTERN_SECTION__KEY variables. Lists are JSON, or one variable
// an item: POSTERN_SECRETS__KEYS__0.
func (l *loader) readEnviron() {
	layer := map[string]value{}
	for _, name := range slices.Sorted(maps.Keys(l.environ)) {
		if !strings.HasPrefix(name, envPrefix) || strings.HasPrefix(name, envTests) {
			continue
		}
		at := Place{Env: name, order: l.order}
		path := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, envPrefix)), "__", ".")
		if name != strings.ToUpper(name) {
			path = "" // posix_names are case-sensitive: POSTERN_Issuer is not POSTERN_ISSUER
		}
		l.readOverride(path, l.environ[name], at, layer, func() {
			remedy := "`postern config show` lists every key with its variable."
			if path == databasePassword {
				remedy = remedyOfPassword
			} else if nearest := suggestEnv(name); nearest != "" {
				remedy = "Did you mean " + nearest + "?"
			}
			l.find(Problem{Code: "CFG-002", Place: at, Reason: "is no setting", Remedy: remedy})
		})
	}
	l.overlay(layer)
}

// readFlags reads the layer of flags.
func (l *loader) readFlags(sets []string, dev bool) {
	layer := map[string]value{}
	if dev {
		layer["profile"] = value{text: "development", place: Place{Flag: "--dev", order: l.order}}
	}
	for _, set := range sets {
		path, text, _ := strings.Cut(set, "=")
		at := Place{Flag: "--set " + path, order: l.order}
		l.readOverride(path, text, at, layer, func() { l.unknownKey(path, at) })
	}
	l.overlay(layer)
}

// readOverride reads one setting of the environment or a flag, whose list may be JSON or come item
// by item.
func (l *loader) readOverride(path, text string, at Place, layer map[string]value, unknown func()) {
	if k, known := FindKey(path); known {
		v := value{place: at, text: text}
		if strings.HasPrefix(k.Type, "list") {
			v = l.readJSONList(k, text, at)
		}
		l.keep(path, v, layer)
		return
	}
	of, index := parent(path)
	k, known := FindKey(of)
	n, err := strconv.Atoi(index)
	if !known || !strings.HasPrefix(k.Type, "list") || err != nil {
		unknown()
		return
	}
	whole := layer[of]
	if whole.kind != list {
		whole = value{place: at, kind: list}
	}
	if n != len(whole.list) {
		l.find(Problem{Code: "CFG-014", Key: of, Place: at, Reason: fmt.Sprintf("is item %d of a list that has %d before it", n, len(whole.list)),
			Remedy: "Number the items 0, 1, 2 …, or write the whole list as JSON."})
		return
	}
	whole.list = append(whole.list, value{place: at, text: text})
	layer[of] = whole
}

func (l *loader) readJSONList(k Key, text string, at Place) value {
	v := value{place: at, kind: list}
	var items []string
	if err := json.Unmarshal([]byte(text), &items); err != nil {
		if c := complainOfJSONLists(k, text); c != nil {
			l.find(Problem{Code: c.code, Key: k.Path, Place: at, Value: k.shown(text), Reason: c.reason, Remedy: c.remedy})
			return v
		}
		l.find(Problem{Code: "CFG-014", Key: k.Path, Place: at, Value: k.shown(text), Reason: "is not a JSON list of texts",
			Remedy: `Write ["one","two"], or one setting an item: ` + k.Env() + "__0."})
		return v
	}
	for _, item := range items {
		v.list = append(v.list, value{place: at, text: item})
	}
	return v
}

// complainOfJSONLists is about a list of lists where only texts belong, nil for what is none.
func complainOfJSONLists(k Key, text string) *complaint {
	var items []any
	if k.Secret != "" || json.Unmarshal([]byte(text), &items) != nil {
		return nil
	}
	for _, item := range items {
		if inner, ok := item.([]any); ok {
			var words []string
			for _, word := range inner {
				words = append(words, fmt.Sprint(word))
			}
			return complainOfLists(k, words)
		}
	}
	return nil
}

// decode writes what the layers say over the defaults, beginning with the keys that choose between
// defaults.
func (l *loader) decode() *Config {
	cfg := Default()
	for _, k := range allKeys() {
		if decides(k) {
			l.decodeKey(k, cfg)
		}
	}
	l.vary(cfg)
	for _, k := range allKeys() {
		if !decides(k) {
			l.decodeKey(k, cfg)
		}
	}
	l.translate(cfg)
	return cfg
}

func (l *loader) decodeKey(k Key, cfg *Config) {
	v, set := l.values[k.Path]
	if !set || l.broken[k.Path] {
		return
	}
	field := reflect.ValueOf(cfg).Elem().FieldByIndex(k.index)
	switch {
	case k.Type == "false":
		on := true
		l.decodeOne(k, reflect.ValueOf(&on).Elem(), v)
		field.SetBool(!on)
	case strings.HasPrefix(k.Type, "list"):
		l.decodeList(k, field, v)
	default:
		l.decodeOne(k, field, v)
	}
}

func (l *loader) decodeList(k Key, field reflect.Value, v value) {
	if v.kind != list {
		l.find(Problem{Code: "CFG-014", Key: k.Path, Place: v.place, Value: k.shown(v.text), Reason: "is not a list",
			Remedy: "Write it in brackets: " + k.Path + `: ["…"].`})
		return
	}
	items := reflect.MakeSlice(field.Type(), len(v.list), len(v.list))
	for i := range v.list {
		l.decodeOne(k, items.Index(i), v.list[i])
		v.list[i].text = "" // nothing of a list is shown later
	}
	field.Set(items)
}

func (l *loader) decodeOne(k Key, field reflect.Value, v value) {
	var text string
	var c *complaint
	switch v.kind {
	case list:
		c = k.complainOfList(v)
	case absent:
		c = &complaint{"CFG-008", "has no value", k.orNone()}
	default:
		if text, c = l.resolve(v.text, k.Secret == "whole"); c == nil {
			c = decode(field, text)
		}
	}
	if c == nil {
		return
	}
	p := Problem{Code: c.code, Key: k.Path, Place: v.place, Reason: c.reason, Remedy: c.remedy}
	if v.kind == scalar {
		p.Value = k.shown(v.text)
	}
	l.find(p)
}

// complainOfList is about a list where one value belongs, or one item of a list.
func (k Key) complainOfList(v value) *complaint {
	var items []string
	for _, item := range v.list {
		items = append(items, item.text)
	}
	switch {
	case !strings.HasPrefix(k.Type, "list"):
		return &complaint{"CFG-014", "is a list", "Write one " + k.Type + " without brackets."}
	case k.Secret != "":
		return &complaint{"CFG-014", "has a list in its list", "Write each item as a text."}
	}
	return complainOfLists(k, items)
}

// complainOfLists teaches our form to those who know that of django-axes, where items are lists.
func complainOfLists(k Key, items []string) *complaint {
	const reason = "has a list in its list"
	switch {
	case k.Path == "lockout.parameters" && plainWords(items):
		return &complaint{"CFG-014", reason, fmt.Sprintf("Join what is counted together with +: %s: [%s].", k.Path, strings.Join(items, "+"))}
	case k.Path == "lockout.tiers" && len(items) == 2 && plainWords(items):
		return &complaint{"CFG-014", reason, fmt.Sprintf("Write FAILURES:COOLOFF: %s: [%s].", k.Path, strings.Join(items, ":"))}
	}
	return &complaint{"CFG-014", reason, "Write each item as a text: " + k.Path + ": " + k.Example + "."}
}

// plainWords tells whether all items could stand in a message.
func plainWords(items []string) bool {
	return len(items) > 0 && !slices.ContainsFunc(items, func(item string) bool { return !plainWord.MatchString(item) })
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_]{1,40}$`)

// orNone says how nothing is written, to those who know None or null.
func (k Key) orNone() string {
	switch k.Path {
	case "lockout.cooloff_time":
		return "Write none for a lock until somebody clears it, or remove the line for the default."
	case "lockout.failure_log_per_user":
		return "Write 0 for no bound, or remove the line for the default."
	}
	return "Write a value, or remove the line for the default."
}

// OpenToOthers tells whether users beside its owner can read a file, and its permissions. What is
// no plain file, such as a pipe, and Windows, which keeps no such bits, are let pass.
func OpenToOthers(name string) (fs.FileMode, bool) {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() || runtime.GOOS == "windows" {
		return 0, false
	}
	return info.Mode().Perm(), info.Mode().Perm()&0o077 != 0
}

// resolve follows file:PATH and env:NAME. A secret's file is for its owner alone.
func (l *loader) resolve(text string, secret bool) (string, *complaint) {
	if name, ok := strings.CutPrefix(text, "file:"); ok {
		if mode, open := OpenToOthers(name); secret && open {
			return "", &complaint{"CFG-044", fmt.Sprintf("can be read by other users (mode %o)", mode), "Run: chmod 600 " + name}
		}
		content, err := readLimited(name)
		if err != nil {
			return "", &complaint{"CFG-007", "cannot be read: " + cause(err), "Check the path and its permissions."}
		}
		return trimNewline(string(content)), nil
	}
	if name, ok := strings.CutPrefix(text, "env:"); ok {
		content, set := l.environ[name]
		if !set {
			return "", &complaint{"CFG-007", "names a variable that is not set", "Set " + name + ", or write the value here."}
		}
		return trimNewline(content), nil
	}
	return text, nil
}

func trimNewline(text string) string {
	return strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
}
