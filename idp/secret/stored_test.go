package secret

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// An imported hash was made by another program: Django, passlib, argon2-cffi, the bcrypt of
// OpenBSD, Python's hashlib and Firebase's own example.
type imported struct {
	name, hash, password string
	scheme               string // what Recognize says
}

const (
	horse = "correct horse"
	umlau = "pässwörd€"
)

var imports = []imported{
	{"argon2id", "$argon2id$v=19$m=128,t=2,p=3$MDEyMzQ1Njc4OWFiY2RlZg$LNw1UQ66BI81fna1PwzOugSM2nQ0aamCgskArALc0zo", horse, "$argon2id$v=19$m=128,t=2,p=3"},
	{"argon2id, short", "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$UZQMfnXNUwDaNYeqGGRZ/g", horse, "$argon2id$v=19$m=64,t=1,p=1"},
	{"argon2i", "$argon2i$v=19$m=128,t=2,p=3$MDEyMzQ1Njc4OWFiY2RlZg$nCA9ufAFQn2wnP5IsNcm1qaqWuOhGUg9drabEO5znR8", horse, "$argon2i$v=19$m=128,t=2,p=3"},
	{"argon2d", "$argon2d$v=19$m=128,t=2,p=3$MDEyMzQ1Njc4OWFiY2RlZg$aJaPbKfLaT3cXdW4Sy7fncmw/7FPJC46AT8qUR263Cg", horse, "$argon2d$v=19$m=128,t=2,p=3"},
	{"argon2 of Django", "argon2$argon2id$v=19$m=64,t=2,p=2$c2Vhc2FsdHNlYXNhbHQ$HH/asRCdxgOWd6YBt2F25pR4p4jYjoNC8IvSSkpCL5s", horse, "$argon2id$v=19$m=64,t=2,p=2"},
	{"argon2 of OpenLDAP", "{ARGON2}$argon2i$v=19$m=128,t=2,p=3$MDEyMzQ1Njc4OWFiY2RlZg$nCA9ufAFQn2wnP5IsNcm1qaqWuOhGUg9drabEO5znR8", horse, "$argon2i$v=19$m=128,t=2,p=3"},

	{"bcrypt 2a", "$2a$05$ivfGite8B0FqfpUSwSsagefk3FZWUesKf/GBJosR8.EKQEXlHjpQi", horse, "$2a$05"},
	{"bcrypt 2b", "$2b$05$op8.L5nVczyr6Nf.iww2zeINzpoW9catNVQgsSH6nmZ70xTkkdsIy", horse, "$2b$05"},
	{"bcrypt 2y", "$2y$05$4ErvI5n18hTss/S5YeM3qOmdpzc1ZF8NjunFWGnOSOltLhxxg2pa2", horse, "$2y$05"},
	{"bcrypt, beyond ASCII", "$2b$04$wRYKGG5FUSGRRwFzyuOOSelx5V2Atfl8jILY6dCDl/tffxfM4YMRG", umlau, "$2b$04"},
	{"bcrypt, empty password", "$2b$04$1bXcSVPdysO11Gobd95.EulombrrZ9ovAI4n7Dr8Uj/sWCH95x4.2", "", "$2b$04"},
	{"bcrypt of Django", "bcrypt$$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e", horse, "$2b$04"},
	{"bcrypt_sha256 of Django", "bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuuIvyWZlBcE3WoQXKqRnwrLYJ6nenE0Bq", horse, "bcrypt_sha256$$2b$04"},
	{"bcrypt_sha256 of Django, long", "bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuusEjiexpLkekKA1BLCnmrJiMiwylYS6a", strings.Repeat("语", 100), "bcrypt_sha256$$2b$04"},

	{"pbkdf2_sha1 of Django", "pbkdf2_sha1$1000$seasalt$iQvkNOF1wEL4Khh8eogJ8rUhipM=", horse, "$pbkdf2-sha1$i=1000,l=20"},
	{"pbkdf2_sha256 of Django", "pbkdf2_sha256$1000$seasalt$mQnueSakb748zqBAC1tmWVZsZbi2zPGZarEzTGdfmso=", horse, "$pbkdf2-sha256$i=1000,l=32"},
	{"pbkdf2_sha512 like Django's", "pbkdf2_sha512$1000$seasalt$CBx2rkpvjyEAoopNVuRZWOOxTTRwoV6JjrHARZAmWoRGf7Bll/+N6ttV/4gWvtd16NJ94OpVpZHm44IdMrFULg==", horse, "$pbkdf2-sha512$i=1000,l=64"},
	{"PBKDF2 of passlib, SHA-1", "$pbkdf2$1000$nrO2NoZQSqmVUooxZgxhTA$tGVP15j6HDudZt7/GzzHcGkn/lQ", horse, "$pbkdf2-sha1$i=1000,l=20"},
	{"PBKDF2 of passlib, SHA-256", "$pbkdf2-sha256$1000$zrk35tx7jxHiPAdgTGktZQ$ACT6oBnkfBm04.6F1k9rYFB1O.rHt410/WLOITi0PJ4", horse, "$pbkdf2-sha256$i=1000,l=32"},
	{"PBKDF2 of passlib, SHA-512", "$pbkdf2-sha512$1000$gLCW0prTunfundM6R.jdWw$ZOIE6YF5716v/6dTibHzQYdXP9Tj5zu5R12oNjfxI1Ws8Xh15ivk..VRygWSFRxk3WSZF4NMVitdYSXGdgOTYA", horse, "$pbkdf2-sha512$i=1000,l=64"},
	{"PBKDF2 of OpenLDAP", "{PBKDF2-SHA256}1000$zrk35tx7jxHiPAdgTGktZQ$ACT6oBnkfBm04.6F1k9rYFB1O.rHt410/WLOITi0PJ4", horse, "$pbkdf2-sha256$i=1000,l=32"},
	{"PBKDF2, PHC, of two blocks", "$pbkdf2-sha256$i=1000,l=64$MDEyMzQ1Njc4OWFiY2RlZg$cBg8D2DungRB9k76szThf5ehfyBz991ay6PT8Srwk4NQEC0GVAwWLSUGWbcye1xU+dO7fZFld1DsscNlAN1uxw", horse, "$pbkdf2-sha256$i=1000,l=64"},
	{"PBKDF2, PHC, without length", "$pbkdf2-sha512$i=1000$MDEyMzQ1Njc4OWFiY2RlZg$OM0FAoIqCVK1sWtxDiffVlBejtLa+ks4TP71JiecwuSZCG8iLbnlIEPOMoVX+i2B2wkSxjQ8CRGR9OkNGuIPMQ", horse, "$pbkdf2-sha512$i=1000,l=64"},

	{"scrypt of Django", "scrypt$1024$seasalt$8$2$NAtGFLPds6xXQeOUFi2f7WDR2+o4Rx6gTvB6Q9yuQ+oB5wJTROWFM3S56Tcq5m4SVCo9jPiLDxL+xd4YL+V6bQ==", horse, "$scrypt$ln=10,r=8,p=2"},
	{"scrypt, PHC", "$scrypt$ln=10,r=8,p=2$zjkHgDBmLCWEcI4Rwlhr7Q$YFwLQkVOmaADjYFuuR0XIoGpluJlx269TP78FVSPrnU", horse, "$scrypt$ln=10,r=8,p=2"},
	{"scrypt of Firebase, its own example", "$firebase-scrypt$ss=Bw==,sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==,r=8,m=14$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==", "user1password", "$firebase-scrypt$r=8,m=14"},
	{"scrypt of Firebase, cheap, alphabet of URLs", "$firebase-scrypt$ss=Bw,sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA,r=8,m=10$42xEC-ixf3L2lw$tm34_go-iWJJV9JUbbiyfO9fF6yfO_o71kdU4jZ3MrwhpmgzJLmIsaDwiiHV97yTIXx3nUrVen71smZcm35BrQ", horse, "$firebase-scrypt$r=8,m=10"},

	{"sha256-crypt without rounds", "$5$H7rs/hwlhFI3.bQZ$LAOvGyemK0uuujOaSlxRV7o27/pAMffqiB7Kw0R/8DC", horse, "$5$rounds=5000"},
	{"sha256-crypt", "$5$rounds=1234$O8sJ4Fard3gmMOWI$tUyyCqCDIxCkk.s3icnxrLuNHeWusfiuMF9MB0BMYn0", horse, "$5$rounds=1234"},
	{"sha256-crypt, short salt", "$5$rounds=1000$abcd.fg/$csDWC04rVM9/Pk1MFldmdVCQDHJVtN1VqSB9oJ8xLk4", horse, "$5$rounds=1000,salt=8"},
	{"sha256-crypt, no salt", "$5$rounds=1000$$Qq2SZC3NeUzIDXheJm.s6eO00IPVPLvCg7WU75UqFx.", horse, "$5$rounds=1000,salt=0"},
	{"sha256-crypt, long", "$5$rounds=1000$zaI0mKoLoCCTyr/u$gNDOCfVXNZW1/A2TDVGaaqTbD9/jD6BDBTv0E02P1S9", strings.Repeat("语", 100), "$5$rounds=1000"},
	{"sha256-crypt, beyond ASCII", "$5$rounds=1000$dErWRgPuMXsjmhMo$JSq6SZFC/nwHsuxlHgtXahm8CjnXYCOsb.MXWVr5723", umlau, "$5$rounds=1000"},
	{"sha512-crypt without rounds", "$6$podaeD0sLey8p.wg$lNdAPiGsjaPyz7S37Z1e6pdFJwXEahTVOqibPhVuOlRF9UYtSRXBC2e6LiChvacT14OtB/3vyr8mbkpeEos6g1", horse, "$6$rounds=5000"},
	{"sha512-crypt", "$6$rounds=1234$nibYEhpC10gTeKaP$JB5VpRAINncjusCf/XtjM..pi2YjtcgLAwME.hoxxwOwOWvSbN3O8EMlCQkPF6GMVCwb8msa5aDp4717CQVb/1", horse, "$6$rounds=1234"},
	{"sha512-crypt, short salt", "$6$rounds=1000$abcd.fg/$bgAZYB.A0O6SUGAOCX8huxHm3sy7uWZDLQkFqUugBgtb9lXDuz4/mQ3MtDftPeuetjeo5bCRTuJAus.RKKRwc/", horse, "$6$rounds=1000,salt=8"},
	{"sha512-crypt, long", "$6$rounds=1000$zKPrKECf1HmDiaxj$au2eyVGtoOX4a27.CsKEHq4Rb1p8zqFqNxPK0sw6UcbTtT5RdhCsRVcWVn9NYdH7aYWJT5nQ5u.NcjaPWn5WL/", strings.Repeat("语", 100), "$6$rounds=1000"},
	{"sha512-crypt, beyond ASCII", "$6$rounds=1000$WqQDIsMBVKcUCfdR$kf9yyRxAVA24qrsQg6tsFRzaxv23TfNvWZocGzqfnA8a4IeFQbhPkboihw2vTtws7jDpfA61secxJJ/Syrg/r/", umlau, "$6$rounds=1000"},
	{"sha512-crypt of LDAP", "{CRYPT}$6$rounds=1000$RHa0.GikYcDH6cIt$MRorfs5WKkzGxaqI5qWZ3zrzLUYgsiL/r/iLHXtXigXFFS4t0T9bQ8MWY4l3m4VIhVMUz7xyrZyfLqCZZJWrU1", horse, "$6$rounds=1000"},

	{"phpass", "$P$5OBRkm8t0URI.k9.qMYOm3nqCKkYkV/", horse, "$P$5"},
	{"phpass of phpBB", "$H$6hdFEkUSKkTVsHM/9GobX/ODunbq2z0", horse, "$P$6"},
	{"phpass, beyond ASCII", "$P$5a2T742VZGkf3Ruyi4QAs5/Q9g5/w.1", umlau, "$P$5"},

	{"SSHA", "{SSHA}6C9IevML71nTzQ8ykPJY2TQJKJK89z4n", horse, "{SSHA}"},
	{"SSHA in lower case", "{ssha}298xcOsqKkt5Ymi7KX5FFAkxy2EX4hwD", horse, "{SSHA}"},
	{"SSHA256", "{SSHA256}d5TwriPD6StkChMla1ZeJvHK5xmjV1tBedRpBOTlW8zcu9day3nPuQ==", horse, "{SSHA256}"},
	{"SSHA512", "{SSHA512}9QVhsWT30DUESPllFQ5gZuhY8ghXC/Zj7hBCIS7SOEwJw/38OlN+iQJj3MprJpAh0Ly1Dls0UPWWPhYduVK6QsT4P4ew9h5jzFkrpVTqHeM=", horse, "{SSHA512}"},
}

