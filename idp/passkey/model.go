package passkey

import (
	_ "embed"
	"strings"
	"sync"

	"github.com/google/uuid"
)

// modelLines are AAGUIDs of well-known models with their names: one a line, facts that their makers
// publish.
//
//go:embed models.txt
var modelLines string

var models = sync.OnceValue(func() map[uuid.UUID]string {
	names := make(map[uuid.UUID]string)
	for line := range strings.Lines(modelLines) {
		id, name, found := strings.Cut(strings.TrimSpace(line), " ")
		if found {
			names[uuid.MustParse(id)] = name
		}
	}
	return names
})

// Model is the name of the authenticator's model, "" where it is not known.
func (r *Record) Model() string {
	id, err := uuid.FromBytes(r.AAGUID)
	if err != nil {
		return ""
	}
	return models()[id]
}

// Is tells whether the authenticator says that it is of a model whose AAGUID is id, in the form of a
// UUID. One without a model is of none.
func (r *Record) Is(id string) bool {
	wanted, err := uuid.Parse(id)
	if err != nil || wanted == uuid.Nil {
		return false
	}
	told, err := uuid.FromBytes(r.AAGUID)
	return err == nil && told == wanted
}

// JudgeModel returns an error where id is no AAGUID.
func JudgeModel(id string) error {
	_, err := uuid.Parse(id)
	return err
}
