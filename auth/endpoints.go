package auth

import (
	"net/http"
	"time"

	"github.com/chassi-go/chassi"
)

// ServiceName is the service's name on every transport.
const ServiceName = "auth.v1.Auth"

// Endpoints returns the endpoints of the service, which call the methods of s. Any transport can
// serve them.
func Endpoints(s Service) *chassi.Service {
	endpoints := chassi.NewService(ServiceName,
		chassi.NewEndpoint("SignUp", s.SignUp, chassi.Route("POST /v1/users"), chassi.Public, chassi.Priority(chassi.Low), chassi.Status(http.StatusAccepted),
			chassi.Doc("Create an account. The response, and the time that it takes, are the same if the address already has an account. "+
				"A repeated call with the same Idempotency-Key and body gets the response of the first one."),
			chassi.Errors(ErrInvalidEmail, ErrWeakPassword, ErrSignUpDisabled, ErrBusy, ErrUnavailable)),
		chassi.NewEndpoint("Authenticate", s.Authenticate, chassi.Route("POST /v1/auth"), chassi.Public,
			chassi.Doc("Get a token for an e-mail address and a password. "+
				"An unknown address, a wrong password, and a locked or disabled account all get the same response."),
			chassi.Errors(ErrInvalidUser, ErrInvalidEmail, ErrWeakPassword, ErrBusy, ErrUnavailable)),
		chassi.NewEndpoint("ValidateToken", s.ValidateToken, chassi.Route("POST /v1/validate-token"),
			chassi.Public, chassi.Idempotent, chassi.Priority(chassi.High),
			chassi.Doc("Validate a token. The response has the address of its account."),
			chassi.Errors(ErrInvalidToken, ErrUnavailable)),
		chassi.NewEndpoint("Me", s.Me, chassi.Route("GET /v1/me"), chassi.Authenticated, chassi.Idempotent, chassi.Priority(chassi.Low),
			chassi.Doc("Get the caller's account. The token of the call determines which one it is."),
			chassi.Errors(ErrInvalidToken, ErrUnavailable)),
		chassi.NewEndpoint("ChangePassword", s.ChangePassword, chassi.Route("POST /v1/me/password"), chassi.Authenticated, chassi.Priority(chassi.Low),
			chassi.Doc("Change the caller's password. All tokens issued before are revoked, including that of this call; the response has a new one."),
			chassi.Errors(ErrWrongPassword, ErrWeakPassword, ErrInvalidToken, ErrBusy, ErrUnavailable)),
		chassi.NewEndpoint("JWKS", s.JWKS, chassi.Route("GET /.well-known/jwks.json"), chassi.Public, chassi.Idempotent, chassi.Priority(chassi.High),
			chassi.CacheFor(5*time.Minute),
			chassi.Doc("Get the public keys. They verify tokens, and have the form of a JWK Set (RFC 7517)."),
			chassi.Errors(ErrUnavailable)),
	)
	endpoints.Document("SignUp", map[string]string{"Idempotency-Key": "Chosen by the caller for one sign-up, such as a random UUID."},
		ErrInvalidKey, ErrKeyConflict, ErrKeyReused, ErrKeyUnavailable)
	return endpoints
}
