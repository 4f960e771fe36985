// Package chassi defines the core types of the chassis, such as [Endpoint], [Service], [Call],
// [Handler], [Middleware], [Error] and [Principal]. It also provides [App], which starts, runs and
// stops the parts of a program, its components ([Component]). Package chassi imports only the
// standard library. Transports and middleware import it; it imports none of them.
//
// # Three layers
//
//	transport  ->  endpoint  ->  service  ->  store
//	bytes          typed call     rules        SQL
//
// A service is a Go interface and its implementation. An endpoint is one of its methods with a
// name and metadata. A transport decodes a message, calls an endpoint and encodes the result:
//
//	func Endpoints(s Service) *chassi.Service {
//		return chassi.NewService("greet.v1.Greeter",
//			chassi.NewEndpoint("Greet", s.Greet, chassi.Route("POST /v1/greet"), chassi.Public),
//		)
//	}
//
// # Path of a call
//
// A transport creates a [Call] before it reads the body of the request, and passes the call
// through the middleware to the endpoint:
//
//	transport: peer, request ID, metadata        no byte of the body read yet
//	  middleware, the first one outermost         may refuse, measure, log
//	    endpoint: Codec.Decode -> checks -> method -> Codec.Encode
//	transport: writes the response, or the error
//
// A refused call therefore costs no decoding, and a malformed body is logged, traced and
// counted like any other call.
//
// # Resolved at registration
//
// A [Middleware] is called once for each [Binding]. At that time it does all work that does not
// depend on the call, such as looking up metrics and formatting log attributes. The handler that
// it returns runs for every call and looks up nothing by name.
//
// # Errors
//
// Methods return an [*Error] if the client may see the error. [ErrorOf] converts any other error,
// in general to [Internal]. The original error is logged in full, and not sent to the client.
package chassi
