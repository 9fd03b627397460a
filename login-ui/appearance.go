package loginui

import (
	"net/http"
	"slices"
	"time"

	"postern/idp"
)

// stepAppearance is the step of the form that chooses how the pages look.
const stepAppearance idp.Step = "appearance"

// lookCookie keeps the theme that a person chose for this browser: "light" or "dark".
const lookCookie = "__Host-postern_look"

// themes are what a person can choose beside what the system says.
var themes = []string{"light", "dark"}

// An appearancePage chooses language and theme.
type appearancePage struct {
	*frame
	Tx string
}

func (*appearancePage) template() string { return "appearance.html" }

// lookOf is the theme that the browser was told to keep, "" for what the system says.
func lookOf(r *http.Request) string {
	cookie, err := r.Cookie(lookCookie)
	if err != nil || !slices.Contains(themes, cookie.Value) {
		return ""
	}
	return cookie.Value
}

// keepTheme remembers a theme as long as the language, and forgets it for "".
func keepTheme(w http.ResponseWriter, theme string) {
	cookie := hostCookie(lookCookie, theme)
	cookie.MaxAge = int(languageLife / time.Second)
	if theme == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(w, cookie)
}

// ShowAppearance shows the form that chooses language and theme.
func (ui *UI) ShowAppearance(w http.ResponseWriter, r *http.Request) {
	t := ui.own(w, r, stepAppearance)
	if t == nil {
		return
	}
	p := &appearancePage{frame: ui.accountFrame(w, r)}
	if p.Languages == nil {
		p.Languages = ui.languages()
	}
	if p.Tx = t.seal(w); p.Tx != "" {
		ui.show(w, r, http.StatusOK, p)
	}
}

// SubmitAppearance keeps what was chosen. The language is that of mails, too.
func (ui *UI) SubmitAppearance(w http.ResponseWriter, r *http.Request) {
	t, form := ui.readList(w, r, stepAppearance, "language", "theme")
	if t == nil {
		return
	}
	l, theme := ui.texts.named(form.Get("language")), form.Get("theme")
	if l == nil || theme != "" && !slices.Contains(themes, theme) {
		ui.refuse(w, r, idp.Problem{Status: http.StatusBadRequest, Code: "field_unreadable", Back: appearancePath})
		return
	}
	if err := ui.provider.ChooseLocale(t.r.Context(), t.visit, l.Tag); err != nil {
		ui.ShowFailure(w, t.r, err)
		return
	}
	ui.keepLanguage(w, l)
	keepTheme(w, theme)
	ui.notify(w, "appearance_kept", appearancePath)
}
