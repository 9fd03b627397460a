package idp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/config"
	"postern/idp"
	"postern/storage"
	"postern/storage/storagetest"
)

const formPassword = "violet tractor sings 42 times"

func signUpOpen(cfg *config.Config) { cfg.Signup.Mode = "open" }

func verification(kind string) func(*config.Config) {
	return func(cfg *config.Config) { cfg.Email.Verification = kind }
}

func enumeration(kind string) func(*config.Config) {
	return func(cfg *config.Config) { cfg.Login.PreventEnumeration = kind }
}

func byLink(cfg *config.Config) { cfg.Email.VerificationByCode = false }

// atBrowser is a context of a visitor with browser n, at an address of its own.
func atBrowser(t testing.TB, n byte, change ...func(*idp.Visitor)) context.Context {
	t.Helper()
	v := &idp.Visitor{
		Address: netip.AddrFrom4([4]byte{192, 0, 2, n}), UserAgent: "Browser/1.0", RequestID: "req-1", Browser: [32]byte(bytes.Repeat([]byte{n}, 32)), Locale: "de",
	}
	for _, c := range change {
		c(v)
	}
	return idp.WithVisitor(t.Context(), v)
}

func withPending(s idp.SignedIn) func(*idp.Visitor) {
	return func(v *idp.Visitor) { v.Pending = s.Token }
}

// latest is the Arg of the last mail of a kind to an address, after all jobs are done; "" for none.
func (h *house) latest(t testing.TB, m *postman, kind, to, arg string) string {
	t.Helper()
	h.doJobs(t)
	for i := len(m.mails) - 1; i >= 0; i-- {
		if mail := m.mails[i]; mail.Kind == kind && mail.To == to {
			return mail.Args[arg]
		}
	}
	return ""
}

// wrongCode is none of the codes of its length.
func wrongCode(code string) string {
	last := byte('0' + (code[len(code)-1]-'0'+1)%10)
	return code[:len(code)-1] + string(last)
}

func formOf(name string) idp.SignUp {
	return idp.SignUp{Username: name, Email: name + "@example.com", Password: formPassword}
}

func (h *house) signUp(t testing.TB, ctx context.Context, s idp.SignUp) (*idp.Interaction, idp.SignedIn) {
	t.Helper()
	in := h.BeginOwn("/")
	made, err := h.SignUp(ctx, in, s)
	if err != nil {
		t.Fatalf("sign up as %s: %v", s.Username, err)
	}
	return in, made
}

func (h *house) userCount(t testing.TB) int {
	t.Helper()
	list, err := h.Users(t.Context(), "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestS0_39_NoUserIsMadeBeforeTheAddressIsProved(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		ctx := atBrowser(t, 1)
		in, made := h.signUp(t, ctx, formOf("dave"))
		if !reflect.DeepEqual(made, idp.SignedIn{}) || in.Ticket.IsZero() || h.userCount(t) != 0 {
			t.Fatalf("got %+v, ticket %v and %d users, want a ticket alone", made, in.Ticket, h.userCount(t))
		}
		code := h.latest(t, m, "verify_code", "dave@example.com", "code")
		if len(code) != 6 {
			t.Fatalf("got the code %q", code)
		}
		_, err := h.VerifyCode(ctx, in, nil, wrongCode(code))
		wantError(t, err, idp.Denied, "code_wrong", "code")
		made, err = h.VerifyCode(ctx, in, nil, " "+code[:3]+"-"+code[3:]+"\n")
		if err != nil || made.Session.State != idp.Live || !h.alive(t, made.Token) || in.Authenticated != made.Session.Authentication || !in.Ticket.IsZero() {
			t.Fatalf("got %+v, %v and %+v, want a live session that in names", made, err, in)
		}
		u, err := h.FindUser(t.Context(), "dave")
		if err != nil || !u.EmailVerified || u.Email != "dave@example.com" || u.Locale != "de" {
			t.Errorf("got %+v and %v", u, err)
		}
		if _, err := h.LogIn(atBrowser(t, 2), h.BeginOwn("/"), idp.LogIn{Identifier: "dave", Password: formPassword}); err != nil {
			t.Errorf("sign in with the password of the form: %v", err)
		}
		if h.latest(t, m, "welcome", u.Email, "username") != "dave" {
			t.Errorf("sent %s, want a welcome", m.kinds())
		}
	}, signUpOpen)
}

