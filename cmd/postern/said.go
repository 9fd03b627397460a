package main

// said are the codes of deeds in English, for the person at the terminal; braces take the error's
// arguments. A test checks that every code that a command can meet is here.
var said = map[string]string{
	"username_invalid":        "the username has characters that it cannot have",
	"username_too_short":      "the username has fewer than {min} characters",
	"username_too_long":       "the username has more than {max} characters",
	"username_taken":          "the username is taken",
	"email_invalid":           "that is not an e-mail address",
	"email_missing":           "there is no e-mail address that could be verified",
	"email_taken":             "the e-mail address is taken",
	"password_invalid":        "the password is not valid text",
	"password_too_short":      "the password has fewer than {min} characters",
	"password_too_long":       "the password has more than {max} characters",
	"claim_invalid":           "the claim {claim} has a value that it cannot have",
	"groups_too_many":         "there are more than {max} groups",
	"group_invalid":           "{group} is no name of a group",
	"busy":                    "the server hashes too many passwords right now; try again",
	"unavailable":             "the database cannot serve",
	"throttled":               "there were too many attempts; wait, and try again",
	"session_changed":         "the session changed meanwhile; try again",
	"key_announced":           "the key {Key} is announced already; it signs by itself later, or at once with --now",
	"key_active":              "this key signs; rotate first: postern key rotate --now --alg {Alg}",
	"key_alg_unknown":         "{Alg} is none of RS256, ES256 and EdDSA",
	"invalid_client_metadata": "{field}: {why}",
	"invalid_redirect_uri":    "{field}: {why}",
	"client_id_taken":         "the client ID is taken",
	"client_secrets_single":   "the client has no secret beside the newest",
	"client_public":           "a public client has no secret",
	"client_secrets_too_many": "the client has {max} live secrets already; end the former ones with postern client revoke-secrets",
	"invalid_credentials":     "the password is wrong",
	"account_disabled":        "the account is disabled",
}
