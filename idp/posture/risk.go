package posture

// risks are in the order of their IDs.
var risks = []Risk{
	{
		ID: "W018", Level: Error, Title: "The profile is development", Deploy: true, judge: judgeProfile,
		Explain: "The profile development is for a trial on one machine: it allows an issuer with http, cheap password hashes and a gate that counts nothing, and blocks any address.",
		Remedy:  "Remove profile, and start the server without --dev.",
	}, {
		ID: "W032", Level: Error, Title: "The issuer uses http", Deploy: true, judge: judgeIssuer,
		Explain: "Whoever is on the way reads passwords, codes and tokens, and changes pages.",
		Remedy:  "Set issuer to an https address.",
	}, {
		ID: "W037", Level: Info, Title: "Nobody is named to report holes to", Deploy: true, judge: judgeContacts,
		Explain: "Whoever finds a hole looks at /.well-known/security.txt for whom to tell (RFC 9116), and may tell everybody where nobody is named. One that is out of date is not believed.",
		Remedy:  "Set security.contacts, and security.expires to a time to come or not at all.",
	}, {
		ID: "W040", Level: Warning, Title: "Metrics are public", Deploy: true, judge: judgeMetrics,
		Explain: "Metrics tell how many people sign in and fail, and how busy this machine is.",
		Remedy:  "Set metrics.listen to 127.0.0.1:9090, or let a firewall keep others away.",
	}, {
		ID: "W101", Level: Error, Title: "Rate limits are off", judge: judgeLimitsOff,
		Explain: "Passwords and codes can be guessed, and mails sent, as fast as this machine answers.",
		Remedy:  "Remove `rate_limits: false`; rate_limits.exempt_cidrs excepts networks.",
	}, {
		ID: "W102", Level: Warning, Title: "A rate limit is weak", judge: judgeWeakLimits,
		Explain: "A limit that allows more than ten times its default is not felt by those who guess.",
		Remedy:  "Remove the key, or write a limit nearer to its default.",
	}, {
		ID: "W103", Level: Warning, Title: "Each process counts for itself", Deploy: true, judge: judgeMemoryLimits,
		Explain: "Counters in the memory of a process are not shared: with N processes everybody has N times the limits, and a restart forgets all of them.",
		Remedy:  "Set lockout.handler to database, or to redis.",
	}, {
		ID: "W104", Level: Warning, Title: "Who has an account can be asked", judge: judgeEnumeration,
		Explain: "Answers tell whether an address or a name has an account, so that a stranger collects those who have one: for phishing, and for trying their stolen passwords.",
		Remedy:  "Set login.prevent_enumeration to true, or to strict.",
	}, {
		ID: "W105", Level: Warning, Title: "Addresses are not verified", judge: judgeVerification,
		Explain: "Somebody may sign up with another's address: relying parties that know people by their address may let them in as the other, and mails of a reset go astray.",
		Remedy:  "Set email.verification to mandatory, or to optional.",
	}, {
		ID: "W106", Level: Warning, Title: "Passwords may be short", judge: judgePasswordLength,
		Explain: "Short passwords are guessed from their hashes, should the database be stolen.",
		Remedy:  "Set password.min_length to 12.",
	}, {
		ID: "W107", Level: Warning, Title: "Common passwords are taken", judge: judgeCommon,
		Explain: "Those who guess begin with the lists of common passwords, and a few guesses are enough.",
		Remedy:  "Add common to password.validators.",
	}, {
		ID: "W108", Level: Info, Title: "Passwords need characters of several kinds", judge: judgeComplexity,
		Explain: "Such rules make people choose Password1! and refuse long passphrases; NIST SP 800-63B-4 forbids them.",
		Remedy:  "Remove complexity from password.validators; zxcvbn and common find weak passwords better.",
	}, {
		ID: "W109", Level: Error, Title: "Password hashes are cheap", Deploy: true, judge: judgeArgon2,
		Explain: "Hashes with so little memory are tried by the billion, should the database be stolen.",
		Remedy:  "Remove password.argon2, or set memory_kib × time to 35840 at least, and memory_kib to 7168 at least.",
	}, {
		ID: "W110", Level: Warning, Title: "Hashes may need more memory than there is", Deploy: true, judge: judgeHashMemory,
		Explain: "Many sign-ins at a time make the system end this process, or swap.",
		Remedy:  "Set password.hash_memory_mib to half of the machine's memory at most.",
	}, {
		ID: "W111", Level: Warning, Title: "Sessions outlive a change of the password", judge: judgeEndOnChange,
		Explain: "Somebody who changes their password because another knows it leaves the other signed in.",
		Remedy:  "Set sessions.end_on_password_change to true.",
	}, {
		ID: "W112", Level: Info, Title: "Every browser is remembered", judge: judgeRemember,
		Explain: "Whoever signs in on somebody else's machine stays signed in there.",
		Remedy:  "Set sessions.remember to ask.",
	}, {
		ID: "W113", Level: Warning, Title: "An open session is enough for everything", judge: judgeSudo,
		Explain: "Whoever finds a browser that is signed in changes the address and with it the password, or deletes the account.",
		Remedy:  "Set sudo.required to true, and sudo.timeout to 5m.",
	}, {
		ID: "W116", Level: Info, Title: "No mail is sent", judge: judgeMail, ask: askMail,
		Explain: "Nobody can reset their password or prove their address, nobody is told that their account was locked, and no administrator what the honeypot caught. Where email.verification is mandatory, whoever has an address that is not verified waits for a code that nobody sends. With `mail.transport: dir:PATH` mails are written to a folder, which is for a trial: nobody but who reads this machine's disk sees them.",
		Remedy:  "Set mail.transport and mail.from; until then add users with --email-verified, or say that an address is theirs with `postern user verify NAME`.",
	}, {
		ID: "W117", Level: Warning, Title: "A mailbox is enough to sign in", judge: judgeLoginCode,
		Explain: "With a mailed code whoever reads somebody's mail signs in as them, administrators too, and nothing else is asked for.",
		Remedy:  "Set login.code.enabled to false.",
	}, {
		ID: "W118", Level: Warning, Title: "Anybody may sign up as anybody", judge: judgeOpenSignUp,
		Explain: "Sign-up is open to everybody and does not wait for the proof that an address is theirs: programs make accounts by the thousand, in the name of others.",
		Remedy:  "Set email.verification to mandatory, or signup.mode to invite.",
	}, {
		ID: "W119", Level: Info, Title: "Disposable addresses are taken", judge: judgeDisposable,
		Explain: "Such an address costs nothing and is gone tomorrow, or is read by everybody who asks for it: it suits those who need many accounts, and a reset mailed to it is public.",
		Remedy:  "Set email.allow_disposable to false; email.allowed_domains makes exceptions.",
	}, {
		ID: "W120", Level: Warning, Title: "Sign-up has no trap for programs", judge: judgeTrap,
		Explain: "Programs fill in every field, so that one that people do not see tells them apart.",
		Remedy:  "Remove signup.honeypot_field, or name a field.",
	}, {
		ID: "W121", Level: Error, Title: "Nobody can sign in", judge: judgeRefusingLimits,
		Explain: "A limit of 0 refuses every attempt, the first one too.",
		Remedy:  "Remove the key for its default, or write false for no limit.",
	}, {
		ID: "W122", Level: Warning, Title: "Everybody shares one limit", judge: judgeSharedLimits,
		Explain: "A limit with the scope global counts the attempts of all people together, so that a stranger who goes on failing keeps everybody from signing in.",
		Remedy:  "Write the scope ip or key.",
	}, {
		ID: "W201", Level: Error, Title: "Lockout is off", judge: judgeLockoutOff,
		Explain: "Only the rate limits slow down those who guess passwords.",
		Remedy:  "Remove lockout.enabled, or set it to true.",
	}, {
		ID: "W202", Level: Warning, Title: "Lockout locks nobody", judge: judgeDryRun,
		Explain: "In a dry run failures are counted and told, and nobody is refused.",
		Remedy:  "Set lockout.dry_run to false.",
	}, {
		ID: "W203", Level: Error, Title: "Nothing is counted", judge: judgeDummy,
		Explain: "The handler dummy is for development: there is neither a limit nor a lockout.",
		Remedy:  "Set lockout.handler to database.",
	}, {
		ID: "W204", Level: Warning, Title: "Commands do not reach the counters", judge: judgeMemoryLockout,
		Explain: "Where a server counts in its own memory, `postern lockout list` and `postern lockout reset` do not see it, and a restart unlocks everybody.",
		Remedy:  "Set lockout.handler to database, or to redis.",
	}, {
		ID: "W205", Level: Warning, Title: "Anybody can lock anybody out", judge: judgeWithoutAddress,
		Explain: "Where failures are counted without the address that they came from, a stranger who knows a username locks its owner out of every browser but those that are known.",
		Remedy:  "Add ip_address to the parameters, or a limit of 50 failures at least.",
	}, {
		ID: "W206", Level: Warning, Title: "The user agent is counted", judge: judgeUserAgent,
		Explain: "Whoever guesses chooses what the browser calls itself, and has a new budget with each name.",
		Remedy:  "Remove user_agent from the parameters.",
	}, {
		ID: "W207", Level: Warning, Title: "A lock has no end", judge: judgePermanent,
		Explain: "Nobody but an operator unlocks the account or the address again, so that a stranger keeps its owner out for good.",
		Remedy:  "Set a cool-off time, or have somebody at hand for `postern lockout reset --user NAME`.",
	}, {
		ID: "W208", Level: Info, Title: "Attempts prolong a lock", judge: judgeProlonged,
		Explain: "A stranger who tries once in a while keeps an account locked for ever.",
		Remedy:  "Set lockout.reset_cooloff_on_failure to false.",
	}, {
		ID: "W209", Level: Error, Title: "Tiers and a plain limit are set", judge: judgeTiers,
		Explain: "Tiers hold in place of lockout.failure_limit and lockout.cooloff_time: one of the two is not what somebody meant.",
		Remedy:  "Remove lockout.tiers, or the other key.",
	}, {
		ID: "W210", Level: Warning, Title: "A deprecated key is set", judge: judgeDeprecated,
		Explain: "The key is there for those who come from django-axes, and will go.",
		Remedy:  "Write lockout.parameters in its place.",
	}, {
		ID: "W211", Level: Warning, Title: "The allow list lets too many in", judge: judgeAllowed,
		Explain: "Addresses on the list are never blocked, never locked out (never_lock_allowed), or are all that may come (only_allowed). Behind a proxy that is not believed, everybody has the proxy's private address.",
		Remedy:  "Name the networks that are known to be good, and those alone.",
	}, {
		ID: "W212", Level: Warning, Title: "A proxy's headers are ignored", ask: askIgnoredHeaders,
		Explain: "A trusted proxy sends a header that cannot be read as the settings say (not_one_address, too_few_entries), so that all people behind it share one address, and its limits. Or somebody who is no trusted proxy sends the headers of one (untrusted_peer): an attacker who tries to look like another address, or a proxy of yours that proxy.trusted_cidrs lacks.",
		Remedy:  "Look at the address: where it is a proxy of yours, set proxy.trusted_hops and proxy.trusted_cidrs.",
	}, {
		ID: "W213", Level: Error, Title: "X-Forwarded-For is read from its left end", judge: judgeOrder,
		Explain: "The first entry is what the client wrote, unless the outermost proxy replaces the header: with it everybody chooses their address, and no limit by address holds.",
		Remedy:  "Set proxy.order to right-most, and proxy.trusted_hops to the number of proxies.",
	}, {
		ID: "W214", Level: Warning, Title: "Proxies are believed by their number alone", judge: judgeHops,
		Explain: "Whoever reaches this server around the proxy writes the header themselves, and chooses their address.",
		Remedy:  "Set proxy.trusted_cidrs to the networks of the proxies.",
	}, {
		ID: "W215", Level: Warning, Title: "Networks are exempt from every limit", judge: judgeExempt,
		Explain: "From those networks passwords can be guessed as fast as this machine answers.",
		Remedy:  "Remove rate_limits.exempt_cidrs; it is for measurements and tests.",
	}, {
		ID: "W216", Level: Warning, Title: "Nobody records who signs in", judge: judgeLogins,
		Explain: "After a break-in nobody can tell who was signed in, from where, and when it ended.",
		Remedy:  "Set audit.logins to true; audit.retention says for how long.",
	}, {
		ID: "W217", Level: Info, Title: "Locks are as durable as Redis", judge: judgeRedis,
		Explain: "Whatever Redis loses, by a restart without persistence or by eviction, unlocks those who were locked out.",
		Remedy:  "Keep Redis with appendonly yes and maxmemory-policy noeviction, or set lockout.handler to database.",
	}, {
		ID: "W218", Level: Warning, Title: "Client authentication goes on without counters", judge: judgeFailOpen,
		Explain: "While the counters cannot be reached, secrets of clients can be guessed without limit.",
		Remedy:  "Set rate_limits.client_auth_fail_open to false.",
	}, {
		ID: "W219", Level: Warning, Title: "Everybody looks like the proxy", Deploy: true, judge: judgeUnknownProxy,
		Explain: "The issuer uses https and this server does not, so that a proxy stands before it, and no setting says to believe its header. Limits and locks by address hold for all people together, and the honeypot blocks nobody, since that would block the proxy.",
		Remedy:  "Set proxy.trusted_hops to the number of proxies, and proxy.trusted_cidrs to their networks.",
	}, {
		ID: "W220", Level: Warning, Title: "A policy is for nobody", ask: askPolicyClients,
		Explain: "A policy of lockout names a client that there is not, so that those whom it was meant for have the common rule.",
		Remedy:  "Correct the client's ID in lockout.policies, or remove the policy.",
	}, {
		ID: "W221", Level: Error, Title: "A setting of the gate cannot be read", judge: judgeGate,
		Explain: "The server does not start with it.",
		Remedy:  "Correct the key.",
	}, {
		ID: "W222", Level: Warning, Title: "Lockout is weak", judge: judgeWeakLockout,
		Explain: "A lock that comes after ten times the failures of the default, or ends after a tenth of its time, is not felt by those who guess.",
		Remedy:  "Remove the key, or write something nearer to its default.",
	}, {
		ID: "W223", Level: Info, Title: "Nothing leads to the redirect", judge: judgeRedirect,
		Explain: "Whoever is locked out is led to lockout.redirect_url with `lockout.response: redirect` alone.",
		Remedy:  "Set lockout.response to redirect, or remove lockout.redirect_url.",
	}, {
		ID: "W224", Level: Info, Title: "A cool-off time has many hours", judge: judgeHours,
		Explain: "A cool-off time without a unit is in hours, as in django-axes.",
		Remedy:  "Write the unit: 15h, or 15m.",
	}, {
		ID: "W225", Level: Warning, Title: "Nobody gets the honeypot's mails", Deploy: true, ask: askAdmins,
		Explain: "What the honeypot catches is mailed to administrators whose e-mail address is verified, and there is none.",
		Remedy:  "Add one with `postern user add --admin --email ADDRESS --email-verified`, or set honeypot.mail to false.",
	}, {
		ID: "W226", Level: Warning, Title: "A proxy does not say who comes", ask: askMissingHeaders,
		Explain: "Requests come from a trusted proxy without the header that has the client's address, so that all people behind it share one address, and its limits. Requests for /healthz are not meant.",
		Remedy:  "Let the proxy append to X-Forwarded-For, or set the header of proxy.client_ip_header; or remove the address from proxy.trusted_cidrs where it is no proxy.",
	}, {
		ID: "W301", Level: Warning, Title: "An administrator has no second factor", ask: askAdminsWithoutFactor,
		Explain: "Whoever learns the password of an administrator who has none can set one up in their place, and then has everybody's accounts.",
		Remedy:  "Let them sign in and set up a passkey or an authenticator app, or take the role away.",
	}, {
		ID: "W302", Level: Warning, Title: "Administrators may do without a second factor", judge: judgeAdminPolicy,
		Explain: "A password that is guessed, or typed into a page that looks like this one, is enough to take over every account.",
		Remedy:  "Add `role=admin => required` to mfa.policies.",
	}, {
		ID: "W303", Level: Error, Title: "Passkeys are of another RP ID", ask: askForeignPasskeys,
		Explain: "Browsers offer a passkey only where the relying party ID is the one that it was made for: those who have no other way cannot sign in.",
		Remedy:  "Set mfa.webauthn.rp_id, or the issuer, to what it was.",
	}, {
		ID: "W304", Level: Warning, Title: "A second factor can be put off for long", judge: judgeGrace,
		Explain: "Until the time is over a password is enough, and whoever has it may set up a second factor of their own first.",
		Remedy:  "Set mfa.enrol_grace to 7d or less.",
	}, {
		ID: "W305", Level: Info, Title: "An administrator has no recovery codes", ask: askAdminsWithoutCodes,
		Explain: "Who loses their second factor needs somebody with access to this machine to come in again.",
		Remedy:  "Let them make recovery codes at /account/recovery-codes, and keep them on paper.",
	}, {
		ID: "W306", Level: Info, Title: "Browsers may be trusted", judge: judgeTrustedBrowsers,
		Explain: "In a browser that somebody trusts a password is enough, also for whoever sits down at it. It never holds for administrators, nor where a relying party asks for two factors.",
		Remedy:  "Set mfa.trusted_browser.enabled to false, or mfa.trusted_browser.lifetime to a short time.",
	}, {
		ID: "W307", Level: Info, Title: "Secrets of apps are sealed with a former key", ask: askFormerKey,
		Explain: "Whoever learned a former root key, and has the database, reads these secrets and makes the apps' codes. Former root keys stay in secrets.keys after a reseal, too: recovery codes, tokens and cookies are MACs that were made under them and die with them, and no server starts without a key that the database knows.",
		Remedy:  "Run `postern key reseal`, and leave the former root keys in secrets.keys, behind the first.",
	}, {
		ID: "W403", Level: Info, Title: "There is no honeypot", judge: judgeHoneypot,
		Explain: "Those who look for old administration pages are not noticed.",
		Remedy:  "Remove honeypot.paths, or name paths that nothing else answers.",
	}, {
		ID: "W512", Level: Warning, Title: "A client's secret was made by somebody else", ask: askStretchedSecrets,
		Explain: "It is shorter than those that Postern generates, so that it may be guessed; each use of it costs a password's hash.",
		Remedy:  "Run `postern client rotate-secret ID`, and give the client the new one.",
	},
}
