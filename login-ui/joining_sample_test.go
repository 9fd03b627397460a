package loginui

import (
	"time"

	"postern/idp"
)

// samplePolicy is the help of a policy, as many lines as it can have.
var samplePolicy = []string{"At least 12 characters.", "Unlike your name, your e-mail address and the name of this site.", "On no list of common passwords.", "Not of digits alone.", "Hard to guess."}

// joiningSamples has the pages on which people come to an account, and come back to it.
func joiningSamples() []sample {
	mailed := "alice@example.com"
	return []sample{
		{"login with all ways", 200, func(f *frame) page {
			return &loginPage{frame: f, Tx: "TX", UsernameField: "username", PasswordField: "password", Party: grafana, AskAbout: true, Days: 14, CanSignUp: true, CanReset: true, ByCode: true, CanCancel: true}
		}},
		{"sign-up", 200, func(f *frame) page {
			return &signUpPage{frame: f, Tx: "TX", Party: grafana, Trap: "phone_number", Policy: samplePolicy, AskAbout: true, Days: 14, CanCancel: true}
		}},
		{"sign-up invited", 200, func(f *frame) page {
			return &signUpPage{frame: f, Tx: "TX", Invite: "INVITE", Bound: true, Email: longName.Email, Policy: samplePolicy}
		}},
		{"sign-up wrong", 400, func(f *frame) page {
			f.fail("username_taken", "username")
			f.fail("email_disposable", "email", "domain", "mailinator.com")
			f.fail("password_too_short", "password", "min", 12, "count", 7)
			f.fail("password_too_common", "password")
			return &signUpPage{frame: f, Tx: "TX", Party: app, Trap: "phone_number", Policy: samplePolicy, Username: `"><script>alert(1)</script>`, Email: "a@mailinator.com", Called: "Alice", AskAbout: true, Remember: true, Days: 14, CanCancel: true}
		}},
		{"sign-up throttled", 429, func(f *frame) page {
			throttle(f, "key", 20*time.Second)
			return &signUpPage{frame: f, Tx: "TX", Policy: samplePolicy, Username: "alice", Email: mailed}
		}},
		{"sign-up closed", 200, func(f *frame) page { return &signUpClosedPage{frame: f, Tx: "TX", Party: grafana} }},
		{"sign-up closed until", 403, func(f *frame) page {
			f.fail("signup_closed", "")
			return &signUpClosedPage{frame: f, Tx: "TX", Opens: sampleTime}
		}},
		{"sign-up invite over", 410, func(f *frame) page {
			f.fail("invite_over", "")
			return &signUpClosedPage{frame: f, Tx: "TX", Invited: true}
		}},
		{"verify", 200, func(f *frame) page { return &codePage{frame: f, Tx: "TX", Party: grafana, Mailed: mailed, Sent: true} }},
		{"verify of a user", 200, func(f *frame) page {
			f.Notice = &message{Code: "code_sent", Text: f.T("notice.code_sent")}
			return &codePage{frame: f, Tx: "TX", Mailed: longName.Email, Person: longName, Sent: true}
		}},
		{"verify unsent", 200, func(f *frame) page {
			return &codePage{frame: f, Tx: "TX", Mailed: mailed, Person: alice}
		}},
		{"verify without mail", 200, func(f *frame) page {
			return &codePage{frame: f, Tx: "TX", Party: grafana, Mailed: mailed, Person: alice, Off: true}
		}},
		{"verify recent", 429, func(f *frame) page {
			f.Notice = &message{Code: "throttled", Text: f.T("verify.recent", "span", f.span(9*time.Second))}
			return &codePage{frame: f, Tx: "TX", Mailed: mailed, Sent: true}
		}},
		{"verify wrong", 400, func(f *frame) page {
			f.fail("code_wrong", "code")
			return &codePage{frame: f, Tx: "TX", Party: grafana, Sent: true}
		}},
		{"verify over", 400, func(f *frame) page {
			f.fail("code_over", "")
			return &codePage{frame: f, Tx: "TX", Party: grafana, Mailed: mailed, Sent: true, Over: true}
		}},
		{"verify by link", 200, func(f *frame) page {
			return &codePage{frame: f, Tx: "TX", Party: grafana, Mailed: mailed, Sent: true, ByLink: true}
		}},
		{"verify by link somewhere", 200, func(f *frame) page { return &codePage{frame: f, Tx: "TX", Sent: true, ByLink: true} }},
		{"reset", 200, func(f *frame) page { return &resetPage{frame: f, Tx: "TX", Party: grafana} }},
		{"reset empty", 400, func(f *frame) page {
			f.fail("username_missing", "username")
			return &resetPage{frame: f, Tx: "TX"}
		}},
		{"reset throttled", 429, func(f *frame) page {
			throttle(f, "key", 20*time.Second)
			return &resetPage{frame: f, Tx: "TX", Username: "bob"}
		}},
		{"reset secured", 200, func(f *frame) page {
			f.Notice = &message{Code: "secured", Text: f.T("notice.secured")}
			return &resetPage{frame: f, Tx: "TX"}
		}},
		{"reset code", 200, func(f *frame) page {
			return &resetCodePage{codePage{frame: f, Tx: "TX", Party: grafana, Mailed: longName.Email, Sent: true}}
		}},
		{"reset code wrong", 400, func(f *frame) page {
			f.fail("code_wrong", "code")
			return &resetCodePage{codePage{frame: f, Tx: "TX", Mailed: mailed, Sent: true}}
		}},
		{"reset code over", 400, func(f *frame) page {
			f.fail("code_over", "")
			return &resetCodePage{codePage{frame: f, Tx: "TX", Sent: true, Over: true}}
		}},
		{"reset new", 200, func(f *frame) page {
			return &newPasswordPage{frame: f, Tx: "TX", Path: "/reset/new", Login: mailed, Policy: samplePolicy}
		}},
		{"reset new by link wrong", 400, func(f *frame) page {
			f.fail("password_too_short", "new_password", "min", 12, "count", 7)
			f.fail("password_too_common", "new_password")
			return &newPasswordPage{frame: f, Tx: "TX", Path: "/reset/link", Ticket: "TICKET", Login: mailed, Policy: samplePolicy}
		}},
		{"choose new", 200, func(f *frame) page {
			return &newPasswordPage{frame: f, Tx: "TX", Path: "/login/password", Login: mailed, Person: alice, Policy: samplePolicy}
		}},
		{"reset done", 200, func(f *frame) page { return &resetDonePage{frame: f, Tx: "TX"} }},
		{"reset done for an app", 200, func(f *frame) page { return &resetDonePage{frame: f, Tx: "TX", Party: grafana} }},
		{"log in by code", 200, func(f *frame) page { return &resetPage{frame: f, Tx: "TX", Party: grafana, LogIn: true} }},
		{"log in by code sent", 200, func(f *frame) page {
			return &enterCodePage{codePage: codePage{frame: f, Tx: "TX", Party: grafana, Mailed: mailed, Sent: true}, AskAbout: true, Days: 14, CanCancel: true}
		}},
		{"log in by code wrong", 400, func(f *frame) page {
			f.fail("code_wrong", "code")
			return &enterCodePage{codePage: codePage{frame: f, Tx: "TX", Sent: true}, AskAbout: true, Remember: true, Days: 14}
		}},
		{"log in by code over", 400, func(f *frame) page {
			f.fail("code_over", "")
			return &enterCodePage{codePage: codePage{frame: f, Tx: "TX", Mailed: mailed, Sent: true, Over: true}}
		}},
		{"link verify", 200, func(f *frame) page { return sampleLink(f, linkVerify, idp.Link{Address: mailed, SameBrowser: true}) }},
		{"link verify elsewhere", 200, func(f *frame) page {
			return sampleLink(f, linkVerify, idp.Link{Address: longName.Email, Username: "alice.liddell-in-wonderland"})
		}},
		{"link not me", 200, func(f *frame) page {
			p := sampleLink(f, linkNotMe, idp.Link{})
			p.Path, p.Ticket = "/secure/TICKET", ""
			return p
		}},
		{"link undelete", 200, func(f *frame) page { return sampleLink(f, linkUndelete, idp.Link{}) }},
		{"link revert", 200, func(f *frame) page { return sampleLink(f, linkRevert, idp.Link{Address: mailed}) }},
		{"link revert outdated", 400, func(f *frame) page {
			f.Notice = &message{Code: "page_outdated", Text: f.T("notice.page_outdated")}
			return sampleLink(f, linkRevert, idp.Link{Address: mailed})
		}},
		{"link verify confirmed", 200, func(f *frame) page { return confirmedPageOf(f, nil) }},
		{"link verify confirmed here", 200, func(f *frame) page { return confirmedPageOf(f, &idp.Visit{}) }},
		{"link verify over", 410, func(f *frame) page { return sampleOver(f, linkVerify) }},
		{"link reset over", 410, func(f *frame) page { return sampleOver(f, linkReset) }},
		{"link not me over", 410, func(f *frame) page { return sampleOver(f, linkNotMe) }},
		{"link undelete over", 410, func(f *frame) page { return sampleOver(f, linkUndelete) }},
		{"link revert over", 410, func(f *frame) page { return sampleOver(f, linkRevert) }},
	}
}

func sampleLink(f *frame, kind int, link idp.Link) *linkPage {
	p := linkPageOf(f, &linkKinds[kind], link)
	p.Tx, p.Path, p.Ticket = "TX", "/link", "TICKET"
	return p
}

func sampleOver(f *frame, kind int) page {
	f.fail("link_over", "")
	return linkOverPageOf(f, &linkKinds[kind])
}
