//go:build unix

package store

import (
	"os"
	"syscall"
)

// lockFile locks a file for this process, until it ends however that happens,
// and reports whether nobody else holds it.
func lockFile(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