// A dump is what a sign-up answers and leaves.
type dump struct {
	made       idp.SignedIn
	code       string
	hasTicket  bool
	statements string
	waits      []time.Duration
}

// eachWatched is each, with the statements that are sent to the database.
func eachWatched(t *testing.T, test func(t *testing.T, h *house, sent func() string), change ...func(*config.Config)) {
	t.Helper()
	t.Parallel()
	var mu sync.Mutex
	var verbs []string
	o := storage.Options{OnStatement: func(sql string) {
		mu.Lock()
		defer mu.Unlock()
		words := strings.Fields(sql)
		verbs = append(verbs, strings.Join(words[:min(3, len(words))], " "))
	}}
	storagetest.EachOptions(t, o, func(t *testing.T, s *storage.Store) {
		h := open(t, s, change...)
		test(t, h, func() string {
			mu.Lock()
			defer mu.Unlock()
			all := strings.Join(verbs, "\n")
			verbs = nil
			return all
		})
	})
}

func TestS0_24_SigningUpWithATakenAddressIsAnsweredAlike(t *testing.T) {
	eachWatched(t, func(t *testing.T, h *house, sent func() string) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		seen := map[string]dump{}
		for i, email := range []string{"alice@example.com", "new@example.com"} {
			in, ctx := h.BeginOwn("/"), atBrowser(t, byte(i+1))
			f := formOf(fmt.Sprintf("user%d", i))
			f.Email = email
			sent()
			h.waits.list = nil
			made, err := h.SignUp(ctx, in, f)
			d := dump{made: made, code: idp.CodeOf(err), hasTicket: !in.Ticket.IsZero(), statements: sent(), waits: h.waits.list}
			for _, wrong := range []string{"000000", "1", "", "999999"} {
				_, err := h.VerifyCode(ctx, in, nil, wrong)
				d.code += " " + idp.CodeOf(err)
			}
			d.statements += sent()
			seen[email] = d
		}
		if taken, free := seen["alice@example.com"], seen["new@example.com"]; !reflect.DeepEqual(taken, free) || !free.hasTicket {
			t.Errorf("taken %+v\nfree  %+v", taken, free)
		}
		h.doJobs(t)
		if got := m.kinds(); got != "account_exists verify_code" || h.userCount(t) != 1 {
			t.Errorf("sent %q, %d users", got, h.userCount(t))
		}
	}, signUpOpen)
}

func TestS0_25_OfSeveralWhoClaimAnAddressTheFirstToProveItHasIt(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		claim := func(n byte, name string) idp.SignedIn {
			f := formOf(name)
			f.Email = "shared@example.com"
			_, made := h.signUp(t, atBrowser(t, n), f)
			return made
		}
		first := claim(1, "mallory")
		linkOfFirst := h.latest(t, m, "verify_link", "shared@example.com", "link")
		second := claim(2, "ursula")
		linkOfSecond := h.latest(t, m, "verify_link", "shared@example.com", "link")
		if !h.alive(t, first.Token) || !h.alive(t, second.Token) || linkOfFirst == linkOfSecond {
			t.Fatal("want two live accounts, and a link for each")
		}
		token := func(link string) string { _, token, _ := strings.Cut(link, "ticket="); return token }
		if made, err := h.VerifyLink(atBrowser(t, 3), token(linkOfSecond)); err != nil || !made.Token.IsZero() {
			t.Fatalf("got %+v and %v", made, err)
		}
		_, err := h.VerifyLink(atBrowser(t, 1), token(linkOfFirst))
		wantError(t, err, idp.Denied, "link_over", "")
		if s, err := h.LogIn(atBrowser(t, 6), h.BeginOwn("/"), idp.LogIn{Identifier: "mallory", Password: formPassword}); err != nil {
			t.Errorf("by the username of who lost: %+v and %v", s, err)
		}
		loser, _ := h.FindUser(t.Context(), "mallory")
		winner, _ := h.FindUser(t.Context(), "ursula")
		if loser.Email != "" || !winner.EmailVerified || winner.Email != "shared@example.com" {
			t.Errorf("loser %+v, winner %+v", loser, winner)
		}
		if s, err := h.LogIn(atBrowser(t, 4), h.BeginOwn("/"), idp.LogIn{Identifier: "shared@example.com", Password: formPassword}); err != nil || s.User.ID != winner.ID {
			t.Errorf("by the address %+v and %v, want the winner", s.User, err)
		}
		f := formOf("third")
		f.Email = "shared@example.com"
		if _, made := h.signUp(t, atBrowser(t, 5), f); made.Token.IsZero() {
			t.Error("a third is answered otherwise")
		}
		third, _ := h.FindUser(t.Context(), "third")
		h.doJobs(t)
		if third.Email != "" || !strings.Contains(m.kinds(), "account_exists") {
			t.Errorf("third %+v, sent %s", third, m.kinds())
		}
	}, signUpOpen, verification("optional"), enumeration("strict"))
}

