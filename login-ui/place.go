package loginui

import (
	"slices"
	"strings"

	"github.com/mileusna/useragent"
)

// The families of browsers and systems that people know by name. Whatever else a browser calls
// itself is left out: anybody may write anything there. Versions are, too, since browsers have
// stopped to tell theirs.
var (
	browserFamilies = []string{
		useragent.Chrome, useragent.Firefox, useragent.Safari, useragent.Edge, useragent.Opera, useragent.OperaMini,
		useragent.OperaTouch, useragent.Vivaldi, useragent.SamsungBrowser, useragent.InternetExplorer,
	}
	systemFamilies = []string{
		useragent.Windows, useragent.MacOS, useragent.Linux, useragent.Android, useragent.IOS, useragent.ChromeOS,
		useragent.FreeBSD, useragent.Harmony,
	}
)

// browserOf tells which browser on which system a User-Agent stands for, by their families alone;
// "" for what nobody knows.
func browserOf(userAgent string) (browser, system string) {
	ua := useragent.Parse(userAgent)
	if slices.Contains(browserFamilies, ua.Name) {
		browser = ua.Name
	}
	if slices.Contains(systemFamilies, ua.OS) {
		system = ua.OS
	}
	return browser, system
}

// device puts a User-Agent into words: "Firefox on Linux".
func (f *frame) device(userAgent string) string {
	switch browser, system := browserOf(userAgent); {
	case browser != "" && system != "":
		return f.T("sessions.device", "browser", browser, "system", system)
	case browser != "":
		return browser
	case system != "":
		return f.T("sessions.device.system", "system", system)
	}
	return f.T("sessions.device.unknown")
}

// Whereabouts tell about where an address is, in the language of a BCP 47 tag; "" for what nobody
// knows. A nil one knows nothing.
type Whereabouts func(address, locale string) (city, country string)

// of puts the place of an address into one text: "Cologne, Germany", "" where nobody knows.
func (where Whereabouts) of(address string, l *locale) string {
	if where == nil || address == "" {
		return ""
	}
	city, country := where(address, l.Tag)
	return strings.Trim(city+", "+country, ", ")
}

// placeOf tells about where an address is, in the language of l.
func (ui *UI) placeOf(address string, l *locale) string {
	return Whereabouts(ui.provider.Place).of(address, l)
}
