// Package idp is the identity provider without its wires: users, authenticators, sessions,
// interactions, clients, consents, grants, tokens, keys and events, their rules, and the contract
// of the store that remembers them.
//
// It knows no HTTP and no SQL: package oauth speaks the protocol, login-ui speaks to people and
// storage speaks to the database. A deed is one method of Provider in one transaction, whoever
// asks: a page, the command line or a job.
package idp
