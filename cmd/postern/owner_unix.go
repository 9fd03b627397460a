//go:build unix

package main

import (
	"io/fs"
	"os"
	"strconv"
	"syscall"
)

// owner is a file's owner, and whether that is who runs this process.
func owner(info fs.FileInfo) (number string, ours bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", true
	}
	return strconv.FormatUint(uint64(stat.Uid), 10), int(stat.Uid) == os.Geteuid()
}
