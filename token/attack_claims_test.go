package token

import (
	"strings"
	"testing"
)

// change replaces one member of goodBody.
func change(member, value string) string {
	i := strings.Index(goodBody, `"`+member+`":`) + len(member) + 3
	end := strings.IndexAny(goodBody[i:], ",}") + i
	return goodBody[:i] + value + goodBody[end:]
}

func TestT09T10Claims(t *testing.T) {
	t.Parallel()
	k := mustKey(t, EdDSA)
	v := NewVerifier(sampleOptions(), mustSet(t, k)) // 60 s after iat
	drop := func(member string) string { return strings.Replace(goodBody, `"`+member+`":`, `"x":`, 1) }
	tests := map[string]struct {
		body string
		want refusal // empty: accepted
	}{
		"unknown member":       {strings.Replace(goodBody, "}", `,"scope":"x"}`, 1), ""},
		"iss wrong":            {change("iss", `"evil"`), wrongIssuer},
		"iss other case":       {change("iss", `"Authd"`), wrongIssuer},
		"iss longer":           {change("iss", `"authd\u0000"`), wrongIssuer},
		"iss empty":            {change("iss", `""`), badClaims},
		"iss missing":          {drop("iss"), badClaims},
		"iss number":           {change("iss", `1`), badClaims},
		"aud wrong":            {change("aud", `"other"`), wrongAudience},
		"aud array with ours":  {change("aud", `["api"]`), badClaims},
		"aud array with other": {strings.Replace(goodBody, `"aud":"api"`, `"aud":["api","x"]`, 1), badClaims},
		"aud number":           {change("aud", `1`), badClaims},
		"aud object":           {change("aud", `{}`), badClaims},
		"aud null":             {change("aud", `null`), badClaims},
		"aud missing":          {drop("aud"), badClaims},
		"sub empty":            {change("sub", `""`), badClaims},
		"sub missing":          {drop("sub"), badClaims},
		"jti empty":            {change("jti", `""`), badClaims},
		"jti missing":          {drop("jti"), badClaims},
		"gen missing":          {drop("gen"), badClaims},
		"gen null":             {change("gen", `null`), badClaims},
		"gen negative":         {change("gen", `-1`), badClaims},
		"exp missing":          {drop("exp"), badClaims},
		"exp null":             {change("exp", `null`), badClaims},
		"exp string":           {change("exp", `"1777899600"`), badClaims},
		"exp float":            {change("exp", `1777899600.5`), badClaims},
		"exp whole float":      {change("exp", `1777899600.0`), badClaims},
		"exp exponent":         {change("exp", `1.7778996e9`), badClaims},
		"exp true":             {change("exp", `true`), badClaims},
		"exp negative":         {change("exp", `-1`), badClaims},
		"exp zero":             {change("exp", `0`), badClaims},
		"exp over int64":       {change("exp", `9223372036854775808`), badClaims},
		"exp int64":            {change("exp", `9223372036854775807`), badClaims},
		"exp year 9999":        {change("exp", `253402300799`), tooLongLived},
		"exp iat + 24 h":       {change("exp", `1777982400`), ""},
		"exp iat + 24 h + 1 s": {change("exp", `1777982401`), tooLongLived},
		"exp = now":            {change("exp", `1777896060`), expired},
		"exp = now + 1 s":      {change("exp", `1777896061`), ""},
		"exp past":             {change("exp", `1777896001`), expired},
		"exp = iat":            {change("exp", `1777896000`), badClaims},
		"nbf missing":          {drop("nbf"), badClaims},
		"nbf null":             {change("nbf", `null`), badClaims},
		"nbf = now":            {change("nbf", `1777896060`), ""},
		"nbf future":           {change("nbf", `1777896061`), notYetValid},
		"nbf int64":            {change("nbf", `9223372036854775807`), badClaims},
		"iat missing":          {drop("iat"), badClaims},
		"iat null":             {change("iat", `null`), badClaims},
		"iat future":           {change("iat", `1777896061`), notYetValid},
		"iat string":           {change("iat", `"now"`), badClaims},
		"duplicate exp":        {strings.Replace(goodBody, "}", `,"exp":1777899600}`, 1), badClaims},
		"duplicate sub":        {strings.Replace(goodBody, "{", `{"sub":"root",`, 1), badClaims},
		"duplicate unknown":    {strings.Replace(goodBody, "}", `,"x":1,"x":1}`, 1), badClaims},
		"duplicate by escape":  {strings.Replace(goodBody, "}", `,"\u0073ub":"root"}`, 1), badClaims},
		"upper case EXP":       {strings.Replace(goodBody, `"exp"`, `"EXP"`, 1), badClaims},
		"email array":          {strings.Replace(goodBody, "}", `,"email":["a"]}`, 1), badClaims},
		"invalid UTF-8":        {change("sub", "\"\xff\""), badClaims},
		"trailing data":        {goodBody + "{}", badClaims},
		"array":                {"[" + goodBody + "]", badClaims},
		"null":                 {"null", badClaims},
		"empty":                {"", badClaims},
		"not JSON":             {"exp=1777899600", badClaims},
		"deep":                 {strings.Replace(goodBody, "}", `,"x":`+strings.Repeat("[", 2000), 1), badClaims},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := forge(t, k, goodHeader(k), tt.body)
			if tt.want == "" {
				wantAccepted(t, v, text)
			} else {
				wantRefused(t, v, text, tt.want)
			}
		})
	}
}

func TestT09VerifierWithoutNames(t *testing.T) {
	t.Parallel()
	k := mustKey(t, EdDSA)
	o := sampleOptions()
	o.Issuer, o.Audience = "", ""
	v := NewVerifier(o, mustSet(t, k))
	wantRefused(t, v, forge(t, k, goodHeader(k), goodBody), wrongIssuer)
	wantRefused(t, v, forge(t, k, goodHeader(k), change("iss", `""`)), badClaims)
}
