// Package chassi holds the words of the chassis and its runner: [Endpoint],
// [Service], [Call], [Handler], [Middleware], [Error], [Principal], [Server]
// and [App]. It imports the standard library alone; transports, middleware and
// everything heavy point at it and never the other way round.
//
// # Three layers
//
//	transport  ->  endpoint  ->  service  ->  store
//	bytes          typed call     rules        SQL
//
// A service is a Go interface and its implementation. An endpoint is one of its
// methods with a name and data about it. A transport turns bytes into a call of
// an endpoint and its result into bytes:
//
//	func Endpoints(s Service) *chassi.Service {
//		return chassi.NewService("greet.v1.Greeter",
//			chassi.NewEndpoint("Greet", s.Greet, chassi.Route("POST /v1/greet"), chassi.Public),
//		)
//	}
//
// # The way of a call
//
// A transport makes a [Call] from what it knows before the body is read, and
// passes it through its middleware to the endpoint:
//
//	transport: peer, request id, metadata        no byte of the body read yet
//	  middleware, the first one outermost         may refuse, measure, log
//	    endpoint: Codec.Decode -> checks -> method -> Codec.Encode
//	transport: writes the answer, or the error
//
// So a refused call costs no parsing, and a malformed body is logged, traced
// and counted like any other call.
//
// # Resolved at registration
//
// A [Middleware] is given the [Binding] it is built for, once: that is the place
// to look up metric handles, render log attributes and compile field plans. What
// it returns runs for every call and looks nothing up by name.
//
// # Errors
//
// Methods return [*Error] for what a caller may know. Any other error is
// [Internal]: logged in full, shown to nobody.
package chassi