func TestS0_27_AnImportedHashIsVerifiedAndOutdated(t *testing.T) {
	h := NewHasher(cheap, 64<<20)
	for _, tc := range imports {
		t.Run(tc.name, func(t *testing.T) {
			scheme, err := h.Recognize(tc.hash)
			if err != nil || scheme != tc.scheme || SchemeOf(tc.hash) != tc.scheme {
				t.Errorf("recognized: got %q and %v, want %q", scheme, err, tc.scheme)
			}
			if !verify(t, h, tc.password, tc.hash) {
				t.Error("the right password is refused")
			}
			for _, wrong := range []string{tc.password + "x", "Correct horse", "x", ""} {
				if wrong != tc.password && verify(t, h, wrong, tc.hash) {
					t.Errorf("%q is taken", wrong)
				}
			}
			if want := tc.scheme != h.Scheme(); h.Outdated(tc.hash) != want {
				t.Errorf("outdated: got %v, want %v", !want, want)
			}
		})
	}
}

// TestI21 compares what is hashed and not how long it takes: a decoy has the parameters, the salt and
// the length of a real one, so that the same work is done for both.
func TestI21_ADecoyHasTheParametersOfAnImportedHash(t *testing.T) {
	h := NewHasher(cheap, 64<<20)
	for _, tc := range imports {
		t.Run(tc.name, func(t *testing.T) {
			decoy := h.Decoy(tc.scheme)
			got, err := parseStored(decoy)
			if err != nil {
				t.Fatalf("%s: %v", decoy, err)
			}
			want, _ := parseStored(tc.hash)
			if got.scheme() != tc.scheme || got.memory() != want.memory() || reflect.TypeOf(got) != reflect.TypeOf(want) {
				t.Errorf("got %s of %d bytes, want %s of %d", got.scheme(), got.memory(), tc.scheme, want.memory())
			}
			if g, w := reflect.ValueOf(work(got)), reflect.ValueOf(work(want)); !reflect.DeepEqual(g.Interface(), w.Interface()) {
				t.Errorf("got the work %v, want %v", g, w)
			}
			if h.Outdated(decoy) != h.Outdated(tc.hash) {
				t.Error("a decoy is followed by a hash, or not, other than a real one")
			}
			if verify(t, h, tc.password, decoy) || h.Decoy(tc.scheme) == decoy {
				t.Error("the decoy is somebody's")
			}
		})
	}
}

