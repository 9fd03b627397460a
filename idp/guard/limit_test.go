package guard

import (
	"reflect"
	"testing"
	"time"
)

func TestS0_11_LimitGrammar(t *testing.T) {
	for text, want := range map[string][]Limit{
		"":                       nil,
		"false":                  nil,
		"5/m":                    {{5, time.Minute, ByAddress}},
		"5/m/ip":                 {{5, time.Minute, ByAddress}},
		"1/3m/key":               {{1, 3 * time.Minute, ByKey}},
		"1/0.5h/user":            {{1, 30 * time.Minute, ByUser}},
		"10/m/ip,5/5m/key":       {{10, time.Minute, ByAddress}, {5, 5 * time.Minute, ByKey}},
		" 10/m/ip , 5/5m/key ":   {{10, time.Minute, ByAddress}, {5, 5 * time.Minute, ByKey}},
		"20/m/ip+client":         {{20, time.Minute, ByAddressAndClient}},
		"20/m/ip,100/m/global":   {{20, time.Minute, ByAddress}, {100, time.Minute, Global}},
		"0/d/ip":                 {{0, 24 * time.Hour, ByAddress}},
		"1000000000/366d/ip,1/s": {{1_000_000_000, 366 * 24 * time.Hour, ByAddress}, {1, time.Second, ByAddress}},
	} {
		t.Run(text, func(t *testing.T) {
			got, err := ParseLimits(text)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %v and %v, want %v", got, err, want)
			}
			for _, l := range got {
				if again, err := parseLimit(l.String()); err != nil || again != l {
					t.Errorf("%s reads as %v and %v", l, again, err)
				}
			}
		})
	}
}

func TestALimitIsWrittenAsTheSettingsHaveIt(t *testing.T) {
	for _, text := range []string{"5/5m/key", "10/m/ip", "100/h/ip", "1/d/user", "2/36h/ip+client", "1/90s/global", "1/s/ip", "1/11s/ip", "0/366d/ip"} {
		limits, err := ParseLimits(text)
		if err != nil || limits[0].String() != text {
			t.Errorf("%s is written %v, with %v", text, limits, err)
		}
	}
}

func TestS0_12_LimitGrammarErrorsTeach(t *testing.T) {
	for text, want := range map[string]string{
		"30":             `has no period in "30": write AMOUNT/PERIOD/SCOPE, such as 10/m/ip`,
		"30/x/ip":        `has the period "x", which is no period: write a unit, s, m, h or d, with a number before it where it is not 1, such as 5m`,
		"30/1e3s/ip":     `has the period "1e3s", which is no period: write a unit, s, m, h or d, with a number before it where it is not 1, such as 5m`,
		"30//ip":         `has the period "", which is no period: write a unit, s, m, h or d, with a number before it where it is not 1, such as 5m`,
		"30/0s/ip":       `has the period "0s": it must be from 1s to 366d`,
		"30/900000d/ip":  `has the period "900000d": it must be from 1s to 366d`,
		"-1/m/ip":        `has the amount "-1": write a whole number from 0 to 1000000000`,
		"1.5/m/ip":       `has the amount "1.5": write a whole number from 0 to 1000000000`,
		"9999999999/m":   `has the amount "9999999999": write a whole number from 0 to 1000000000`,
		"30/m/planet":    `has the scope "planet", which is no scope: write ip, key, user, ip+client or global`,
		"30/m/client":    `has the scope "client": with it a stranger could turn a client off, write ip+client`,
		"30/m/ip,":       `has an empty limit: write AMOUNT/PERIOD/SCOPE between two commas`,
		"30/m/ip/client": `has too many slashes in "30/m/ip/client": write AMOUNT/PERIOD/SCOPE, such as 10/m/ip`,
	} {
		t.Run(text, func(t *testing.T) {
			_, err := ParseLimits(text)
			if err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}
