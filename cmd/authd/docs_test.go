package main

import (
	"testing"

	"github.com/chassi-go/chassi/internal/browsertest"
)

// The page shows the contract at every width, in light and dark colors, without a request
// to another host, an error on the console or a part that is too wide.
func TestDocsPage(t *testing.T) {
	t.Parallel()
	browser := browsertest.Start(t)
	n := start(t, t.TempDir())
	browsertest.Docs(t, browser, "authd", n.http, "tag/authv1auth/POST/v1/auth",
		`document.body.innerText.includes("invalid_user") && document.body.innerText.includes("curl " + location.origin + "/v1/auth")`)
}

// The form of the page makes an account, gets its token, and makes a call with that.
func TestDocsPageCallsEndpoints(t *testing.T) {
	t.Parallel()
	browser := browsertest.Start(t)
	n := start(t, t.TempDir())
	page := browser.Page(t, 1440, "light")
	const tag = "authv1auth"
	page.OpenForm(n.http, tag, "POST", "/v1/users")
	page.Send("202 Accepted")
	page.OpenForm(n.http, tag, "POST", "/v1/auth")
	page.Send("200 OK")
	token := page.Wait(`document.querySelector("[role=dialog]").innerText.match(/ey[\w-]+\.[\w-]+\.[\w-]+/)[0]`).(string)

	page.OpenForm(n.http, tag, "GET", "/v1/me")
	page.SetToken(token)
	page.Send("200 OK")
	page.Wait(`document.querySelector("[role=dialog]").innerText.includes("created_at")`)
	page.ExpectQuiet(n.http)
}
