package gate

import "testing"

func BenchmarkMatch(b *testing.B) {
	routes := NewRoutes(routesOf(b, "api: POST /api/features/*", "export: /api/export", "reports: GET /users/{id}/reports", "loose: /Loose/* ~"))
	for name, request := range map[string][2]string{
		"gated":   {"POST", "/api/features/search?q=1"},
		"free":    {"GET", "/static/app/main.3f2a.js"},
		"escaped": {"POST", "/api/features/%C3%A9t%C3%A9"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var met [4]int
				if _, err := routes.Match(met[:0], request[0], request[1], ""); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
