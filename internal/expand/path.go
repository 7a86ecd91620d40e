package expand

import "strings"

// FillPathParams replaces {key} and %7Bkey%7D in an escaped path by the key's
// value as (a part of) one percent-encoded segment. A key is what IsName calls a
// name; those of functions are not reserved here. It returns
// the keys that have no value, each once, in the order of the path; their braces
// stay. "tenant" is reserved: it never has a value here. The error is a
// *ValueError with Position Path.
func FillPathParams(path string, params map[string]string) (filled string, missing []string, err error) {
	var b strings.Builder
	seen := map[string]bool{}
	for i, segment := range strings.Split(path, "/") {
		if i > 0 {
			b.WriteByte('/')
		}
		s, lacks, err := fillSegment(segment, params)
		if err != nil {
			return "", nil, err
		}
		for _, key := range lacks {
			if !seen[key] {
				seen[key] = true
				missing = append(missing, key)
			}
		}
		b.WriteString(s)
	}
	return b.String(), missing, nil
}

func fillSegment(segment string, params map[string]string) (filled string, missing []string, err error) {
	var b strings.Builder
	var last string // key that was filled
	rest := segment
	for {
		before, key, after, ok := cutParam(rest)
		if !ok {
			break
		}
		b.WriteString(before)
		value := params[key]
		if key == tenant || value == "" {
			missing = append(missing, key)
			b.WriteString(rest[len(before) : len(rest)-len(after)])
			rest = after
			continue
		}
		s, expected := Path.encode(value)
		if expected != "" {
			return "", nil, &ValueError{key, Path, expected}
		}
		b.WriteString(s)
		last, rest = key, after
	}
	b.WriteString(rest)
	if last != "" && dotted(b.String()) {
		return "", nil, &ValueError{last, Path, expectedSegment}
	}
	return b.String(), missing, nil
}

// cutParam finds the first {key}.
func cutParam(s string) (before, key, after string, ok bool) {
	for at := 0; at < len(s); at++ {
		n := brace(s[at:], "{", "%7b")
		if n == 0 {
			continue
		}
		word := s[at+n:]
		end := 0
		for end < len(word) && isWordByte(word[end]) {
			end++
		}
		if m := brace(word[end:], "}", "%7d"); m > 0 && isWord(word[:end]) {
			return s[:at], word[:end], word[end+m:], true
		}
	}
	return "", "", "", false
}

// brace returns the length of the brace that s begins with, 0 if it does not.
func brace(s, plain, encoded string) int {
	switch {
	case strings.HasPrefix(s, plain):
		return len(plain)
	case len(s) >= len(encoded) && strings.EqualFold(s[:len(encoded)], encoded):
		return len(encoded)
	}
	return 0
}
