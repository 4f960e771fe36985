package protobuf_test

import "testing"

func BenchmarkAppend(b *testing.B) {
	plan, message := planOf[Everything](b), everything()
	buffer := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := plan.Append(buffer, message); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	plan := planOf[Everything](b)
	data, err := plan.Append(nil, everything())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := plan.Decode(data, new(Everything)); err != nil {
			b.Fatal(err)
		}
	}
}