func TestS0_25_AStrangersSignUpTakesNoAddressFromWhoHasIt(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		dave := h.addUnverified(t) // the only one who claims it
		f := formOf("mallory")
		f.Email = "dave@example.com"
		_, made := h.signUp(t, atBrowser(t, 1), f)
		if s, err := h.tryLogIn(t, "192.0.2.9", "dave@example.com", alicePassword); err != nil || s.User.ID != dave.ID {
			t.Errorf("by the address: got %+v and %v, want dave", s.User, err)
		}
		if err := h.RequestReset(atBrowser(t, 2), h.BeginOwn("/"), "dave@example.com"); err != nil {
			t.Fatal(err)
		}
		if mail := h.only(t, m, "reset"); mail.To != "dave@example.com" || mail.Args["name"] != "dave" {
			t.Errorf("sent %+v, want a reset of dave's account", mail)
		}
		// Nothing of the stranger's account tells relying parties that the address is theirs.
		if v := h.visitOf(t, made); v.User.Email != "" || made.User.Email != "" {
			t.Errorf("the stranger's account has the address %q", v.User.Email)
		}
	}, signUpOpen, verification("optional"), enumeration("strict"))
}

func TestS0_24_S0_25_WhereVerificationIsOptionalASignUpDoesNotTellWhoHasAnAddress(t *testing.T) {
	eachWatched(t, func(t *testing.T, h *house, sent func() string) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		h.addUnverified(t)
		seen := map[string]dump{}
		for i, email := range []string{"alice@example.com", "dave@example.com", "new@example.com"} {
			in, ctx := h.BeginOwn("/"), atBrowser(t, byte(i+1))
			f := formOf(fmt.Sprintf("user%d", i))
			f.Email = email
			sent()
			h.waits.list = nil
			made, err := h.SignUp(ctx, in, f)
			d := dump{code: idp.CodeOf(err), hasTicket: !in.Ticket.IsZero(), statements: sent(), waits: h.waits.list}
			own, err := h.Emails(ctx, h.visitOf(t, made))
			if err != nil || len(own) != 0 || made.User.Email != "" {
				t.Errorf("%s: the account has %+v and %q, %v", email, own, made.User.Email, err)
			}
			seen[email] = d
		}
		for email, d := range seen {
			if free := seen["new@example.com"]; !reflect.DeepEqual(d, free) {
				t.Errorf("%s %+v\nfree %+v", email, d, free)
			}
		}
		h.doJobs(t)
		if got := m.kinds(); got != "account_exists verify_link verify_link" {
			t.Errorf("sent %q", got)
		}
		if mail := h.only(t, m, "account_exists"); mail.To != "alice@example.com" || mail.Args["for"] != "address" {
			t.Errorf("sent %+v, want it to alice", mail)
		}
		// Once it is proved it is theirs, and the primary one.
		token := linkToken(h.latest(t, m, "verify_link", "new@example.com", "link"))
		if _, err := h.VerifyLink(atBrowser(t, 9), token); err != nil {
			t.Fatal(err)
		}
		if u, err := h.FindUser(t.Context(), "user2"); err != nil || u.Email != "new@example.com" || !u.EmailVerified {
			t.Errorf("got %+v and %v", u, err)
		}
	}, signUpOpen, verification("optional"), enumeration("strict"))
}

