package loginui

import (
	"time"

	"postern/idp"
)

// sampleCodes are recovery codes.
var sampleCodes = []string{
	"h4k79-qmd2x", "0zt5e-9wb1c", "m3v8r-kk27y", "p6n4d-sa0fh", "7xj2q-tc5gw", "b9e1m-vz83k", "4rdyn-06phs", "qw8tc-2jx5a", "e7k3f-mb94z", "1ghv6-dn0sr",
}

// twoStepSamples has the pages about second factors of an account, each in its states.
func twoStepSamples() []sample {
	own := func(make func(*frame) page) func(*frame) page {
		return func(f *frame) page {
			f.isolated, f.Wide = true, true
			return make(f)
		}
	}
	year := sampleTime.AddDate(-1, 0, 0)
	phone := ownFactor{ID: "f1", Name: "My phone", Model: "Google Password Manager", Passkey: true, Synced: true, Added: year, UsedAt: sampleTime.AddDate(0, 0, -3)}
	key := ownFactor{ID: "f2", Name: "YubiKey 5", Passkey: true, Added: year, UsedAt: year}
	copied := ownFactor{ID: "f3", Name: `<script>alert(1)</script> ` + longName.Name, Passkey: true, Disabled: true, Added: year}
	app := ownFactor{ID: "f4", Added: sampleTime, UsedAt: sampleTime}
	used := func(f *frame, list ...ownFactor) []ownFactor {
		for i := range list {
			if list[i].ID == app.ID {
				list[i].Name = f.T("twostep.app")
			}
			list[i].Used = f.ago(sampleTime.Sub(list[i].UsedAt))
		}
		return list
	}
	set := func(left int) *idp.RecoverySet { return &idp.RecoverySet{CreatedAt: year, Left: left, Of: 10} }
	setup := func(f *frame) *appPage {
		p := &appPage{frame: f, Tx: "TX"}
		var err error
		p.Setup, err = f.appSetup(idp.TOTPSetup{
			URI:    "otpauth://totp/Acme%20%3A%20Caf%C3%A9:hubert.wolfeschlegelsteinhausenbergerdorff%40a-very-long-department.example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Acme%20%3A%20Caf%C3%A9&algorithm=SHA1&digits=6&period=30",
			Secret: "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP", Issuer: "Acme : Café", Account: longName.Email, Digits: 6,
		})
		if err != nil {
			panic(err)
		}
		return p
	}
	codes := func(f *frame, first bool) page {
		p := &newCodesPage{frame: f, First: first, To: codesPath}
		p.codesShown = (&UI{}).codesOf(f, &idp.User{Username: "alice", Email: "alice@example.com"}, sampleCodes)
		return p
	}
	return []sample{
		{"two-step off", 200, own(func(f *frame) page {
			return &twoStepPage{frame: f, Tx: "TX", CanAdd: true, CanKey: true}
		})},
		{"two-step on", 200, own(func(f *frame) page {
			f.Notice = &message{Code: "app_on", Text: f.T("notice.app_on")}
			return &twoStepPage{frame: f, Tx: "TX", On: true, CanAdd: true, CanKey: true, App: &used(f, app)[0], Passkeys: used(f, phone, key, copied), Recovery: set(7),
				Trusted: []trustedBrowser{
					{"aa", f.device("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"), "Cologne, Germany", sampleTime.AddDate(0, 0, 14), true},
					{"bb", f.device(""), "", sampleTime.AddDate(0, 0, 2), false},
				}}
		})},
		{"two-step soon required", 200, own(func(f *frame) page {
			return &twoStepPage{frame: f, Tx: "TX", CanAdd: true, CanKey: true, Grace: sampleTime.AddDate(0, 0, 7)}
		})},
		{"two-step few codes", 200, own(func(f *frame) page {
			return &twoStepPage{frame: f, Tx: "TX", On: true, CanAdd: true, App: &used(f, app)[0], Recovery: set(1), Few: true,
				Trusted: []trustedBrowser{{"bb", f.device("<b>"), "", sampleTime, false}}}
		})},
		{"two-step unproved", 200, own(func(f *frame) page { return &twoStepPage{frame: f, Tx: "TX", Unproved: true} })},
		{"two-step not here", 403, own(func(f *frame) page {
			f.fail("factors_off", "")
			return &twoStepPage{frame: f, Tx: "TX"}
		})},
		{"two-step remove app", 200, own(func(f *frame) page {
			return &removePage{frame: f, Tx: "TX", Factor: used(f, app)[0], Last: true, Back: twoStepPath}
		})},
		{"two-step remove passkey", 200, own(func(f *frame) page {
			return &removePage{frame: f, Tx: "TX", Factor: used(f, copied)[0], Back: passkeysPath}
		})},
		{"two-step remove required", 403, own(func(f *frame) page {
			f.fail("factor_required", "", "instance", f.Instance)
			return &removePage{frame: f, Tx: "TX", Factor: used(f, app)[0], Last: true, Back: twoStepPath,
				Ways: f.ways(addPasskeyPath, "passkeys.add", twoStepPath, "twostep.other")}
		})},
		{"two-step remove last way in", 403, own(func(f *frame) page {
			f.fail("last_way_in", "")
			return &removePage{frame: f, Tx: "TX", Factor: used(f, phone)[0], Last: true, Back: passkeysPath,
				Ways: f.ways(passwordPath, "password.title.first", addPasskeyPath, "twostep.remove.first")}
		})},
		{"two-step app", 200, own(func(f *frame) page { return setup(f) })},
		{"two-step app wrong", 400, own(func(f *frame) page {
			f.answered().fail("clock_off", "code", "seconds", 90)
			return setup(f)
		})},
		{"two-step app throttled", 429, own(func(f *frame) page {
			throttle(f.answered(), "user", 20*time.Second)
			return setup(f)
		})},
		{"passkeys", 200, own(func(f *frame) page {
			f.Notice = &message{Code: "passkey_added", Text: f.T("notice.passkey_added")}
			return &passkeysPage{frame: f, Tx: "TX", Passkeys: used(f, phone, key, copied), CanAdd: true, Signals: []*passkeySignal{
				signalAccepted("id.example.com", []byte("handle"), [][]byte{{1, 2}}), nil,
			}}
		})},
		{"passkeys none", 200, own(func(f *frame) page { return &passkeysPage{frame: f, Tx: "TX", CanAdd: true} })},
		{"passkeys rename", 200, own(func(f *frame) page {
			return &passkeysPage{frame: f, Tx: "TX", Passkeys: used(f, phone, key), Rename: "f2", Called: "YubiKey 5", CanAdd: true}
		})},
		{"passkeys rename wrong", 400, own(func(f *frame) page {
			f.fail("factor_name_too_long", "name", "max", 100)
			return &passkeysPage{frame: f, Tx: "TX", Passkeys: used(f, key), Rename: "f2", Called: `"><script>alert(1)</script>`, CanAdd: true}
		})},
		{"passkeys add", 200, own(func(f *frame) page {
			return &addPasskeyPage{frame: f, Tx: "TX", Key: sampleKey(f, keyMake, "passkeys.make")}
		})},
		{"passkeys add wrong", 400, own(func(f *frame) page {
			f.fail("factor_name_too_long", "name", "max", 100)
			return &addPasskeyPage{frame: f, Tx: "TX", Called: `"><script>alert(1)</script>`, Key: sampleKey(f, keyMake, "passkeys.make")}
		})},
		{"passkeys add full", 403, own(func(f *frame) page {
			f.fail("passkeys_full", "", "max", 50)
			return &addPasskeyPage{frame: f, Tx: "TX"}
		})},
		{"recovery codes", 200, own(func(f *frame) page {
			return &codesPage{frame: f, Tx: "TX", HasFactor: true, Set: set(7), ID: "s1"}
		})},
		{"recovery codes few", 200, own(func(f *frame) page {
			return &codesPage{frame: f, Tx: "TX", HasFactor: true, Set: set(3), ID: "s1", Few: true}
		})},
		{"recovery codes unconfirmed", 400, own(func(f *frame) page {
			f.fail("recovery_unconfirmed", "confirm")
			return &codesPage{frame: f, Tx: "TX", HasFactor: true, Set: set(0), ID: "s1", Few: true}
		})},
		{"recovery codes without a set", 200, own(func(f *frame) page { return &codesPage{frame: f, Tx: "TX", HasFactor: true} })},
		{"recovery codes without a factor", 400, own(func(f *frame) page {
			f.fail("no_factor", "")
			return &codesPage{frame: f, Tx: "TX"}
		})},
		{"recovery codes new", 200, own(func(f *frame) page { return codes(f, false) })},
		{"recovery codes first", 200, own(func(f *frame) page { return codes(f, true) })},
	}
}
