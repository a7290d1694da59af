package permissions

import (
	"fmt"
	"strings"
)

// Password returns the variable that holds a user's password, or its hash, in the
// configuration of the server. Each user has another one: small letters become large, "-"
// becomes "_", and what would then be the same is spelt out, "_" as u and A as xA.
func Password(user string) string {
	var b strings.Builder
	for _, r := range user {
		switch {
		case r == '-':
			b.WriteByte('_')
		case r == '_':
			b.WriteByte('u')
		case r >= 'A' && r <= 'Z':
			b.WriteByte('x')
			b.WriteRune(r)
		default:
			b.WriteString(strings.ToUpper(string(r)))
		}
	}
	return "NATS_" + b.String() + "_PASSWORD"
}

// Format writes accounts as a part of the configuration of a NATS server.
func Format(accounts []Account) string {
	var b strings.Builder
	b.WriteString("accounts {\n")
	for i, a := range accounts {
		fmt.Fprintf(&b, "  %s {\n", a.Name)
		if a.Streams {
			b.WriteString("    jetstream: enabled\n")
		}
		b.WriteString("    users: [\n")
		for _, u := range a.Users {
			u.format(&b)
		}
		b.WriteString("    ]\n")
		if a.Streams {
			a.exports(&b, accounts[1-i].Name)
		} else {
			accounts[1-i].imports(&b)
		}
		b.WriteString("  }\n")
	}
	b.WriteString("}\n")
	return b.String()
}

func (u User) format(b *strings.Builder) {
	fmt.Fprintf(b, "      {\n        user: %q, password: $%s\n        permissions: {\n", u.Name, Password(u.Name))
	list(b, "publish", u.Publish)
	list(b, "subscribe", u.Subscribe)
	b.WriteString("        }\n      }\n")
}

func list(b *strings.Builder, name string, subjects []string) {
	fmt.Fprintf(b, "          %s: [\n", name)
	for _, s := range subjects {
		fmt.Fprintf(b, "            %q\n", s)
	}
	b.WriteString("          ]\n")
}

// exports writes what an account may import from this one.
func (a Account) exports(b *strings.Builder, to string) {
	b.WriteString("    exports: [\n")
	for _, s := range a.Services {
		many := ""
		if s.Many {
			many = ", response_type: stream"
		}
		fmt.Fprintf(b, "      {service: %q, accounts: [%s]%s}\n", s.Subject, to, many)
	}
	for _, s := range a.Messages {
		fmt.Fprintf(b, "      {stream: %q, accounts: [%s]}\n", s, to)
	}
	b.WriteString("    ]\n")
}

// imports writes what another account imports from this one.
func (a Account) imports(b *strings.Builder) {
	b.WriteString("    imports: [\n")
	for _, s := range a.Services {
		fmt.Fprintf(b, "      {service: {account: %s, subject: %q}}\n", a.Name, s.Subject)
	}
	for _, s := range a.Messages {
		fmt.Fprintf(b, "      {stream: {account: %s, subject: %q}}\n", a.Name, s)
	}
	b.WriteString("    ]\n")
}