func TestS0_25_AnAddressThatSeveralClaimIsNotFreeOnceTheSettingsAllowOne(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUnverified(t)
		h.addUser(t, "bob")
		bob, err := h.FindUser(t.Context(), "bob")
		if err != nil {
			t.Fatal(err)
		}
		now := h.Now()
		err = h.store.AddEmail(t.Context(), idp.Email{
			ID: idp.NewID(now), UserID: bob.ID, Address: "dave@example.com", Key: "dave@example.com", CreatedAt: now,
		})
		if err != nil {
			t.Fatal(err)
		}
		f := formOf("third")
		f.Email = "dave@example.com"
		for kind, want := range map[string]string{"optional": "email_taken", "none": "email_taken", "mandatory": ""} {
			h.cfg.Email.Verification = kind
			if _, err := h.SignUp(atBrowser(t, 1), h.BeginOwn("/"), f); idp.CodeOf(err) != want {
				t.Errorf("%s: got %v, want %q", kind, err, want)
			}
		}
		if mail := h.only(t, m, "account_exists"); mail.To != "dave@example.com" || mail.Args["for"] != "sign_up" {
			t.Errorf("sent %+v", mail)
		}
		if _, err := h.tryLogIn(t, "192.0.2.9", "dave@example.com", alicePassword); idp.CodeOf(err) != "invalid_credentials" {
			t.Errorf("by an address that two claim: got %v, want nobody found", err)
		}
	}, signUpOpen)
}

func TestS0_24_S0_41_WithoutVerificationStrictTellsWhatTrueTells(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		h.addUser(t, "alice")
		h.addUnverified(t)
		for _, email := range []string{"alice@example.com", "dave@example.com"} {
			f := formOf("mallory")
			f.Email = email
			_, err := h.SignUp(atBrowser(t, 1), h.BeginOwn("/"), f)
			wantError(t, err, idp.Conflict, "email_taken", "email")
		}
		if _, made := h.signUp(t, atBrowser(t, 2), formOf("ursula")); made.User.Email != "ursula@example.com" {
			t.Errorf("got %+v, want the address at once", made.User)
		}
		h.doJobs(t)
		if m.kinds() != "" {
			t.Errorf("sent %s", m.kinds())
		}
	}, signUpOpen, verification("none"), enumeration("strict"))
}

func TestS0_28_WhereTheSettingsTellWhoHasAnAccountAllSaySo(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.withPostman(t)
		h.addUser(t, "alice")
		_, err := h.tryLogIn(t, "192.0.2.1", "zoe", alicePassword)
		wantError(t, err, idp.Denied, "unknown_account", "")
		_, err = h.tryLogIn(t, "192.0.2.1", "alice", "wrong password")
		wantError(t, err, idp.Denied, "invalid_credentials", "")
		wantError(t, h.RequestLogInCode(atBrowser(t, 1), h.BeginOwn("/"), "zoe"), idp.Denied, "unknown_account", "")
		f := formOf("other")
		f.Email = "alice@example.com"
		_, err = h.SignUp(atBrowser(t, 1), h.BeginOwn("/"), f)
		wantError(t, err, idp.Conflict, "email_taken", "email")
	}, signUpOpen, enumeration("false"), func(cfg *config.Config) { cfg.Login.Code.Enabled = true })
}

func TestS0_40_WhereVerificationIsOptionalPeopleAreInAtOnceAndAreMailed(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		in, made := h.signUp(t, atBrowser(t, 1), formOf("dave"))
		v, err := h.Visit(t.Context(), made.Token, "")
		if err != nil || v.User.EmailVerified || v.User.Email != "dave@example.com" || in.Authenticated != made.Session.Authentication {
			t.Fatalf("got %+v and %v", v, err)
		}
		if need := idp.NextStep(in, v, h.PolicyFor(nil), h.Now()); need.Step != idp.NoStep {
			t.Errorf("owes %v", need)
		}
		_, token, _ := strings.Cut(h.latest(t, m, "verify_link", "dave@example.com", "link"), "ticket=")
		if _, err := h.VerifyLink(atBrowser(t, 9), token); err != nil {
			t.Fatal(err)
		}
		if v, err = h.Visit(t.Context(), made.Token, ""); err != nil || !v.User.EmailVerified {
			t.Errorf("got %+v and %v, want it verified in the same session", v, err)
		}
	}, signUpOpen, verification("optional"))
}