// work is what the time of verifying s depends on, beyond a handful of bytes in one digest.
func work(s stored) any {
	switch s := s.(type) {
	case argon2Hash:
		return []any{s.variant, s.Argon2}
	case bcryptHash:
		return []any{s.text[:7], len(s.text), s.sha256}
	case pbkdf2Hash:
		return []any{s.digest, s.iterations, len(s.sum)}
	case scryptHash:
		return s.scryptCosts
	case firebaseHash:
		return []any{s.scryptCosts, len(s.signerKey)}
	case shaCryptHash:
		return []any{s.id, s.rounds, s.saltLength}
	case phpassHash:
		return s.log
	case saltedSHA:
		return s.name
	}
	panic("unknown")
}

func TestI21_ASchemeTellsNothingOfSaltAndHash(t *testing.T) {
	const window = 5 // characters, of a salt or a hash
	for _, tc := range imports {
		tail := tc.hash[strings.LastIndexAny(tc.hash, "$}")+1:] // what follows the last parameter, with the salt where they are one
		secrets := []string{tail, "seasalt", "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uii"}
		if parts := strings.Split(tc.hash, "$"); len(parts) > 3 && !strings.Contains(tc.hash, "$2") && !strings.HasPrefix(tc.hash, "scrypt") {
			secrets = append(secrets, parts[len(parts)-2])
		}
		for _, secret := range secrets {
			for i := 0; i+window <= len(secret); i++ {
				if strings.Contains(tc.scheme, secret[i:i+window]) {
					t.Errorf("%s: the scheme %s has %s", tc.name, tc.scheme, secret[i:i+window])
				}
			}
		}
	}
}

