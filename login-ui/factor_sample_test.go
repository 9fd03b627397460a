package loginui

import (
	"time"

	"postern/idp"
)

// sampleKey is the passkey's part of a page.
func sampleKey(f *frame, kind keyKind, label string) *keyForm {
	return &keyForm{Kind: kind, Options: `{"challenge":"AAAA","rpId":"id.example.com"}`, State: "STATE", Action: "/login/passkey?tx=TX", Label: f.T(label)}
}

func sampleLogInKey(f *frame) *keyForm {
	key := sampleKey(f, keyUse, "login.passkey")
	key.Refresh, key.Mediation, key.Secondary = "/login/passkey/options", "conditional", true
	return key
}

// factorSamples has the pages about second factors and passkeys of a sign-in.
func factorSamples() []sample {
	proof := func(f *frame, way factorWay, others ...factorWay) *factorPage {
		p := &factorPage{frame: f, Tx: "TX", Party: grafana, Person: alice, Way: way, Others: others, Digits: 6, CanCancel: true}
		if way == byKey {
			p.Key = sampleKey(f, keyUse, "factor.key.use")
		}
		return p
	}
	enrol := func(f *frame, file string) *enrolPage {
		return &enrolPage{frame: f, Tx: "TX", Party: grafana, Person: alice, Why: f.T("enrol.why", "instance", f.Instance), CanCancel: true, file: file}
	}
	setup := func(f *frame) *enrolPage {
		p := enrol(f, "enrol-app.html")
		var err error
		p.Setup, err = f.appSetup(idp.TOTPSetup{
			URI:    "otpauth://totp/Acme:alice%40example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Acme",
			Secret: "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP", Issuer: "Acme", Account: "alice@example.com", Digits: 6,
		})
		if err != nil {
			panic(err)
		}
		return p
	}
	sudo := func(f *frame, way factorWay, others ...factorWay) *sudoPage {
		f.isolated = true
		p := &sudoPage{frame: f, Tx: "TX", Person: alice, Purpose: f.T("sudo.for./account/emails"), Way: way, Others: others, Digits: 6, Back: emailsPath}
		if way == byKey {
			p.Key = sampleKey(f, keyUse, "factor.key.use")
		}
		return p
	}
	return []sample{
		{"login with a passkey", 200, func(f *frame) page {
			return &loginPage{frame: f, Tx: "TX", UsernameField: "username", PasswordField: "password", Party: grafana, AskAbout: true, Days: 14, CanSignUp: true, ByCode: true, CanCancel: true, Key: sampleLogInKey(f)}
		}},
		{"login passkey unknown", 400, func(f *frame) page {
			f.fail("passkey_unknown", "")
			return &loginPage{frame: f, Tx: "TX", UsernameField: "username", PasswordField: "password", Party: grafana, CanCancel: true, Key: sampleLogInKey(f), Signal: signalUnknown("id.example.com", "AAAA")}
		}},
		{"login passkey late", 400, func(f *frame) page {
			f.fail("ceremony_over", "")
			return &loginPage{frame: f, Tx: "TX", UsernameField: "username", PasswordField: "password", Key: sampleLogInKey(f)}
		}},
		{"factor key", 200, func(f *frame) page { return proof(f, byKey, byApp, byRecovery) }},
		{"factor key asked for", 200, func(f *frame) page {
			p := proof(f, byKey)
			p.Why = f.T("stepup.key", "app", "Grafana")
			return p
		}},
		{"factor key refused", 400, func(f *frame) page {
			f.fail("passkey_refused", "")
			p := proof(f, byKey, byRecovery)
			p.Person, p.Party, p.CanCancel = longName, nil, false
			return p
		}},
		{"factor app", 200, func(f *frame) page {
			p := proof(f, byApp, byRecovery)
			p.MayTrust, p.TrustDays = true, 14
			return p
		}},
		{"factor app asked for", 200, func(f *frame) page {
			p := proof(f, byApp, byKey, byRecovery)
			p.Party, p.Why = app, f.T("stepup.app", "app", app.Name)
			return p
		}},
		{"factor app wrong", 400, func(f *frame) page {
			f.fail("code_wrong", "code")
			p := proof(f, byApp, byKey, byRecovery)
			p.MayTrust, p.Trust, p.TrustDays = true, true, 1
			return p
		}},
		{"factor app used", 400, func(f *frame) page {
			f.fail("code_used", "code")
			return proof(f, byApp, byRecovery)
		}},
		{"factor app malformed", 400, func(f *frame) page {
			f.fail("code_malformed", "code")
			return proof(f, byApp, byRecovery)
		}},
		{"factor app throttled", 429, func(f *frame) page {
			throttle(f, "user", 200*time.Second)
			return proof(f, byApp, byKey)
		}},
		{"factor outdated", 400, func(f *frame) page {
			f.Notice = &message{Code: "page_outdated", Text: f.T("notice.page_outdated")}
			return proof(f, byApp)
		}},
		{"factor recovery", 200, func(f *frame) page { return proof(f, byRecovery, byApp) }},
		{"factor none", 200, func(f *frame) page { return proof(f, "") }},
		{"enrol", 200, func(f *frame) page { return enrol(f, "enrol.html") }},
		{"enrol key alone", 200, func(f *frame) page {
			p := enrol(f, "enrol.html")
			p.KeyOne, p.Why = true, f.T("stepup.key", "app", "Grafana")
			return p
		}},
		{"enrol by a day", 200, func(f *frame) page {
			p := enrol(f, "enrol.html")
			p.Grace, p.Why = sampleTime, f.T("enrol.why.soon", "instance", f.Instance)
			return p
		}},
		{"enrol off", 403, func(f *frame) page {
			f.fail("factors_off", "")
			return enrol(f, "enrol.html")
		}},
		{"enrol too late", 200, func(f *frame) page {
			f.Notice = &message{Code: "app_setup_over", Text: f.T("notice.app_setup_over")}
			p := enrol(f, "enrol.html")
			p.Party, p.CanCancel = nil, false
			return p
		}},
		{"enrol app", 200, func(f *frame) page { return setup(f) }},
		{"enrol app wrong", 400, func(f *frame) page {
			f.fail("code_wrong", "code")
			return setup(f)
		}},
		{"enrol app of another time", 400, func(f *frame) page {
			f.fail("clock_off", "code", "seconds", 60)
			return setup(f)
		}},
		{"enrol key", 200, func(f *frame) page {
			p := enrol(f, "enrol-key.html")
			p.Key = sampleKey(f, keyMake, "enrol.key.make")
			return p
		}},
		{"enrol key refused", 400, func(f *frame) page {
			f.fail("passkey_model", "")
			p := enrol(f, "enrol-key.html")
			p.Key = sampleKey(f, keyMake, "enrol.key.make")
			return p
		}},
		{"enrolled", 200, func(f *frame) page {
			p := &enrolledPage{frame: f, Tx: "TX"}
			p.codesShown = (&UI{}).codesOf(f, &idp.User{Username: "alice"}, []string{
				"h4k79-qmd2x", "0b6tn-w3r9e", "zq8vy-1m5ca", "p2jd4-sx7fh", "gk9e3-n0twb", "c5ya1-v8rmz", "x3hqp-6d2ks", "7fwbt-e9n4j", "m1zcv-5yg8a", "r0s2x-kp6hd",
			})
			return p
		}},
		{"offer", 200, func(f *frame) page {
			return &offerPage{frame: f, Tx: "TX", Person: alice, Key: sampleKey(f, keyMake, "offer.make")}
		}},
		{"offer known", 400, func(f *frame) page {
			f.fail("passkey_known", "")
			return &offerPage{frame: f, Tx: "TX", Person: longName, Key: sampleKey(f, keyMake, "offer.make")}
		}},
		{"reauthenticate by key", 200, func(f *frame) page { return sudo(f, byKey, byApp, byRecovery) }},
		{"reauthenticate by app", 200, func(f *frame) page { return sudo(f, byApp, byRecovery) }},
		{"reauthenticate wrong code", 400, func(f *frame) page {
			f.fail("code_wrong", "code")
			return sudo(f, byRecovery, byKey)
		}},
		{"reauthenticate by password or key", 200, func(f *frame) page {
			p := sudo(f, byKey)
			p.Way, p.HasPassword, p.Key.Secondary = "", true, true
			return p
		}},
	}
}
