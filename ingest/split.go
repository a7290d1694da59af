package ingest

import "bytes"

// split calls each with every element of a body, in order, until it returns
// false; batch reports whether the body is one of several elements or one object.
// It finds in one pass where elements end, and does not check that they are valid
// JSON. The error says why the frame around the elements is broken; each got
// nothing after the break.
func split(body []byte, f form, each func(element []byte, batch bool) bool) error {
	body = bytes.Trim(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), jsonSpace)
	if len(body) == 0 {
		return badRequest("the body is empty: send a JSON object")
	}
	member := func(element []byte) bool { return each(element, true) }
	switch {
	case f == formLines:
		splitLines(body, member)
		return nil
	case f == formOne || f == formEither && body[0] != '[':
		each(body, false)
		return nil
	case body[0] != '[':
		return badRequest("the body must be a JSON array")
	}
	return splitArray(body, member)
}

const jsonSpace = " \t\r\n"

func splitLines(b []byte, each func([]byte) bool) {
	for len(b) > 0 {
		line := b
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			line, b = b[:i], b[i+1:]
		} else {
			b = nil
		}
		if line = bytes.Trim(line, jsonSpace); len(line) > 0 && !each(line) {
			return
		}
	}
}

// splitArray splits an array that begins at b[0].
func splitArray(b []byte, each func([]byte) bool) error {
	start, depth, count := 1, 0, 0
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '"':
			if i = stringEnd(b, i); i < 0 {
				return badRequest("the array breaks off inside a string: was the body cut?")
			}
		case '{', '[':
			depth++
		case '}':
			depth = max(depth-1, 0)
		case ']':
			if depth > 0 {
				depth--
				continue
			}
			last := bytes.Trim(b[start:i], jsonSpace)
			if rest := bytes.Trim(b[i+1:], jsonSpace); len(rest) > 0 {
				return badRequest("the array is followed by %.20q", rest)
			}
			if len(last) > 0 || count > 0 {
				each(last)
			}
			return nil
		case ',':
			if depth > 0 {
				continue
			}
			if !each(bytes.Trim(b[start:i], jsonSpace)) {
				return nil
			}
			start = i + 1
			count++
		}
	}
	return badRequest("the array is not closed: was the body cut?")
}

// stringEnd returns where the string that begins at i ends, or -1.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}
