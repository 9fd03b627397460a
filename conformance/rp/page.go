package rp

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// A Page is where a navigation ended.
type Page struct {
	URL    *url.URL // with the fragment
	Status int
	Header http.Header
	Body   []byte

	// Stopped tells that the browser was sent to URL and did not ask for it. Posted is the form
	// that it would have sent there by POST.
	Stopped bool
	Posted  url.Values

	browser *Browser
	root    *html.Node // nil where Body is no HTML
}

func newPage(b *Browser, u *url.URL, answer *http.Response, body []byte) (*Page, error) {
	p := &Page{URL: u, Status: answer.StatusCode, Header: answer.Header, Body: body, browser: b}
	if !isHTML(answer.Header, body) {
		return p, nil
	}
	root, err := html.Parse(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", u.Redacted(), err)
	}
	p.root = root
	return p, nil
}

// Title is what stands in the page's title element.
func (p *Page) Title() string {
	return textOf(p.find(func(n *html.Node) bool { return n.Data == "title" }))
}

// Heading is the text of the page's first h1.
func (p *Page) Heading() string {
	return textOf(p.find(func(n *html.Node) bool { return n.Data == "h1" }))
}

// Text is what a person reads on the page, with single spaces.
func (p *Page) Text() string {
	return textOf(p.find(func(n *html.Node) bool { return n.Data == "body" }))
}

// ErrorCodes are the values of data-error-code, in the order of the page.
func (p *Page) ErrorCodes() []string {
	var codes []string
	for n := range p.elements() {
		if code := attribute(n, "data-error-code"); code != "" {
			codes = append(codes, code)
		}
	}
	return codes
}

// Has tells whether there is an element with that id.
func (p *Page) Has(id string) bool { return p.byID(id) != nil }

// TextOf is the text of the element with that id; empty where there is none.
func (p *Page) TextOf(id string) string { return textOf(p.byID(id)) }

// String names the page for a test's message.
func (p *Page) String() string {
	if p.Stopped {
		return "stopped at " + p.URL.String()
	}
	return fmt.Sprintf("%d %s %q %v", p.Status, p.URL, p.Heading(), p.ErrorCodes())
}

// Form is the page's main form: the first that posts and stands in main, or else the first that
// posts. It returns nil where there is none.
func (p *Page) Form() *Form {
	var first *html.Node
	for n := range p.elements() {
		if n.Data != "form" || !strings.EqualFold(attribute(n, "method"), "post") {
			continue
		}
		if within(n, "main") {
			return p.form(n)
		}
		if first == nil {
			first = n
		}
	}
	if first == nil {
		return nil
	}
	return p.form(first)
}

// Click follows the link with that id, or presses the button with that id in its form.
func (p *Page) Click(ctx context.Context, id string) (*Page, error) {
	n := p.byID(id)
	if n == nil {
		return nil, fmt.Errorf("%s has no element #%s", p, id)
	}
	if n.Data == "a" {
		return p.follow(ctx, attribute(n, "href"))
	}
	form := p.formOf(n)
	if form == nil {
		return nil, fmt.Errorf("%s: #%s is neither a link nor in a form", p, id)
	}
	return form.Press(ctx, id)
}

// Follow follows the first link whose text is, or whose address ends with, what is given.
func (p *Page) Follow(ctx context.Context, link string) (*Page, error) {
	for n := range p.elements() {
		href := attribute(n, "href")
		if n.Data == "a" && href != "" && (textOf(n) == link || strings.HasSuffix(href, link)) {
			return p.follow(ctx, href)
		}
	}
	return nil, fmt.Errorf("%s has no link %q", p, link)
}

func (p *Page) follow(ctx context.Context, href string) (*Page, error) {
	target, err := p.URL.Parse(href)
	if err != nil {
		return nil, fmt.Errorf("follow a link: %w", err)
	}
	return p.browser.navigate(ctx, navigation{method: "GET", target: target, initiator: p.URL, referrer: p.referrer()})
}

func (p *Page) referrer() string {
	policy := p.Header.Get("Referrer-Policy")
	if i := strings.LastIndex(policy, ","); i >= 0 {
		policy = policy[i+1:]
	}
	return strings.TrimSpace(policy)
}

// A Form is one form of a page with what was filled in.
type Form struct {
	page   *Page
	node   *html.Node
	values []field
}

type field struct {
	name, value string
	on          bool // sent: not so for a box that is not checked
	box         bool
}

func (p *Page) form(n *html.Node) *Form {
	f := &Form{page: p, node: n}
	for _, control := range f.controls() {
		name := attribute(control, "name")
		if name == "" || has(control, "disabled") {
			continue
		}
		switch kind := strings.ToLower(attribute(control, "type")); {
		case control.Data == "button" || kind == "submit" || kind == "button" || kind == "image" || kind == "reset":
		case control.Data == "select":
			f.values = append(f.values, field{name: name, value: selected(control), on: true})
		case control.Data == "textarea":
			f.values = append(f.values, field{name: name, value: textOf(control), on: true})
		case kind == "checkbox" || kind == "radio":
			value := attribute(control, "value")
			if !has(control, "value") {
				value = "on"
			}
			f.values = append(f.values, field{name: name, value: value, on: has(control, "checked"), box: true})
		default:
			f.values = append(f.values, field{name: name, value: attribute(control, "value"), on: true})
		}
	}
	return f
}

func (p *Page) formOf(control *html.Node) *Form {
	if id := attribute(control, "form"); id != "" {
		if n := p.byID(id); n != nil {
			return p.form(n)
		}
		return nil
	}
	for n := control; n != nil; n = n.Parent {
		if n.Type == html.ElementNode && n.Data == "form" {
			return p.form(n)
		}
	}
	return nil
}

