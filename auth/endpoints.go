package auth

import (
	"net/http"
	"time"

	"github.com/chassi-go/chassi"
)

// ServiceName is the service's name on every transport.
const ServiceName = "auth.v1.Auth"

// Endpoints is the service at a glance: what any transport serves.
func Endpoints(s Service) *chassi.Service {
	return chassi.NewService(ServiceName,
		chassi.NewEndpoint("SignUp", s.SignUp, chassi.Route("POST /v1/users"), chassi.Public, chassi.Status(http.StatusAccepted)),
		chassi.NewEndpoint("Authenticate", s.Authenticate, chassi.Route("POST /v1/auth"), chassi.Public),
		chassi.NewEndpoint("ValidateToken", s.ValidateToken, chassi.Route("POST /v1/validate-token"), chassi.Public, chassi.Idempotent),
		chassi.NewEndpoint("Me", s.Me, chassi.Route("GET /v1/me"), chassi.Authenticated, chassi.Idempotent),
		chassi.NewEndpoint("ChangePassword", s.ChangePassword, chassi.Route("POST /v1/me/password"), chassi.Authenticated),
		chassi.NewEndpoint("JWKS", s.JWKS, chassi.Route("GET /.well-known/jwks.json"), chassi.Public, chassi.Idempotent, chassi.CacheFor(5*time.Minute)),
	)
}