func TestBcryptReadsTheFirst72BytesOfAPassword(t *testing.T) {
	h := NewHasher(cheap, 1<<20)
	const of72, of75 = "$2b$04$9u9eE1eyPRuwRHzeKFhyVeCKV4TuqRnAKvKEs4H4Ic9xGqGjYKcTG", "$2b$04$/YlcUvYUtryMScHfJv7vKOBM2DxAWj9UqQI/Zt6SYDKyhDeBJJf5q"
	a := strings.Repeat("a", 71)
	for _, tc := range []struct {
		password, hash string
		want           bool
	}{
		{a + "atail", of72, true}, {a + "a", of72, true}, {a + "aother", of72, true}, {a, of72, false},
		{a + "tail", of75, true}, {a + "t", of75, true}, {a + "t" + strings.Repeat("x", 900), of75, true}, {a + "x", of75, false},
	} {
		if got := verify(t, h, tc.password, tc.hash); got != tc.want {
			t.Errorf("%d bytes: got %v, want %v", len(tc.password), got, tc.want)
		}
	}
}

func TestAnImportedHashIsOfThePasswordAsTheKeyboardMadeIt(t *testing.T) {
	h := NewHasher(cheap, 1<<20)
	const hash = "$2b$04$PQKWH72c8vznIcGc9vgF0.jpk56fYjMqQZAIs.vLxq3SOYKxUItyS" // of decomposed letters
	raw := "cafe\u0301 cafe\u0301"
	prepared, _, err := Prepare(raw)
	if err != nil || prepared == raw {
		t.Fatalf("got %q and %v, want another text", prepared, err)
	}
	ours, _ := h.Hash(t.Context(), prepared)
	todays, _ := h.Hash(t.Context(), raw) // as no deed hashes it
	composed := "$2b$04$wRYKGG5FUSGRRwFzyuOOSelx5V2Atfl8jILY6dCDl/tffxfM4YMRG"
	decomposed := "pa\u0308sswo\u0308rd€"
	preparedUmlaut, _, _ := Prepare(decomposed)
	for _, tc := range []struct {
		name  string
		shown Shown
		hash  string
		want  bool
	}{
		{"imported, typed as there", Shown{prepared, raw}, hash, true},
		{"imported, raw form unknown", Shown{Prepared: prepared}, hash, false},
		{"imported in the prepared form, typed otherwise", Shown{preparedUmlaut, decomposed}, composed, true},
		{"imported, wrong", Shown{prepared + "x", raw + "x"}, hash, false},
		{"imported, an empty password is not tried beside", Shown{Prepared: "x"}, "$2b$04$1bXcSVPdysO11Gobd95.EulombrrZ9ovAI4n7Dr8Uj/sWCH95x4.2", false},
		{"ours", Shown{prepared, raw}, ours, true},
		{"today's parameters: prepared alone", Shown{prepared, raw}, todays, false},
	} {
		right, err := h.VerifyShown(t.Context(), permit(t), tc.shown, tc.hash)
		if err != nil || right != tc.want {
			t.Errorf("%s: got %v and %v, want %v", tc.name, right, err, tc.want)
		}
	}
}

