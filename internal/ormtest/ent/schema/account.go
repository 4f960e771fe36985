// Package schema describes the tables of the tests to ent.
package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/field"
)

// Account is a row of the table accounts.
type Account struct{ ent.Schema }

// Fields returns the columns.
func (Account) Fields() []ent.Field {
	return []ent.Field{
		field.String("id"),
		field.String("email").Unique(),
		field.Int64("balance"),
	}
}
