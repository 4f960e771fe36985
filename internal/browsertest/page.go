package browsertest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
)

// Page is a browser tab. It records its requests and the problems on its console. Its methods fail
// the test on error.
type Page struct {
	t          testing.TB
	connection *connection
	session    string

	mu       sync.Mutex
	requests []string
	problems []string
}

type values = map[string]any

// Page opens a tab of the given width in pixels, with the color scheme "light" or "dark", and
// returns it.
func (b *Browser) Page(t testing.TB, width int, scheme string) *Page {
	t.Helper()
	p := &Page{t: t, connection: b.connection}
	var target struct{ TargetID string }
	p.call("Target.createTarget", values{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	p.call("Target.attachToTarget", values{"targetId": target.TargetID, "flatten": true}, &attached)
	p.session = attached.SessionID
	p.connection.mu.Lock()
	p.connection.pages[p.session] = p.record
	p.connection.mu.Unlock()
	for _, domain := range []string{"Page", "Network", "Runtime", "Log"} {
		p.call(domain+".enable", nil, nil)
	}
	p.Resize(width)
	p.call("Emulation.setEmulatedMedia", values{"features": []values{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	return p
}

// Resize sets the width of the tab, in pixels.
func (p *Page) Resize(width int) {
	p.t.Helper()
	p.call("Emulation.setDeviceMetricsOverride", values{"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": false}, nil)
}

// Close closes the tab.
func (p *Page) Close() {
	p.t.Helper()
	p.call("Page.close", nil, nil)
}

// Open navigates to a URL. It fails the test if the URL cannot be loaded.
func (p *Page) Open(url string) {
	p.t.Helper()
	var loaded struct{ ErrorText string }
	p.call("Page.navigate", values{"url": url}, &loaded)
	if loaded.ErrorText != "" {
		p.t.Fatalf("open %s: %s", url, loaded.ErrorText)
	}
}

// Eval evaluates a JavaScript expression and returns its value. If the value is a promise, Eval
// waits for the promise and returns its result. An exception fails the test.
func (p *Page) Eval(expression string) any {
	p.t.Helper()
	value, err := p.eval(expression)
	if err != nil {
		p.t.Fatal(err)
	}
	return value
}

// Wait evaluates a JavaScript expression repeatedly until its value is truthy, and returns the
// value. An exception counts as false. Wait fails the test after two minutes.
func (p *Page) Wait(expression string) any {
	p.t.Helper()
	value, err := p.eval(fmt.Sprintf(`new Promise((resolve, reject) => {
		const end = Date.now() + 120_000;
		const look = () => {
			let value;
			try { value = %s } catch {}
			if (value) return resolve(value);
			if (Date.now() > end) return reject(new Error("not truthy after two minutes: " + %q + "\n" + document.body.innerText.slice(0, 2000)));
			setTimeout(look, 20);
		};
		look();
	})`, expression, expression))
	if err != nil {
		p.t.Fatalf("%v\nrequests: %q\nproblems: %q", err, p.Requests(), p.Problems())
	}
	return value
}

func (p *Page) eval(expression string) (any, error) {
	var evaluated struct {
		Result           struct{ Value any }
		ExceptionDetails *struct {
			Exception struct{ Description string }
		}
	}
	err := p.connection.call(p.session, "Runtime.evaluate", values{
		"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
	}, &evaluated)
	if err == nil && evaluated.ExceptionDetails != nil {
		err = fmt.Errorf("browsertest: %s", evaluated.ExceptionDetails.Exception.Description)
	}
	return evaluated.Result.Value, err
}

// Type enters text into the focused element.
func (p *Page) Type(text string) {
	p.t.Helper()
	p.call("Input.insertText", values{"text": text}, nil)
}

// Screenshot writes the visible part of the page to a PNG file.
func (p *Page) Screenshot(file string) {
	p.t.Helper()
	var shot struct{ Data string }
	p.call("Page.captureScreenshot", values{"format": "png"}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(file, png, 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// Requests returns the URLs that the page has requested so far, including data URLs.
func (p *Page) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// Problems returns the errors, warnings and failed assertions that the console has received so far,
// and the uncaught exceptions.
func (p *Page) Problems() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.problems)
}

func (p *Page) record(m message) {
	var event struct {
		Type    string
		Request struct{ URL string }
		Entry   struct{ Level, Text, URL string }
	}
	_ = json.Unmarshal(m.Params, &event) //nolint:musttag // the fields have the protocol's names; other events, which fail, are of no interest
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case m.Method == "Network.requestWillBeSent":
		p.requests = append(p.requests, event.Request.URL)
	case m.Method == "Runtime.consoleAPICalled" && (event.Type == "error" || event.Type == "warning" || event.Type == "assert"),
		m.Method == "Runtime.exceptionThrown":
		p.problems = append(p.problems, string(m.Params))
	case m.Method == "Log.entryAdded" && (event.Entry.Level == "error" || event.Entry.Level == "warning"):
		p.problems = append(p.problems, event.Entry.Text+" "+event.Entry.URL)
	}
}

func (p *Page) call(method string, params, result any) {
	p.t.Helper()
	if err := p.connection.call(p.session, method, params, result); err != nil {
		p.t.Fatal(err)
	}
}
