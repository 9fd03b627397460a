package rp

import (
	"context"
	"fmt"
)

// A Person answers the pages of a provider.
type Person struct {
	Username string
	Password string
	Remember bool // wants to stay signed in
	Deny     bool // allows nothing
}

// A Journey is what a person met on the way and where it ended.
type Journey struct {
	End      *Page
	SignIns  int // pages that asked for the password
	Consents int
	Other    int // pages that only asked to go on
}

const maxPages = 8 // that a person answers before they give up

// Answer answers page and all that follow, until the browser stops at a redirect URI, or shows a
// page that asks for nothing that the person knows, such as an error.
func (p Person) Answer(ctx context.Context, page *Page) (Journey, error) {
	j := Journey{End: page}
	for range maxPages {
		form := j.End.Form()
		if j.End.Stopped || form == nil {
			return j, nil
		}
		next, err := p.answerOne(ctx, &j, form)
		if err != nil {
			return j, err
		}
		if next == nil {
			return j, nil
		}
		j.End = next
	}
	return j, fmt.Errorf("still asked after %d pages: %s", maxPages, j.End)
}

// answerOne returns nil where the page is not one to answer.
func (p Person) answerOne(ctx context.Context, j *Journey, form *Form) (*Page, error) {
	switch {
	case j.End.Status >= 400:
		return nil, nil
	case form.Has("password"):
		if j.SignIns++; j.SignIns > 1 {
			return nil, fmt.Errorf("asked for the password again: %s", j.End)
		}
		return p.signIn(ctx, form)
	case j.End.Has("allow"):
		j.Consents++
		if p.Deny {
			return form.Press(ctx, "deny")
		}
		return form.Press(ctx, "allow")
	case j.End.Has("confirm-logout"):
		return nil, nil
	default:
		j.Other++
		return form.Submit(ctx)
	}
}

func (p Person) signIn(ctx context.Context, form *Form) (*Page, error) {
	if form.Has("username") {
		if err := form.Fill("username", p.Username); err != nil {
			return nil, err
		}
	}
	if err := form.Fill("password", p.Password); err != nil {
		return nil, err
	}
	if p.Remember && form.Has("remember") {
		if err := form.Fill("remember", "1"); err != nil {
			return nil, err
		}
	}
	if form.page.Has("sign-in") {
		return form.Press(ctx, "sign-in")
	}
	return form.Submit(ctx)
}

// SignIn sends a browser to the provider with request, lets the person answer its pages, redeems
// the code and verifies the ID token: the whole of an ordinary sign-in.
func (r *RelyingParty) SignIn(ctx context.Context, b *Browser, p Person, request *Request) (SignedIn, error) {
	var s SignedIn
	page, err := b.OpenFrom(ctx, r.RedirectURI, request.URL())
	if err != nil {
		return s, err
	}
	if s.Journey, err = p.Answer(ctx, page); err != nil {
		return s, err
	}
	err = r.Finish(ctx, &s, request)
	return s, err
}

// A SignedIn is a sign-in that came to its end.
type SignedIn struct {
	Journey
	Response AuthorizationResponse
	Tokens   Tokens
	Claims   Claims // of the ID token
}

// Finish redeems what the journey of s brought.
func (r *RelyingParty) Finish(ctx context.Context, s *SignedIn, request *Request) error {
	if !s.End.Stopped {
		return fmt.Errorf("the person is left at %s", s.End)
	}
	var err error
	if s.Response, err = r.ReadResponse(request, s.End.URL); err != nil {
		return err
	}
	if s.Response.Code == "" {
		return fmt.Errorf("no code, but %s: %s", s.Response.Error, s.Response.Description)
	}
	answer, err := r.Redeem(ctx, request, s.Response.Code)
	if err != nil {
		return err
	}
	if s.Tokens, err = answer.Tokens(); err != nil {
		return err
	}
	s.Claims, err = r.Verify(s.Tokens.IDToken, Expectation{
		Nonce: request.Params.Get("nonce"), AccessToken: s.Tokens.AccessToken,
	})
	return err
}