func TestI16_AnImportedHashTakesOnePlaceAndItsMemory(t *testing.T) {
	h := NewHasher(cheap, 64<<20)
	for _, tc := range imports {
		want := int64(0)
		switch s, _ := parseStored(tc.hash); s := s.(type) {
		case argon2Hash:
			want = int64(s.MemoryKiB) << 10
		case scryptHash:
			want = 128*8<<10 + 128*8*(2+2)
		case firebaseHash:
			want = 128*8<<s.logN + 128*8*(1+2)
		}
		ran := 0
		h.stretch = func(work func()) {
			ran++
			h.queue.mu.Lock()
			if h.queue.running != 1 || h.memory-h.queue.memory != want {
				t.Errorf("%s: %d run with %d bytes, want 1 with %d", tc.name, h.queue.running, h.memory-h.queue.memory, want)
			}
			h.queue.mu.Unlock()
			work()
		}
		h.VerifyShown(t.Context(), permit(t), Shown{"a", "b"}, tc.hash)
		if ran != 1 {
			t.Errorf("%s: %d places, want one for both forms of a password", tc.name, ran)
		}
	}
}

func TestS0_27_WhatCannotBeImportedIsRefusedInWords(t *testing.T) {
	h := NewHasher(cheap, 64<<20)
	const (
		salt16, sum32 = "MDEyMzQ1Njc4OWFiY2RlZg", "LNw1UQ66BI81fna1PwzOugSM2nQ0aamCgskArALc0zo"
		bcrypt53      = "op8.L5nVczyr6Nf.iww2zeINzpoW9catNVQgsSH6nmZ70xTkkdsIy"
		crypt43       = "LAOvGyemK0uuujOaSlxRV7o27/pAMffqiB7Kw0R/8DC"
		django        = "mQnueSakb748zqBAC1tmWVZsZbi2zPGZarEzTGdfmso="
		firebase      = "$firebase-scrypt$ss=Bw==,sk=" + sum32 + ",r=8,m=14$" + salt16 + "$" + sum32
	)
	if _, err := h.Recognize(firebase); err != nil {
		t.Fatal(err)
	}
	for hash, want := range map[string]string{
		"":                                 "no hash",
		"secret":                           "no form that is known",
		strings.Repeat("$", 2000):          "longer than 1024",
		"$2b$05$" + bcrypt53 + "\n":        "printed",
		"$2b$05$\xff" + bcrypt53:           "printed",
		"$2x$05$" + bcrypt53:               "version “2x”",
		"$2$05$" + bcrypt53:                "version “2”",
		"$2b$17$" + bcrypt53:               "cost of bcrypt",
		"$2b$99$" + bcrypt53:               "cost of bcrypt",
		"$2b$03$" + bcrypt53:               "cost of bcrypt",
		"$2b$5$" + bcrypt53:                "no hash of bcrypt",
		"$2b$05$" + bcrypt53 + "x":         "no hash of bcrypt",
		"$2b$05$" + bcrypt53[1:] + "!":     "no hash of bcrypt",
		"bcrypt_sha256$$2b$17$" + bcrypt53: "cost of bcrypt",
		"bcrypt_sha256$" + bcrypt53:        "no hash of bcrypt",

		"$argon2id$v=19$m=65537,t=1,p=1$" + salt16 + "$" + sum32:                   "needs 65 MiB of memory, and password.hash_memory_mib allows 64",
		"$argon2d$v=19$m=65537,t=1,p=1$" + salt16 + "$" + sum32:                    "needs 65 MiB",
		"$argon2id$v=19$m=4294967295,t=1,p=1$" + salt16 + "$" + sum32:              "out of bounds",
		"$argon2id$v=19$m=4294967296,t=1,p=1$" + salt16 + "$" + sum32:              "PHC string",
		"$argon2id$v=19$m=64,t=101,p=1$" + salt16 + "$" + sum32:                    "out of bounds",
		"$argon2id$v=19$m=2048,t=1,p=256$" + salt16 + "$" + sum32:                  "PHC string",
		"$argon2id$v=19$m=7,t=1,p=1$" + salt16 + "$" + sum32:                       "out of bounds",
		"$argon2i$v=16$m=64,t=1,p=1$c29tZXNhbHQ$MHtIQlgqUXhPm+iUHkEUCw":            "version 16",
		"$argon2i$m=64,t=1,p=1$c29tZXNhbHQ$MHtIQlgqUXhPm+iUHkEUCw":                 "version 16",
		"$argon2x$v=19$m=64,t=1,p=1$" + salt16 + "$" + sum32:                       "PHC string",
		"$argon2id$v=19$m=64,t=1,p=1,keyid=x$" + salt16 + "$" + sum32:              "PHC string",
		"$argon2id$v=19$m=64,t=1,p=1$" + salt16 + "$" + sum32[:len(sum32)-1] + "p": "PHC string",

		"pbkdf2_sha256$10000001$seasalt$" + django:             "1 to 10000000",
		"pbkdf2_sha256$0$seasalt$" + django:                    "out of bounds",
		"pbkdf2_sha256$-1$seasalt$" + django:                   "out of bounds",
		"pbkdf2_sha256$01000$seasalt$" + django:                "out of bounds",
		"pbkdf2_sha256$99999999999999999999$seasalt$" + django: "out of bounds",
		"pbkdf2_sha256$1000$$" + django:                        "no hash of PBKDF2",
		"pbkdf2_sha256$1000$sea$salt$" + django:                "no hash of PBKDF2",
		"pbkdf2_sha256$1000$seasalt$AAAA":                      "no hash of PBKDF2",
		"pbkdf2_md5$1000$seasalt$" + django:                    "SHA-1, SHA-256 and SHA-512",
		"$pbkdf2-sha1$i=5000001,l=32$" + salt16 + "$" + sum32:  "1 to 5000000",
		"$pbkdf2-sha256$i=1000,l=64$" + salt16 + "$" + sum32:   "no hash of PBKDF2",
		"$pbkdf2-sha256$i=1000,x=32$" + salt16 + "$" + sum32:   "no hash of PBKDF2",

		"$scrypt$ln=0,r=8,p=1$" + salt16 + "$" + sum32:     "parameters of scrypt",
		"$scrypt$ln=-3,r=8,p=1$" + salt16 + "$" + sum32:    "parameters of scrypt",
		"$scrypt$ln=25,r=8,p=1$" + salt16 + "$" + sum32:    "parameters of scrypt",
		"$scrypt$ln=20,r=8,p=4$" + salt16 + "$" + sum32:    "parameters of scrypt",
		"$scrypt$ln=2,r=8,p=65$" + salt16 + "$" + sum32:    "parameters of scrypt",
		"$scrypt$ln=16,r=8,p=1$" + salt16 + "$" + sum32:    "needs 65 MiB",
		"$scrypt$ln=16,r=8$" + salt16 + "$" + sum32:        "no hash of scrypt",
		"scrypt$1000$seasalt$8$1$" + django:                "parameters of scrypt",
		"scrypt$1$seasalt$8$1$" + django:                   "parameters of scrypt",
		"scrypt$-1024$seasalt$8$1$" + django:               "parameters of scrypt",
		"scrypt$1024$seasalt$8$0$" + django:                "parameters of scrypt",
		"scrypt$9223372036854775808$seasalt$8$1$" + django: "parameters of scrypt",
		strings.Replace(firebase, "m=14", "m=17", 1):       "needs 129 MiB",
		strings.Replace(firebase, "m=14", "m=99", 1):       "parameters of scrypt",
		strings.Replace(firebase, "r=8", "r=08", 1):        "parameters of scrypt",
		strings.Replace(firebase, "sk=", "", 1):            "no hash of Firebase",
		strings.Replace(firebase, ",r=8", "", 1):           "no hash of Firebase",
		firebase[:len(firebase)-10]:                        "no hash of Firebase",

		"$5$rounds=2000001$abcdefghijklmnop$" + crypt43: "1000 to 2000000",
		"$5$rounds=999$abcdefghijklmnop$" + crypt43:     "1000 to 2000000",
		"$5$rounds=$abcdefghijklmnop$" + crypt43:        "1000 to 2000000",
		"$5$abcdefghijklmnopq$" + crypt43:               "no hash of SHA-crypt",
		"$6$abcdefghijklmnop$" + crypt43:                "no hash of SHA-crypt",
		"$6$":                                           "no hash of SHA-crypt",
		"$5$":                                           "no hash of SHA-crypt",
		"$P$5OBRkm8t0URI.k9.qMYOm3nqCKkYkV":             "no hash of phpass",
		"$P$4OBRkm8t0URI.k9.qMYOm3nqCKkYkV/":            "rounds of phpass",
		"$P$LOBRkm8t0URI.k9.qMYOm3nqCKkYkV/":            "rounds of phpass",

		"{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=":  "has no salt",
		"{sha}L55TUjtiq8FBorTWAZ0jy6g129A=":  "has no salt",
		"{SSHA}L55TUjtiq8FBorTWAZ0jy6g129A=": "has no salt",
		"{SSHA}L55TUjtiq8FBorTWAZ0jy6g129A":  "has no salt",
		"{SSHA}garbage":                      "no hash of {SSHA}",
		"{MD5}X03MO1qnZdYdgyfeuILPmQ==":      "MD5 without a salt",
		"{CRYPT}$1$abc$def":                  "md5-crypt",
		"{CRYPT}abJnggxhB/yWI":               "no form that is known",
		"sha1$salt$abc":                      "SHA-1",
		"$y$j9T$abc$def":                     "yescrypt",
		"!unusable":                          "no usable password",
		HashGenerated("x"):                   "generated secret",
	} {
		scheme, err := h.Recognize(hash)
		if scheme != "" || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q and %v, want an error of %q", hash, scheme, err, want)
			continue
		}
		for _, secret := range []string{salt16, sum32, bcrypt53, crypt43, django, "seasalt"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error tells %s: %v", secret, err)
			}
		}
	}
	long := NewHasher(cheap, 4<<30)
	if _, err := long.Recognize("$argon2id$v=19$m=1048576,t=4,p=1$" + salt16 + "$" + sum32); err != nil {
		t.Errorf("memory × time at the bound: %v", err)
	}
	if _, err := long.Recognize("$argon2id$v=19$m=1048576,t=5,p=1$" + salt16 + "$" + sum32); err == nil || !strings.Contains(err.Error(), "takes too long") {
		t.Errorf("memory × time: got %v", err)
	}
}

