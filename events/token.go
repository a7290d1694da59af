package events

import (
	"fmt"
	"strings"
)

const hexDigits = "0123456789ABCDEF"

func plainByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// Token encodes an id as one token of a NATS subject or KV key: each byte outside
// A-Za-z0-9_- becomes "=" and two upper-case hex digits ("a@b.c" → "a=40b=2Ec").
// ParseToken decodes it.
func Token(id string) string {
	n := 0
	for i := 0; i < len(id); i++ {
		if !plainByte(id[i]) {
			n++
		}
	}
	if n == 0 {
		return id
	}
	b := make([]byte, 0, len(id)+2*n)
	for i := 0; i < len(id); i++ {
		if c := id[i]; plainByte(c) {
			b = append(b, c)
		} else {
			b = append(b, '=', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(b)
}

// ParseToken returns the id that Token encoded. It returns an error for any other text,
// so that an id has only one token.
func ParseToken(token string) (string, error) {
	if token == "" {
		return "", fmt.Errorf("token is empty")
	}
	b := make([]byte, 0, len(token))
	for i := 0; i < len(token); i++ {
		c := token[i]
		switch {
		case plainByte(c):
			b = append(b, c)
		case c == '=' && i+2 < len(token):
			hi, lo := strings.IndexByte(hexDigits, token[i+1]), strings.IndexByte(hexDigits, token[i+2])
			if hi < 0 || lo < 0 || plainByte(byte(hi<<4|lo)) {
				return "", fmt.Errorf("token %q: %q is not an escape that Token makes", clip(token), token[i:i+3])
			}
			b = append(b, byte(hi<<4|lo))
			i += 2
		default:
			return "", fmt.Errorf("token %q: %q must be escaped as =%02X", clip(token), c, c)
		}
	}
	return string(b), nil
}

// Partition returns the partition of a customer's token among n partitions: 32-bit
// FNV-1a modulo n, as in NATS's subject transform partition(n, …).
func Partition(token string, n int) int {
	h := uint32(2166136261)
	for i := 0; i < len(token); i++ {
		h = (h ^ uint32(token[i])) * 16777619
	}
	return int(h % uint32(n))
}

// PartitionOf returns the partition of a customer's raw id among n partitions.
func PartitionOf(customer string, n int) int { return Partition(Token(customer), n) }