func TestS0_41_WithoutVerificationNothingIsMailed(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		_, made := h.signUp(t, atBrowser(t, 1), formOf("dave"))
		h.doJobs(t)
		if u, _ := h.FindUser(t.Context(), "dave"); u.EmailVerified || !h.alive(t, made.Token) || len(m.mails) != 0 {
			t.Errorf("got %+v and the mails %s", u, m.kinds())
		}
		f := formOf("other")
		f.Email = "dave@example.com"
		_, err := h.SignUp(atBrowser(t, 2), h.BeginOwn("/"), f)
		wantError(t, err, idp.Conflict, "email_taken", "email")
	}, signUpOpen, verification("none"))
}

func TestAllThatIsWrongWithASignUpIsToldAtOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.withPostman(t)
		_, err := h.SignUp(atBrowser(t, 1), h.BeginOwn("/"), idp.SignUp{Username: "x", Email: "nobody", Password: "short"})
		e, ok := errors.AsType[*idp.Error](err)
		if !ok || e.Kind != idp.Invalid {
			t.Fatalf("got %v", err)
		}
		fields := map[string]bool{e.Field: true}
		for _, more := range e.More {
			fields[more.Field] = true
		}
		if want := map[string]bool{"username": true, "email": true, "password": true}; !reflect.DeepEqual(fields, want) {
			t.Errorf("got %v, want %v", fields, want)
		}
		h.addUser(t, "alice")
		_, err = h.SignUp(atBrowser(t, 1), h.BeginOwn("/"), idp.SignUp{Username: "ALICE", Email: "x@example.com", Password: formPassword})
		wantError(t, err, idp.Conflict, "username_taken", "username")
	}, signUpOpen)
}

func TestS0_89_AProgramThatFillsTheHiddenFieldIsAnsweredLikeAPerson(t *testing.T) {
	for _, kind := range []string{"mandatory", "none"} {
		t.Run(kind, func(t *testing.T) {
			each(t, func(t *testing.T, h *house) {
				m := h.withPostman(t)
				person, program := formOf("person"), formOf("program")
				program.Trap = "+1 555 0100"
				inOne, one := h.signUp(t, atBrowser(t, 1), person)
				inTwo, two := h.signUp(t, atBrowser(t, 2), program)
				if one.Token.IsZero() != two.Token.IsZero() || inOne.Ticket.IsZero() != inTwo.Ticket.IsZero() ||
					inOne.Authenticated.IsZero() != inTwo.Authenticated.IsZero() || (one.Device == nil) != (two.Device == nil) {
					t.Errorf("a person %+v\na program %+v", one, two)
				}
				if h.alive(t, two.Token) || h.count(t, "signup.honeypot") != 1 || h.latest(t, m, "verify_code", "program@example.com", "code") != "" {
					t.Error("something came of it, or nothing was logged")
				}
				if _, err := h.FindUser(t.Context(), "program"); !errors.Is(err, idp.ErrNotFound) {
					t.Errorf("got %v, want no user", err)
				}
			}, signUpOpen, verification(kind))
		})
	}
}

func TestS0_90_ClosedSignUpTakesNobody(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		_, err := h.SignUp(atBrowser(t, 1), h.BeginOwn("/"), formOf("dave"))
		wantError(t, err, idp.Denied, "signup_closed", "")
		s, err := h.SignUpState(atBrowser(t, 1), "")
		if err != nil || s != (idp.SignUpState{}) || h.SignUpOpen() {
			t.Errorf("got %+v and %v, want it closed", s, err)
		}
		in := &idp.Interaction{Request: idp.Request{ClientID: "rp", Prompts: idp.List{"create"}}}
		if need := idp.NextStep(in, nil, h.PolicyFor(nil), h.Now()); need.Step != idp.StepLogIn {
			t.Errorf("prompt=create leads to %v", need)
		}
	})
}

