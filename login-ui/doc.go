// Package loginui is every page that a person sees: sign-in, consent, sign-out, the account, and
// what tells them that something went wrong.
//
// It owns the pages, their words, their look, their cookies and their headers. It leaves the rules
// to package idp and the protocol to package oauth: a handler reads a form, calls one deed, and
// shows a page or redirects.
package loginui
