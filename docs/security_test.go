package docs_test

import (
	"encoding/json"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// section is what stands under a heading of the second level, with its line ends as spaces.
func section(t *testing.T, file, heading string) string {
	t.Helper()
	_, rest, ok := strings.Cut(read(t, file), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no section %q", file, heading)
	}
	text, _, _ := strings.Cut(rest, "\n## ")
	return strings.Join(strings.Fields(text), " ")
}

func wantWords(t *testing.T, file, heading string, words ...string) {
	t.Helper()
	text := section(t, file, heading)
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%s, %s: %q is missing", file, heading, word)
		}
	}
}

// S1-02: who found a hole reads how to report it, and what to write.
func TestS1_02_ReportsArePrivateAndHaveATemplate(t *testing.T) {
	wantWords(t, "SECURITY.md", "Reporting", "no public issue", "privately",
		"Version (", "What is wrong", "Steps that show it", "What an attacker gains", "How it could be fixed", "/.well-known/security.txt")
}

// S1-03: what a reporter is promised, and the form of what is published.
func TestS1_03_ReportersArePromisedAnAnswerAndAdvisoriesHaveAForm(t *testing.T) {
	wantWords(t, "SECURITY.md", "What you can expect", "within 48 hours", "at least once a week", "docs/advisories/README.md", "credit")
	wantWords(t, "docs/advisories/README.md", "For people", "affected", "mended in", "severity", "What to do", "Credit")
	_, text, _ := strings.Cut(read(t, "docs/advisories/README.md"), "```json\n")
	text, _, _ = strings.Cut(text, "```")
	judgeAdvisory(t, "docs/advisories/README.md", text)

	published, err := fs.Glob(root, "docs/advisories/POSTERN-*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range published {
		name := strings.TrimSuffix(file, path.Ext(file))
		if !slices.Contains(published, name+".md") || !slices.Contains(published, name+".json") {
			t.Errorf("%s lacks its .md or its .json", name)
		}
		if path.Ext(file) == ".json" {
			text := read(t, file)
			judgeAdvisory(t, file, text)
			if !strings.Contains(text, `"`+path.Base(name)+`"`) {
				t.Errorf("%s has another id", file)
			}
		}
	}
}

var (
	advisoryID = regexp.MustCompile(`^POSTERN-20[0-9]{2}-[0-9]{4}$`)
	semver     = regexp.MustCompile(`^[0-9]+(\.[0-9]+){2}$|^0$`)
)

// judgeAdvisory holds an advisory to the OSV format, as far as a scanner needs it.
func judgeAdvisory(t *testing.T, file, text string) {
	t.Helper()
	var a struct {
		SchemaVersion       string `json:"schema_version"`
		ID                  string
		Modified, Published time.Time
		Aliases             []string
		Summary, Details    string
		Severity            []struct{ Type, Score string }
		Affected            []struct {
			Package struct{ Ecosystem, Name string }
			Ranges  []struct {
				Type   string
				Events []map[string]string
			}
		}
		References []struct{ Type, URL string }
		Credits    []struct{ Name, Type string }
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		t.Errorf("%s: %v", file, err)
		return
	}
	if a.SchemaVersion == "" || !advisoryID.MatchString(a.ID) || a.Modified.Before(a.Published) || a.Summary == "" || a.Details == "" ||
		len(a.Severity) == 0 || len(a.Affected) == 0 || len(a.References) == 0 {
		t.Errorf("%s says too little: %+v", file, a)
	}
	for _, affected := range a.Affected {
		if affected.Package.Ecosystem != "Go" || affected.Package.Name != "postern" || len(affected.Ranges) == 0 {
			t.Errorf("%s: of what: %+v", file, affected)
		}
		for _, within := range affected.Ranges {
			for _, event := range within.Events {
				for kind, version := range event {
					if within.Type != "SEMVER" || !slices.Contains([]string{"introduced", "fixed", "last_affected"}, kind) || !semver.MatchString(version) {
						t.Errorf("%s: %s %s %s", file, within.Type, kind, version)
					}
				}
			}
		}
	}
}

// S1-04: research in good faith is safe, within bounds.
func TestS1_04_ResearchInGoodFaithIsSafe(t *testing.T) {
	wantWords(t, "SECURITY.md", "What is allowed", "in good faith", "no legal steps", "Keep it legal", "privacy")
	wantWords(t, "SECURITY.md", "What you can expect", "patient")
}

// S1-20: the policy of versions says what a patch is, how long it comes, and how to hear of it.
func TestS1_20_VersionsHaveAPolicy(t *testing.T) {
	if text := read(t, "docs/versions.md"); !strings.Contains(text, "Semantic Versioning 2.0.0") {
		t.Error("docs/versions.md names no scheme")
	}
	wantWords(t, "docs/versions.md", "How long a release gets security updates", "patch release", "90 days", "`release`", "`aged`", "`undated`", "`none`")
	wantWords(t, "docs/versions.md", "How to hear of them", "releases", "advisories/")
}
