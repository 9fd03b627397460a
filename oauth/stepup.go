package oauth

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A StepUp is how the End-User behind an access token must have authenticated for what is asked of a
// resource (RFC 9470 §3).
type StepUp struct {
	// ACRValues are the values of acr of which one will do, in order of preference; nil for any.
	ACRValues []string
	// MaxAge is how long ago it may have been, nil for any time; whole seconds are told.
	MaxAge *time.Duration
}

// parameters are those of the challenge, each after a comma.
func (s *StepUp) parameters() string {
	var b strings.Builder
	if len(s.ACRValues) > 0 {
		b.WriteString(`, acr_values="` + printable(strings.Join(s.ACRValues, " ")) + `"`)
	}
	if s.MaxAge != nil {
		b.WriteString(`, max_age="` + strconv.FormatInt(int64(*s.MaxAge/time.Second), 10) + `"`)
	}
	return b.String()
}

// ChallengeStepUp answers whoever shows an access token that is good, but whose End-User has not
// authenticated as a resource needs it (RFC 9470 §3): the client sends them to the authorization
// endpoint with the same acr_values and max_age, and comes again with another token.
func ChallengeStepUp(w http.ResponseWriter, r *http.Request, s StepUp) {
	writeBearerFailure(r.Context(), w, insufficient(s))
}

func insufficient(s StepUp) *failure {
	return &failure{
		status: http.StatusUnauthorized, code: "insufficient_user_authentication",
		description: "A stronger or more recent authentication is needed.", stepUp: &s,
	}
}
