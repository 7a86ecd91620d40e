package secret

import (
	"context"
	"slices"
)

type carriedKey struct{}

// Carrying returns a context for a request that carries secrets: whoever records
// the request masks them. They add to those that ctx carries already.
func Carrying(ctx context.Context, texts []Text) context.Context {
	if len(texts) == 0 {
		return ctx
	}
	return context.WithValue(ctx, carriedKey{}, slices.Concat(Carried(ctx), texts))
}

// Carried returns the secrets that a request made in ctx carries.
func Carried(ctx context.Context) []Text {
	texts, _ := ctx.Value(carriedKey{}).([]Text)
	return texts
}
