// Package schema defines the ent schema of the tables that the tests use.
package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/field"
)

// Account is the ent schema of the table accounts.
type Account struct{ ent.Schema }

// Fields returns the columns of the table accounts.
func (Account) Fields() []ent.Field {
	return []ent.Field{
		field.String("id"),
		field.String("email").Unique(),
		field.Int64("balance"),
	}
}
