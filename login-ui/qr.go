package loginui

import (
	"fmt"
	"html/template"
	"net/url"
	"strconv"
	"strings"

	"github.com/boombuler/barcode/qr"

	"postern/idp"
)

const (
	// quietZone is how many light modules stand around a QR code, as cameras want it.
	quietZone = 4
	// qrWidth is that of a QR code on a page, in CSS pixels: some five for a module.
	qrWidth = 232
)

// An appSetup is what an authenticator app must be told, as a page shows it.
type appSetup struct {
	QR      template.HTML
	URI     template.URL // what an app on the same device opens
	Secret  string       // in groups of four
	Issuer  string
	Account string
	Digits  int
}

func (f *frame) appSetup(s idp.TOTPSetup) (appSetup, error) {
	code, err := qrCode(s.URI, f.T("twostep.qr"))
	if err != nil {
		return appSetup{}, err
	}
	return appSetup{
		QR: code, URI: template.URL(s.URI), Secret: s.Secret, Issuer: s.Issuer, Account: s.Account, Digits: s.Digits,
	}, nil
}

// qrCode draws text as a QR code that is read out as label: one path of runs of dark modules, black on
// white whatever the page looks like, since cameras want it so.
func qrCode(text, label string) (template.HTML, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return "", fmt.Errorf("draw a QR code: %w", err)
	}
	size := code.Bounds().Dx()
	dark := func(x, y int) bool {
		r, _, _, _ := code.At(x, y).RGBA()
		return r == 0
	}
	var path strings.Builder
	for y := range size {
		for x := 0; x < size; x++ {
			from := x
			for x < size && dark(x, y) {
				x++
			}
			if x > from {
				fmt.Fprintf(&path, "M%d %dh%dv1h-%dz", from+quietZone, y+quietZone, x-from, x-from)
			}
		}
	}
	whole, width := strconv.Itoa(size+2*quietZone), strconv.Itoa(qrWidth)
	return template.HTML(`<svg role="img" aria-label="` + template.HTMLEscapeString(label) + `" width="` + width + `" height="` + width +
		`" viewBox="0 0 ` + whole + ` ` + whole + `" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h` + whole + `v` + whole + `H0z"/><path fill="#000" d="` +
		path.String() + `"/></svg>`), nil
}

// codesShown are new recovery codes, on the one page that shows them.
type codesShown struct {
	Codes []string
	Text  string       // what is kept of them
	Kept  template.URL // the same as a file
	File  string       // its name
}

// codesOf are the recovery codes of u, which were made just now, for the page of f.
func (ui *UI) codesOf(f *frame, u *idp.User, codes []string) codesShown {
	f.answered()
	account, day := u.Username, ui.now().Format("2006-01-02")
	if u.Email != "" {
		account = u.Email
	}
	text := f.T("recovery.file", "instance", f.Instance, "account", account, "date", day) + "\n\n" + strings.Join(codes, "\n") + "\n"
	return codesShown{
		Codes: codes, Text: text, Kept: template.URL("data:text/plain;charset=utf-8," + url.PathEscape(strings.ReplaceAll(text, "\n", "\r\n"))),
		File: "postern-recovery-codes-" + day + ".txt",
	}
}
