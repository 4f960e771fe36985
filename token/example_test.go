package token_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/chassi-go/chassi/token"
)

func Example() {
	key, err := token.GenerateKey(token.EdDSA)
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := token.NewKeySet(key)
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Now()
	text, err := token.Sign(keys, token.Claims{
		Issuer: "authd", Audience: "authd", Subject: "42", Email: "ada@example.org",
		ID: rand.Text(), IssuedAt: now, ExpiresAt: now.Add(time.Hour),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier := token.NewVerifier(token.Options{Issuer: "authd", Audience: "authd"}, keys)
	claims, err := verifier.Verify(text)
	fmt.Println(claims.Email, err)

	_, err = verifier.Verify(text + "=")
	fmt.Println(errors.Is(err, token.ErrInvalid), token.Reason(err))
	// Output:
	// ada@example.org <nil>
	// true malformed
}

// A new key is spread before it signs, and the old one verifies until the last
// of its tokens has expired.
func ExampleKeySet_rotation() {
	const lifetime, spread = time.Hour, time.Minute
	now := time.Now()
	before, _ := token.GenerateKey(token.EdDSA)
	after, _ := token.GenerateKey(token.EdDSA)
	after.NotBefore = now.Add(spread)
	before.ExpiresAt = after.NotBefore.Add(lifetime)
	keys, err := token.NewKeySet(before, after)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, at := range []time.Time{now, now.Add(spread)} {
		kid, _ := keys.SigningKey(at)
		fmt.Println(kid == before.ID, kid == after.ID)
	}
	// Output:
	// true false
	// false true
}

func ExampleSeal() {
	master, err := token.ParseMasterKey("9f3c1d7ae05b48267d10c4f2986be3a5412f0e8db7c65a93180fd2741ecb6035")
	if err != nil {
		fmt.Println(err)
		return
	}
	key, _ := token.GenerateKey(token.EdDSA)
	private, _ := key.MarshalPrivate()
	sealed, _ := token.Seal(master, private, token.KeyAAD(key.ID, key.Algorithm))

	_, err = token.Open(master, sealed, token.KeyAAD("another", key.Algorithm))
	fmt.Println(errors.Is(err, token.ErrSealed))
	opened, _ := token.Open(master, sealed, token.KeyAAD(key.ID, key.Algorithm))
	again, _ := token.ParseKey(key.ID, key.Algorithm, opened)
	fmt.Println(again.ID == key.ID)
	// Output:
	// true
	// true
}
