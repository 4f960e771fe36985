package amqpapi

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// directReplyTo is the name of the pseudo-queue of RabbitMQ for direct reply-to: its messages are
// delivered to the channel that sent the request. In a delivered request, the broker appends the
// address of this channel to the name.
const directReplyTo = "amq.rabbitmq.reply-to"

// replyTo is the destination of a response.
type replyTo struct {
	address string // "" for no response
	// node is the name of the node in a direct reply-to address, such as "reply@12345678", or ""
	// for a queue.
	node string
}

// maxNodeName is the maximum length of a node name in bytes. It is greater than the length of
// "reply@" followed by any result of erlang:phash2/1.
const maxNodeName = 20

// parseDirect returns the node in a direct reply-to address in the format of RabbitMQ 3.10 and
// later (rabbit_direct_reply_to:compute_key_and_suffix_v2):
//
//	amq.rabbitmq.reply-to. base64(pid) . base64(key)
//
// where pid is the external form of an Erlang process ID on a node reply@HASH. ok is false for any
// other address. parseDirect is strict, because the broker closes a connection that publishes to an
// address that cannot be decoded.
func parseDirect(address string) (node string, ok bool) {
	suffix, found := strings.CutPrefix(address, directReplyTo+".")
	if !found || len(suffix) > 200 {
		return "", false
	}
	pid, key, found := strings.Cut(suffix, ".")
	if !found || !isBase64(key, 16) {
		return "", false
	}
	var buf [96]byte
	if base64.StdEncoding.DecodedLen(len(pid)) > len(buf) {
		return "", false
	}
	n, err := base64.StdEncoding.Strict().Decode(buf[:], []byte(pid))
	if err != nil {
		return "", false
	}
	return nodeOf(buf[:n])
}

// nodeOf returns the node name in pid, an Erlang process ID in the external term format (sections
// 12.13 and 12.30): NEW_PID_EXT, the node name as a UTF-8 atom with a length of two bytes, and 12
// further bytes. ok is false for any other pid, and if the name is not "reply@" followed by digits.
func nodeOf(pid []byte) (node string, ok bool) {
	const head, tail = 5, 12
	if len(pid) <= head+tail || len(pid) > head+tail+maxNodeName || pid[0] != 131 || pid[1] != 88 || pid[2] != 118 {
		return "", false
	}
	name := pid[head : len(pid)-tail]
	if int(binary.BigEndian.Uint16(pid[3:head])) != len(name) {
		return "", false
	}
	digits, found := strings.CutPrefix(string(name), "reply@")
	if !found || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return "", false
	}
	return string(name), true
}

// isBase64 reports whether text is the standard base64 encoding of the given number of bytes.
func isBase64(text string, bytes int) bool {
	var buf [32]byte
	if len(text) != base64.StdEncoding.EncodedLen(bytes) {
		return false
	}
	n, err := base64.StdEncoding.Strict().Decode(buf[:], []byte(text))
	return err == nil && n == bytes
}

// anonymous stands for the user in the names of the reply queues for requests without user_id.
const anonymous = "anonymous"

// isReplyQueue reports whether responses to a request of user may be sent to queue, that is,
// whether queue is ROOT.USER or begins with ROOT.USER and a dot, and root is not replyQueuesOff. A
// user whose name has characters other than ASCII letters, digits, "_" and "-" has no reply queue,
// because a dot in the name could address the queue of another user.
func isReplyQueue(queue, root, user string) bool {
	if user == "" {
		user = anonymous
	}
	if root == replyQueuesOff || !isWord(user) {
		return false
	}
	rest, ok := strings.CutPrefix(queue, root)
	if !ok {
		return false
	}
	if rest, ok = strings.CutPrefix(rest, "."); !ok {
		return false
	}
	rest, ok = strings.CutPrefix(rest, user)
	return ok && (rest == "" || rest[0] == '.')
}

// isWord reports whether s is not empty and consists of ASCII letters, digits, "_" and "-".
func isWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return s != ""
}

// replyToOf returns the destination of the response to a request of user whose reply_to is address,
// and whether address is allowed. The zero destination means that no response is requested.
func (s *Server) replyToOf(address, user string) (replyTo, bool) {
	if address == "" {
		return replyTo{}, true
	}
	if strings.HasPrefix(address, "amq.") {
		node, ok := parseDirect(address)
		return replyTo{address, node}, ok
	}
	return replyTo{address: address}, isReplyQueue(address, s.replyRoot, user)
}
