// Package chassi defines the core types of the chassis, among them [Endpoint], [Service], [Call],
// [Handler], [Middleware], [Error] and [Principal], and [App], which runs the parts of a program,
// each of which is a [Component]. Package chassi imports only the standard library; transports and
// middleware import it, and it imports none of them.
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
// A transport creates a [Call] from the data that it has before it reads the body, and passes
// it through its middleware to the endpoint:
//
//	transport: peer, request id, metadata        no byte of the body read yet
//	  middleware, the first one outermost         may refuse, measure, log
//	    endpoint: Codec.Decode -> checks -> method -> Codec.Encode
//	transport: writes the response, or the error
//
// A refused call therefore costs no decoding, and a malformed body is logged, traced and
// counted like any other call.
//
// # Resolved at registration
//
// A [Middleware] is called once for each [Binding]. It then looks up metric handles, renders
// log attributes and compiles field plans. The handler that it returns runs for every call and
// looks up nothing by name.
//
// # Errors
//
// Methods return an [*Error] if the client may see the error. Any other error is converted by
// [ErrorOf], in general to [Internal]: it is logged in full, and its text is not sent to the client.
package chassi