func TestS0_92_SignUpIsOpenFromTheFirstMinuteAndBeforeTheLast(t *testing.T) {
	// noon is 13:00 in Berlin, in winter; 2026-03-29 begins summer there.
	for name, tc := range map[string]struct {
		signup config.Signup
		at     string
		open   bool
		next   string
	}{
		"before the hours":      {config.Signup{OpenHours: "09:00-17:00 Europe/Berlin"}, "2026-03-02T07:59:59Z", false, "2026-03-02T08:00:00Z"},
		"first minute":          {config.Signup{OpenHours: "09:00-17:00 Europe/Berlin"}, "2026-03-02T08:00:00Z", true, ""},
		"last minute":           {config.Signup{OpenHours: "09:00-17:00 Europe/Berlin"}, "2026-03-02T15:59:59Z", true, ""},
		"after the hours":       {config.Signup{OpenHours: "09:00-17:00 Europe/Berlin"}, "2026-03-28T16:00:00Z", false, "2026-03-29T07:00:00Z"},
		"in summer":             {config.Signup{OpenHours: "09:00-17:00 Europe/Berlin"}, "2026-06-02T07:00:00Z", true, ""},
		"over midnight, late":   {config.Signup{OpenHours: "22:00-06:00 UTC"}, "2026-03-02T23:00:00Z", true, ""},
		"over midnight, early":  {config.Signup{OpenHours: "22:00-06:00 UTC"}, "2026-03-02T05:59:59Z", true, ""},
		"over midnight, at day": {config.Signup{OpenHours: "22:00-06:00 UTC"}, "2026-03-02T06:00:00Z", false, "2026-03-02T22:00:00Z"},
		"to the end of the day": {config.Signup{OpenHours: "09:00-00:00 UTC"}, "2026-03-02T23:59:59Z", true, ""},
		"before open_from":      {config.Signup{OpenFrom: "2026-03-05T12:00:00+01:00"}, "2026-03-05T10:59:59Z", false, "2026-03-05T11:00:00Z"},
		"at open_from":          {config.Signup{OpenFrom: "2026-03-05T12:00:00+01:00"}, "2026-03-05T11:00:00Z", true, ""},
		"before open_until":     {config.Signup{OpenUntil: "2026-03-05T12:00:00Z"}, "2026-03-05T11:59:59Z", true, ""},
		"at open_until":         {config.Signup{OpenUntil: "2026-03-05T12:00:00Z"}, "2026-03-05T12:00:00Z", false, ""},
		"no day is left":        {config.Signup{OpenUntil: "2026-03-05T12:00:00Z", OpenHours: "09:00-10:00 UTC"}, "2026-03-05T10:00:00Z", false, ""},
		"hours after open_from": {config.Signup{OpenFrom: "2026-03-05T12:00:00Z", OpenHours: "09:00-10:00 UTC"}, "2026-03-01T10:00:00Z", false, "2026-03-06T09:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := idp.ReadSignUpWindow(&tc.signup)
			at, _ := time.Parse(time.RFC3339, tc.at)
			if err != nil || idp.WindowOpen(&w, at) != tc.open {
				t.Fatalf("got %v and %v, want %v", !tc.open, err, tc.open)
			}
			if tc.open {
				return
			}
			next, _ := time.Parse(time.RFC3339, tc.next)
			if got := idp.WindowNext(&w, at); !got.Equal(next) {
				t.Errorf("opens at %v, want %v", got, next)
			}
		})
	}
	for _, bad := range []config.Signup{
		{OpenFrom: "tomorrow"}, {OpenUntil: "2026-03-05"}, {OpenHours: "9-17"}, {OpenHours: "09:00-17:00"}, {OpenHours: "09:00-17:00 Mars/Base"},
		{OpenHours: "09:00-09:00 UTC"}, {OpenHours: "25:00-09:00 UTC"}, {OpenHours: "9:00-10:00 UTC"},
	} {
		if _, err := idp.ReadSignUpWindow(&bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

func TestS0_92_AClosedHourIsSaidWithTheNext(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.withPostman(t)
		s, err := h.SignUpState(atBrowser(t, 1), "")
		if want := time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC); err != nil || s.Open || !s.OpensAt.Equal(want) {
			t.Errorf("got %+v and %v, want it at %v", s, err, want)
		}
		_, err = h.SignUp(atBrowser(t, 1), h.BeginOwn("/"), formOf("dave"))
		wantError(t, err, idp.Denied, "signup_closed", "")
		h.clock.turn(time.Hour)
		h.signUp(t, atBrowser(t, 1), formOf("dave"))
	}, signUpOpen, func(cfg *config.Config) { cfg.Signup.OpenHours = "14:00-15:00 Europe/Berlin" })
}

