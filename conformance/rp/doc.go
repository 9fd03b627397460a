// Package rp is a scripted relying party, and the browser of the person whom it sends away to sign
// in: cookies, redirects, forms and the headers by which browsers say where a request came from.
//
// It judges what a provider answers by the standards alone and knows nothing of how that provider
// is made; what to try, and what to expect, is for the tests that use it.
package rp
