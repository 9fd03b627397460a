// Package oauth is the authorization server: it speaks OAuth 2.0 and OpenID Connect over HTTP, and
// is the only user of fosite, which serves it as the state machine of the grants.
//
// What a person must do next, what is stored and what tokens say is for package idp; what people
// see is for package login-ui. Publishing what the server can do is for package discovery.
package oauth
