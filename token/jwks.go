package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"

	"github.com/go-json-experiment/json"
)

type jwkSet struct {
	Keys []jwk `json:"keys"`
}

type jwk struct {
	Type      string    `json:"kty"`
	ID        string    `json:"kid"`
	Use       string    `json:"use"`
	Algorithm Algorithm `json:"alg"`
	Curve     string    `json:"crv"`
	X         string    `json:"x"`
	Y         string    `json:"y,omitzero"`
}

func marshalJWKS(keys []*Key) ([]byte, error) {
	set := jwkSet{Keys: []jwk{}}
	for _, k := range keys {
		if k.Algorithm == HS256 {
			continue
		}
		public, err := publicJWK(k)
		if err != nil {
			return nil, err
		}
		set.Keys = append(set.Keys, public)
	}
	return json.Marshal(set)
}

func publicJWK(k *Key) (jwk, error) {
	b64 := base64.RawURLEncoding
	j := jwk{ID: k.ID, Use: "sig", Algorithm: k.Algorithm}
	switch public := k.public.(type) {
	case ed25519.PublicKey:
		j.Type, j.Curve, j.X = "OKP", "Ed25519", b64.EncodeToString(public)
		return j, nil
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 4 | x | y, RFC 7518 section 6.2.1 wants x and y in full width
		if err != nil {
			return jwk{}, fmt.Errorf("token: publishing key %s: %w", k.ID, err)
		}
		j.Type, j.Curve = "EC", "P-256"
		j.X, j.Y = b64.EncodeToString(point[1:33]), b64.EncodeToString(point[33:])
		return j, nil
	}
	return jwk{}, fmt.Errorf("token: key %s has no public part", k.ID)
}
