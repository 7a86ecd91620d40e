package tunnel

import "io/fs"

// open reports whether others than the owner may read the file. Windows keeps
// that in access lists, which the file takes from its folder.
func open(fs.FileInfo) bool { return false }
