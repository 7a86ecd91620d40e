//go:build !windows

package tunnel

import "io/fs"

// open reports whether others than the owner may read the file.
func open(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }
