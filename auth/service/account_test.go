package service_test

import (
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
)

// Errors name the invalid field of the request.
func TestRefusalsNameTheFieldOfTheRequest(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	n.add(email, secret)
	raw, err := n.login(email, secret, home)
	if err != nil {
		t.Fatal(err)
	}
	_, changed := n.change(raw, secret, "short")
	_, signedUp := n.SignUp(t.Context(), &auth.SignUpRequest{Email: "new@example.org", Password: "short"})
	_, address := n.SignUp(t.Context(), &auth.SignUpRequest{Email: "no address", Password: secret})
	_, loggedIn := n.login(email, "not UTF-8: \xff", home)
	_, noAddress := n.login("no address", secret, home)
	for name, c := range map[string]struct {
		err    error
		reason *chassi.Error
		field  string
	}{
		"change":           {changed, auth.ErrWeakPassword, "new_password"},
		"sign up":          {signedUp, auth.ErrWeakPassword, "password"},
		"sign up, address": {address, auth.ErrInvalidEmail, "email"},
		"login":            {loggedIn, auth.ErrWeakPassword, "password"},
		"login, address":   {noAddress, auth.ErrInvalidEmail, "email"},
	} {
		want(t, name, c.err, c.reason)
		if e := chassi.ErrorOf(c.err); len(e.Violations) != 1 || e.Violations[0].Field != c.field {
			t.Errorf("%s: %+v, want the field %s", name, e.Violations, c.field)
		}
	}
}