// Has tells whether the form has a field of that name.
func (f *Form) Has(name string) bool {
	return slices.ContainsFunc(f.values, func(v field) bool { return v.name == name })
}

// Value is what stands in a field; empty where there is none, or where its box is not checked.
func (f *Form) Value(name string) string {
	for _, v := range f.values {
		if v.name == name && v.on {
			return v.value
		}
	}
	return ""
}

// Fill writes value into the field of that name, or checks the box of that value. It is an error
// where there is no such field, since a person could not do so either.
func (f *Form) Fill(name, value string) error {
	filled := false
	for i := range f.values {
		v := &f.values[i]
		switch {
		case v.name != name:
		case v.box:
			if v.value == value {
				v.on, filled = true, true
			}
		default:
			v.value, filled = value, true
		}
	}
	if !filled {
		return fmt.Errorf("%s has no field %s for %q", f.page, name, value)
	}
	return nil
}

// Action is the address that the form is sent to.
func (f *Form) Action() string {
	target, err := f.page.URL.Parse(attribute(f.node, "action"))
	if err != nil {
		return ""
	}
	return target.String()
}

// Submit sends the form by its first button, as the Enter key does.
func (f *Form) Submit(ctx context.Context) (*Page, error) {
	for _, control := range f.controls() {
		if submits(control) {
			return f.send(ctx, control)
		}
	}
	return f.send(ctx, nil)
}

// Press sends the form by the button with that id.
func (f *Form) Press(ctx context.Context, id string) (*Page, error) {
	for _, control := range f.controls() {
		if attribute(control, "id") == id && submits(control) {
			return f.send(ctx, control)
		}
	}
	return nil, fmt.Errorf("%s: the form has no button #%s", f.page, id)
}

func (f *Form) send(ctx context.Context, button *html.Node) (*Page, error) {
	values := url.Values{}
	for _, v := range f.values {
		if v.on {
			values.Add(v.name, v.value)
		}
	}
	action, method := attribute(f.node, "action"), attribute(f.node, "method")
	if button != nil {
		if name := attribute(button, "name"); name != "" {
			values.Add(name, attribute(button, "value"))
		}
		if has(button, "formaction") {
			action = attribute(button, "formaction")
		}
		if has(button, "formmethod") {
			method = attribute(button, "formmethod")
		}
	}
	target, err := f.page.URL.Parse(action)
	if err != nil {
		return nil, fmt.Errorf("send a form: %w", err)
	}
	n := navigation{
		method: "POST", target: target, form: values.Encode(), initiator: f.page.URL,
		referrer: f.page.referrer(), actions: formActions(f.page.Header),
	}
	if !strings.EqualFold(method, "post") {
		query := *target
		query.RawQuery = values.Encode()
		n.method, n.target, n.form = "GET", &query, ""
	}
	return f.page.browser.navigate(ctx, n)
}

// controls are the form's, also those outside that name it in their form attribute.
func (f *Form) controls() []*html.Node {
	id := attribute(f.node, "id")
	var found []*html.Node
	for n := range f.page.elements() {
		switch n.Data {
		case "input", "button", "select", "textarea":
		default:
			continue
		}
		owner := attribute(n, "form")
		if (owner == "" && inside(n, f.node)) || (owner != "" && owner == id) {
			found = append(found, n)
		}
	}
	return found
}

func submits(n *html.Node) bool {
	kind := strings.ToLower(attribute(n, "type"))
	switch {
	case has(n, "disabled"):
		return false
	case n.Data == "button":
		return kind == "" || kind == "submit"
	default:
		return n.Data == "input" && (kind == "submit" || kind == "image")
	}
}

func selected(control *html.Node) string {
	first, chosen := (*html.Node)(nil), (*html.Node)(nil)
	for n := range control.Descendants() {
		if n.Type != html.ElementNode || n.Data != "option" {
			continue
		}
		if first == nil {
			first = n
		}
		if has(n, "selected") {
			chosen = n
		}
	}
	if chosen == nil {
		chosen = first
	}
	if chosen == nil {
		return ""
	}
	if has(chosen, "value") {
		return attribute(chosen, "value")
	}
	return textOf(chosen)
}

// elements are the page's, in document order.
func (p *Page) elements() func(yield func(*html.Node) bool) {
	return func(yield func(*html.Node) bool) {
		if p.root == nil {
			return
		}
		for n := range p.root.Descendants() {
			if n.Type == html.ElementNode && !yield(n) {
				return
			}
		}
	}
}

func (p *Page) find(match func(*html.Node) bool) *html.Node {
	for n := range p.elements() {
		if match(n) {
			return n
		}
	}
	return nil
}

func (p *Page) byID(id string) *html.Node {
	return p.find(func(n *html.Node) bool { return attribute(n, "id") == id })
}

func inside(n, ancestor *html.Node) bool {
	for ; n != nil; n = n.Parent {
		if n == ancestor {
			return true
		}
	}
	return false
}

func within(n *html.Node, name string) bool {
	for n = n.Parent; n != nil; n = n.Parent {
		if n.Type == html.ElementNode && n.Data == name {
			return true
		}
	}
	return false
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Namespace == "" && a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Namespace == "" && a.Key == name })
}

// textOf is the text inside n without that of scripts and styles; n may be nil.
func textOf(n *html.Node) string {
	if n == nil {
		return ""
	}
	var words []string
	for d := range n.Descendants() {
		if d.Type == html.TextNode && !within(d, "script") && !within(d, "style") {
			words = append(words, strings.Fields(d.Data)...)
		}
	}
	return strings.Join(words, " ")
}