func TestS0_91_AnInviteLetsOneInOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		m := h.withPostman(t)
		_, err := h.SignUp(atBrowser(t, 1), h.BeginOwn("/"), formOf("dave"))
		wantError(t, err, idp.Denied, "signup_closed", "")
		_, bound, err := h.AddInvite(t.Context(), idp.NewInvite{Email: "Dave@example.com", Groups: idp.List{"staff"}})
		if err != nil || !strings.HasSuffix(h.latest(t, m, "invite", "Dave@example.com", "link"), "/signup?invite="+bound) {
			t.Fatalf("got %v, sent %s", err, m.kinds())
		}
		if s, err := h.SignUpState(atBrowser(t, 1), bound); err != nil || !s.Open || s.EmailOf != "Dave@example.com" {
			t.Errorf("got %+v and %v", s, err)
		}
		if s, err := h.SignUpState(atBrowser(t, 1), "none"); err != nil || s.Open || !s.InviteBad {
			t.Errorf("got %+v and %v", s, err)
		}
		other := formOf("eve")
		other.Invite = bound
		_, err = h.SignUp(atBrowser(t, 2), h.BeginOwn("/"), other)
		wantError(t, err, idp.Invalid, "invite_email", "email")
		f := formOf("dave")
		f.Invite = bound
		h.signUp(t, atBrowser(t, 1), f)
		if u, err := h.FindUser(t.Context(), "dave"); err != nil || !reflect.DeepEqual(u.Groups, idp.List{"staff"}) {
			t.Errorf("got %+v and %v", u, err)
		}
		again := formOf("again")
		again.Invite = bound
		_, err = h.SignUp(atBrowser(t, 1), h.BeginOwn("/"), again)
		wantError(t, err, idp.Denied, "invite_over", "")

		one, token, err := h.AddInvite(t.Context(), idp.NewInvite{})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.RevokeInvite(t.Context(), one.ID); err != nil {
			t.Fatal(err)
		}
		again.Invite = token
		_, err = h.SignUp(atBrowser(t, 1), h.BeginOwn("/"), again)
		wantError(t, err, idp.Denied, "invite_over", "")
		if err := h.RevokeInvite(t.Context(), one.ID); !errors.Is(err, idp.ErrNotFound) {
			t.Errorf("twice revoked: %v", err)
		}
		h.clock.turn(time.Second)
		late, token, err := h.AddInvite(t.Context(), idp.NewInvite{})
		if err != nil {
			t.Fatal(err)
		}
		h.clock.turn(late.ExpiresAt.Sub(h.Now()))
		again.Invite = token
		_, err = h.SignUp(atBrowser(t, 1), h.BeginOwn("/"), again)
		wantError(t, err, idp.Denied, "invite_over", "")
		list, err := h.Invites(t.Context(), idp.ID{}, 10)
		if err != nil || len(list) != 3 || list[0].ID != late.ID {
			t.Errorf("got %+v and %v", list, err)
		}
	}, func(cfg *config.Config) { cfg.Signup.Mode, cfg.Email.Verification = "invite", "none" })
}

// atOnce runs n deeds at a time and counts those that came to nothing wrong.
func atOnce(n int, do func(i int) error) (done int, codes map[string]int) {
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	codes = map[string]int{}
	for _, err := range errs {
		if err == nil {
			done++
			continue
		}
		code := idp.CodeOf(err)
		if code == "" {
			code = err.Error()
		}
		codes[code]++
	}
	return done, codes
}

func noLimits(cfg *config.Config) { cfg.RateLimits.Off = true }

func TestS0_91_TwentyAtATimeWithOneInviteMakeOneAccount(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		_, token, err := h.AddInvite(t.Context(), idp.NewInvite{})
		if err != nil {
			t.Fatal(err)
		}
		done, codes := atOnce(20, func(i int) error {
			f := formOf(fmt.Sprintf("racer%02d", i))
			f.Invite = token
			_, err := h.SignUp(atBrowser(t, byte(i)), h.BeginOwn("/"), f)
			return err
		})
		if done != 1 || codes["invite_over"] != 19 || h.userCount(t) != 1 {
			t.Errorf("%d were let in, %v, %d users", done, codes, h.userCount(t))
		}
	}, noLimits, func(cfg *config.Config) { cfg.Signup.Mode, cfg.Email.Verification = "invite", "none" })
}
