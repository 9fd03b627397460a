package idp

// A Problem is what a page tells when a request cannot be answered with a redirect: a relying
// party that is misconfigured, or a failure of ours. It is shown from the server's own record,
// never from the address of the error page.
type Problem struct {
	Status    int    // of HTTP: 400, 403, 404, 429, 503 …
	Code      string // stable, snake case: data-error-code
	Client    string // display name of the client, "" where it is unknown
	Reference string // the request's ID
	Facts     []Fact // for developers: what was sent
	Hint      string // key of the text that says what differs, "" for none
	Scope     string // of 429: whom the limit counts, a guard.Scope, "" where nobody knows
	Back      string // an address of ours that leads on, "" for none
}

// A Fact is a name and a value that a developer is shown, as text only.
type Fact struct{ Name, Value string }
