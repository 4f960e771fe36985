package browsertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// docsWidths are the widths of a telephone, a tablet and a desktop computer, in pixels.
var docsWidths = []int{360, 800, 1400}

// Docs tests the page at base/docs. It loads the page in light and in dark colors, and shows each at
// widths of 360, 800 and 1400 pixels. It expects that shows, a JavaScript expression, becomes true,
// the page is not wider than the window, its background fits the color scheme, the page requests
// only URLs below base and data URLs, and it has no [Page.Problems]. anchor selects the part of the
// page that is shown. If the environment variable CHASSI_SCREENSHOTS names a directory, Docs writes
// screenshots to that directory, in files whose names begin with name.
func Docs(t *testing.T, b *Browser, name, base, anchor, shows string) {
	t.Helper()
	for scheme, bright := range map[string]bool{"light": true, "dark": false} {
		page := b.Page(t, docsWidths[0], scheme)
		page.Open(base + "/docs#" + anchor)
		for _, width := range docsWidths {
			view := fmt.Sprintf("%s-%d-%s", name, width, scheme)
			page.Resize(width)
			page.Wait(shows)
			if wide := page.Eval(`document.documentElement.scrollWidth > document.documentElement.clientWidth`); wide != false {
				t.Errorf("%s: the page is wider than the window, want at most the width of the window", view)
			}
			if got := page.Eval(`Number(getComputedStyle(document.body).backgroundColor.match(/\d+/)[0]) > 127`); got != bright {
				t.Errorf("%s: bright background: got %v, want %v", view, got, bright)
			}
			if dir := os.Getenv("CHASSI_SCREENSHOTS"); dir != "" {
				page.Screenshot(filepath.Join(dir, view+".png"))
			}
		}
		page.ExpectQuiet(base)
		page.Close()
	}
}

// OpenForm opens the form of an endpoint, given by its HTTP method and path, on the page at
// base/docs. The form is filled in with the examples of the OpenAPI document. tag is the name of
// the service in links, such as "authv1auth".
func (p *Page) OpenForm(base, tag, method, path string) {
	p.t.Helper()
	p.Open("about:blank")
	p.Open(base + "/docs#tag/" + tag + "/" + method + path)
	p.Press("Test Request (" + strings.ToLower(method) + " " + path + ")")
	p.Wait(`document.querySelector("[role=dialog]")`)
}

// SetToken enters a bearer token into the open form.
func (p *Page) SetToken(token string) {
	p.t.Helper()
	p.Wait(`(() => {
		const dialog = document.querySelector("[role=dialog]");
		const input = dialog.querySelector("[placeholder=Token]");
		if (input) {
			input.focus();
			return document.activeElement === input;
		}
		if (!(window.pressedAt > Date.now() - 3000)) { // the section may be folded
			window.pressedAt = Date.now();
			[...dialog.querySelectorAll("button")].find((b) => b.innerText.includes("Authentication")).click();
		}
	})()`)
	p.Type(token)
}

// Send submits the open form and waits until its dialog contains text, such as "200 OK".
func (p *Page) Send(text string) {
	p.t.Helper()
	p.Press("Send ")
	p.Wait(fmt.Sprintf(`document.querySelector("[role=dialog]").innerText.includes(%q)`, text))
}

// Press waits for a button whose text contains label and clicks it. If a dialog is open, Press
// considers only the buttons in the dialog.
func (p *Page) Press(label string) {
	p.t.Helper()
	p.Wait(fmt.Sprintf(`(() => {
		const area = document.querySelector("[role=dialog]") ?? document;
		const button = [...area.querySelectorAll("button")].find((b) => b.innerText.replaceAll("\n", " ").includes(%q));
		button?.click();
		return button !== undefined;
	})()`, label))
}

// ExpectQuiet reports a test error for each URL that the page has requested and that is not below
// base, and for each of its [Page.Problems]. Data URLs and about:blank are allowed.
func (p *Page) ExpectQuiet(base string) {
	p.t.Helper()
	for _, url := range p.Requests() {
		if !strings.HasPrefix(url, base+"/") && !strings.HasPrefix(url, "data:") && url != "about:blank" {
			p.t.Errorf("the page requested %s, want only URLs below %s/", url, base)
		}
	}
	for _, problem := range p.Problems() {
		p.t.Errorf("the page has the problem %s, want none", problem)
	}
}
