// Package conformance is the OpenID Foundation's test modules as Go tests, against the real binary
// or any other provider, and the whole job in a real browser.
//
// Its tests build Postern and start it, or, where ISSUER is set, judge the provider there. It must
// have a user, LOGIN_USERNAME with LOGIN_PASSWORD, for whom every claim of OpenID Connect Core 1.0
// §5.1 is on record, and three clients with the redirect URI REDIRECT_URI
// (https://rp.example.test/callback where it is not set; nobody needs to listen there) that may
// leave PKCE out: CLIENT_ID with CLIENT_SECRET and CLIENT2_ID with CLIENT2_SECRET for
// client_secret_basic, CLIENT_POST_ID with CLIENT_POST_SECRET for client_secret_post. Its limits
// on attempts must let some sixty sign-ins a minute pass.
//
// What a relying party and a browser do is for conformance/rp.
package conformance