func TestI21_ADecoyOfWhatIsNoSchemeIsOfTodays(t *testing.T) {
	h := NewHasher(cheap, 1<<20)
	for _, scheme := range []string{
		"", "$", "garbage", "$2b", "$2b$17", "$5$", "$6$", "$6$rounds=1,salt=99", "$pbkdf2-sha256$i=1", "$pbkdf2-sha256$i=1,l=-5", "$pbkdf2-sha256$i=1,l=99999999999",
		"$P$", "$P$zz", "{SSHA}x", "{SSHA999}", "$scrypt$", "$scrypt$ln=63,r=8,p=1", "$firebase-scrypt$", "$firebase-scrypt$r=8,m=99", "pbkdf2_sha256$1000$seasalt",
		"scrypt$1024$seasalt$8", strings.Repeat("{SSHA}", 1000),
	} {
		if decoy := h.Decoy(scheme); SchemeOf(decoy) != h.Scheme() {
			t.Errorf("%q: got %s, want today's scheme", scheme, decoy)
		}
	}
}

func seed(f *testing.F) {
	for _, tc := range imports {
		f.Add(tc.hash)
		f.Add(tc.scheme)
	}
	for _, r := range refusals {
		f.Add(r.prefix + "x$y$z")
	}
}

func FuzzRecognize(f *testing.F) {
	seed(f)
	h := NewHasher(cheap, 64<<20)
	f.Fuzz(func(t *testing.T, hash string) {
		scheme, err := h.Recognize(hash)
		if (scheme == "") == (err == nil) {
			t.Fatalf("got %q and %v", scheme, err)
		}
		if err != nil && (err.Error() == "" || !utf8.ValidString(err.Error())) {
			t.Fatalf("got an error that nobody can read: %q", err)
		}
		if err == nil && SchemeOf(h.Decoy(scheme)) != scheme {
			t.Fatalf("the decoy of %s is %s", scheme, h.Decoy(scheme))
		}
		if SchemeOf(h.Decoy(hash)) == "" {
			t.Fatalf("the decoy of %q is none", hash)
		}
	})
}

func FuzzVerify(f *testing.F) {
	seed(f)
	h := NewHasher(cheap, 64<<20)
	cheapOnes := map[string]bool{}
	for _, tc := range imports {
		cheapOnes[tc.scheme] = true
	}
	f.Fuzz(func(t *testing.T, hash string) {
		s, err := parseStored(hash)
		if err == nil && !cheapOnes[s.scheme()] {
			return // within the bounds, and too long for a fuzzer
		}
		right, verifyErr := h.Verify(t.Context(), permit(t), "no password of the seeds", hash)
		if right || (err == nil) != (verifyErr == nil) {
			t.Fatalf("got %v and %v, want what the parser says: %v", right, verifyErr, err)
		}
	})
}
