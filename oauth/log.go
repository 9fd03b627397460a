package oauth

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"postern/idp"
)

// What refuses somebody is one INFO line, found by the reference that they were shown or by the
// client's name. No line has a secret, a code, a token or the values of a query in it. Handlers
// quote what a stranger may have written.

// logProblem notes that a person was shown a page instead of an answer. A failure of ours has its
// line already.
func logProblem(ctx context.Context, p *problem) {
	if p.Status >= http.StatusInternalServerError {
		return
	}
	attrs := append(visitorAttrs(ctx), slog.Int("status", p.Status), slog.String("code", p.Code))
	for _, fact := range p.Facts {
		switch fact.Name {
		case "client_id":
			attrs = append(attrs, slog.String(fact.Name, cutID(fact.Value)))
		case "redirect_uri":
			attrs = append(attrs, slog.String(fact.Name, bareURI(fact.Value)))
		}
	}
	slog.LogAttrs(ctx, slog.LevelInfo, "problem page", attrs...)
}

// logDecline notes that a client was told of a failure by its End-User's browser.
func logDecline(ctx context.Context, c *idp.Client, f *failure) {
	slog.LogAttrs(ctx, slog.LevelInfo, "authorization declined", append(visitorAttrs(ctx),
		slog.String("client_id", c.ID), slog.String("error", f.code), slog.String("description", description(f)))...)
}

// logRefusal notes that a client was refused at the token, introspection or revocation endpoint.
// clientID is whom it says to be.
func logRefusal(ctx context.Context, clientID string, f *failure) {
	attrs := append(visitorAttrs(ctx), slog.Int("status", f.status), slog.String("error", f.code),
		slog.String("description", description(f)))
	if clientID != "" {
		attrs = append(attrs, slog.String("client_id", cutID(clientID)))
	}
	if f.cause != nil && f.cause.Error() != f.code {
		attrs = append(attrs, slog.String("cause", f.cause.Error()))
	}
	slog.LogAttrs(ctx, slog.LevelInfo, "request refused", attrs...)
}

// description is what a client is told, cut: it may name a scope that somebody sent.
func description(f *failure) string {
	const longest = 256
	text := printable(f.description)
	return text[:min(len(text), longest)]
}

func visitorAttrs(ctx context.Context) []slog.Attr {
	v := idp.VisitorFrom(ctx)
	var address string
	if v.Address.IsValid() {
		address = v.Address.String()
	}
	return []slog.Attr{slog.String("request_id", v.RequestID), slog.String("address", address)}
}

// cutID is as much of a client_id that somebody sent as the log repeats: no client has a longer one.
func cutID(id string) string {
	return strings.ToValidUTF8(id[:min(len(id), parameters["client_id"])], "�")
}

// bareURI is a redirect URI that somebody sent without what may be secret in it: its query, its
// fragment and its user information. It reads the text, since what is sent may be no URI.
func bareURI(uri string) string {
	if end := strings.IndexAny(uri, "?#"); end >= 0 {
		uri = uri[:end]
	}
	lower := strings.ToLower(uri)
	for _, encoded := range []string{"%3f", "%23"} { // of a URI that was encoded twice
		if end := strings.Index(lower, encoded); end >= 0 {
			uri, lower = uri[:end], lower[:end]
		}
	}
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return uri
	}
	host, path, slash := strings.Cut(rest, "/")
	host = host[strings.LastIndex(host, "@")+1:]
	if slash {
		path = "/" + path
	}
	return scheme + "://" + host + path
}

// shownID is whom a request to the token endpoint says to come from, "" for nobody.
func shownID(r *http.Request, form url.Values) string {
	for _, header := range r.Header["Authorization"] {
		if shown, ok := readBasic(header); ok {
			return shown.id
		}
	}
	return form.Get("client_id")
}
