// Package discovery publishes what the provider can do, and its public keys, as ready bytes.
//
// What that is, is for package oauth to say.
package discovery
